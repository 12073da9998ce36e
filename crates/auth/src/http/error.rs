//! Every refusal becomes an answer here: as JSON, as a page, as a redirect, or as a challenge.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use oauth::authorize::PageError;
use oauth::error::description;
use oauth::{ClientId, ErrorCode};
use serde_json::json;

use super::pages;
use crate::app::AppState;
use crate::client_document::DocumentError;
use crate::flow::Refusal;
use crate::flow::consent::{AnswerError, AuthorizeError};
use crate::flow::sign_in::{Outage, SignInError};
use crate::pages::UnavailablePage;

/// Seconds after which a client should try again when the store is away.
const RETRY_SECONDS: &str = "2";

/// Seconds for which a document that could not be had is not asked for again.
const RETRY_DOCUMENT_SECONDS: &str = "30";

/// What an endpoint answers: `?` ends it with a refusal that is rendered already.
pub(crate) type Answer = Result<HttpResponse, Refused>;

/// A rendered refusal.
#[derive(Debug)]
pub(crate) struct Refused(Box<HttpResponse>);

impl Refused {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }
}

impl From<HttpResponse> for Refused {
    fn from(response: HttpResponse) -> Self {
        Self(Box::new(response))
    }
}

impl From<Refused> for actix_web::Error {
    fn from(refused: Refused) -> Self {
        actix_web::error::InternalError::from_response("refused", *refused.0).into()
    }
}

/// A JSON answer that must not be stored anywhere (RFC 6749 section 5.1).
pub(crate) fn private_json(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((PRAGMA, "no-cache"))
        .insert_header(("X-Content-Type-Options", "nosniff"));
    builder
}

/// `{"error": …, "error_description": …}` with the status of the code.
pub(crate) fn json(code: ErrorCode, text: &str) -> HttpResponse {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    json_with(status, code.as_str(), text)
}

/// The same with a status of its own.
pub(crate) fn json_with(status: StatusCode, code: &str, text: &str) -> HttpResponse {
    let mut builder = private_json(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        builder.insert_header((RETRY_AFTER, RETRY_SECONDS));
    }
    builder
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(body(code, text))
}

/// `{"error": …, "error_description": …}`
pub(crate) fn body(code: &str, text: &str) -> Bytes {
    let body = json!({"error": code, "error_description": description(text)});
    Bytes::from(body.to_string())
}

/// The answer of the JSON endpoints.
pub(crate) fn refusal(refusal: &Refusal) -> HttpResponse {
    match refusal {
        Refusal::Told { code, description } => json(*code, description),
        Refusal::Client {
            description,
            by_header,
        } => {
            let mut response = json(ErrorCode::InvalidClient, description);
            if *by_header {
                let challenge = HeaderValue::from_static("Basic realm=\"token\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        }
        Refusal::Registration => {
            let mut response = json(
                ErrorCode::InvalidToken,
                "the registration access token is missing or wrong, or the client is gone",
            );
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Refusal::Store(error) => unavailable(error),
        Refusal::Internal(text) => {
            tracing::error!(error = %text, "a request failed");
            json(
                ErrorCode::ServerError,
                "something failed here; the log tells what",
            )
        }
    }
}

/// 503: the state cannot be asked. Never 400 or 401, on which clients throw their tokens away.
pub(crate) fn unavailable(error: &store::StoreError) -> HttpResponse {
    tracing::error!(%error, "the store cannot be asked");
    json(
        ErrorCode::TemporarilyUnavailable,
        "the gateway cannot reach its store; try again",
    )
}

/// The answer of `/authorize`.
pub(crate) fn authorize(
    request: &HttpRequest,
    state: &AppState,
    error: AuthorizeError,
) -> HttpResponse {
    match error {
        AuthorizeError::Page(error) => {
            let title = match error {
                PageError::UnknownClient(_) => "Unknown application",
                _ => "This sign-in cannot go on",
            };
            pages::message(request, StatusCode::BAD_REQUEST, title, &error.to_string())
        }
        AuthorizeError::Document(id, error) => document_page(request, &id, &error),
        AuthorizeError::Offer(error) => {
            pages::offer_return(&error.redirect_uri, &error.location(&state.issuer), false)
        }
        AuthorizeError::Redirect(error) => {
            pages::go_back(&error.redirect_uri, &error.location(&state.issuer), false)
        }
        AuthorizeError::Store(error) => store_page(request, &error),
    }
}

/// The answer of `/consent`.
pub(crate) fn answer(request: &HttpRequest, error: AnswerError) -> HttpResponse {
    match error {
        AnswerError::WrongBrowser => wrong_browser(request),
        AnswerError::Store(error) => store_page(request, &error),
    }
}

/// The answer of `/callback` and `/login`.
pub(crate) fn sign_in(request: &HttpRequest, state: &AppState, error: SignInError) -> HttpResponse {
    match error {
        SignInError::WrongBrowser => wrong_browser(request),
        SignInError::Redirect(error) => {
            pages::go_back(&error.redirect_uri, &error.location(&state.issuer), false)
        }
        SignInError::Ask(question) => super::authorize::show(state, &question),
        SignInError::ProviderUnavailable(outage) => outage_page(request, state, &outage),
        SignInError::Store(error) => store_page(request, &error),
    }
}

/// The identity provider is away: 503 with the two ways on.
pub(crate) fn outage_page(
    request: &HttpRequest,
    state: &AppState,
    outage: &Outage,
) -> HttpResponse {
    let page = UnavailablePage {
        provider: state.provider.name().unwrap_or("The identity provider"),
        again: &outage.again,
        back: &outage.back.location(&state.issuer),
        destination: &outage.back.redirect_uri.destination(),
        request_id: &chassis::telemetry::request_id(request),
    };
    let mut response = pages::page(StatusCode::SERVICE_UNAVAILABLE, &page);
    let wait = outage.wait.as_secs().max(1);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(wait));
    response
}

/// The sign-in belongs to another browser or is over.
pub(crate) fn wrong_browser(request: &HttpRequest) -> HttpResponse {
    pages::message(
        request,
        StatusCode::BAD_REQUEST,
        "This sign-in cannot go on",
        "It was started in another browser, was answered already, or took longer than ten minutes. Go back to the application and connect again.",
    )
}

/// A client's metadata document cannot be had, or is wrong. What its host answered is not told.
fn document_page(request: &HttpRequest, id: &ClientId, error: &DocumentError) -> HttpResponse {
    tracing::info!(client = %id, %error, "a client is not accepted by its metadata document");
    if !error.is_passing() {
        let text = format!("The application calls itself {id}, but {error}.");
        let title = "This application cannot be used";
        return pages::message(request, StatusCode::BAD_REQUEST, title, &text);
    }
    let text = format!(
        "The application says who it is at {id}, but {error}. Wait half a minute and reload this page."
    );
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = pages::message(request, status, "Try again in a moment", &text);
    let wait = HeaderValue::from_static(RETRY_DOCUMENT_SECONDS);
    response.headers_mut().insert(RETRY_AFTER, wait);
    response
}

/// The store cannot be asked.
pub(crate) fn store_page(request: &HttpRequest, error: &store::StoreError) -> HttpResponse {
    tracing::error!(%error, "the store cannot be asked");
    pages::message(
        request,
        StatusCode::SERVICE_UNAVAILABLE,
        "Try again in a moment",
        "The gateway cannot reach its store just now. Nothing is lost: reload this page in a moment.",
    )
}

/// 404. Always JSON: clients that look for metadata must not find a page.
pub(crate) async fn not_found() -> HttpResponse {
    json_with(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address",
    )
}

/// 405 with the methods that the path knows.
pub(crate) fn method_not_allowed(methods: &'static [&'static str]) -> HttpResponse {
    let mut response = json_with(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &format!("this address answers {}", methods.join(" and ")),
    );
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
