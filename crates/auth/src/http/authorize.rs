//! `GET /authorize` (OAuth 2.1 section 4.1.1): the consent page.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use oauth::authorize::AuthorizeParams;
use oauth::client_document::DocumentUrl;
use oauth::{ScopeSet, scope};

use super::{consent as answers, cookie, error, limited, memory, pages};
use crate::app::AppState;
use crate::flow::consent::{self, Asked};
use crate::limits::Limit;
use crate::pages::ConsentPage;

/// Longest query that is read, in bytes.
const MAX_QUERY: usize = 8192;

/// Puts the question to the person.
pub(crate) async fn authorize(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    let query = request.query_string();
    if query.len() > MAX_QUERY {
        let text = "The application's request is too long.";
        let title = "This sign-in cannot go on";
        let response = pages::message(&request, StatusCode::URI_TOO_LONG, title, text);
        return Err(response.into());
    }
    limited::page(&request, &state, Limit::Authorize).await?;
    limited::page_of_all(&request, &state, Limit::AuthorizeTotal).await?;
    let pairs = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()));
    let params = AuthorizeParams::from_pairs(pairs);
    if let Ok(id) = params.client_id()
        && state.documents.must_fetch(&id)
    {
        limited::page(&request, &state, Limit::Documents).await?;
    }
    match consent::ask(&state, params, memory::of(&request, &state)).await {
        Ok(Asked::Question(question)) => Ok(show(&state, &question)),
        Ok(Asked::Recalled(leaving)) => Ok(answers::leave(&request, &state, &leaving)),
        Err(problem) => Err(error::authorize(&request, &state, problem).into()),
    }
}

/// The page with the question.
pub(crate) fn show(state: &AppState, question: &consent::Question) -> HttpResponse {
    let request = &question.authorization.request;
    let destination = request.redirect_uri.destination();
    let document = question
        .authorization
        .document
        .as_ref()
        .and_then(|_| DocumentUrl::parse(&request.client_id, &state.sites()).ok());
    let page = ConsentPage {
        client_name: &question.client_name,
        client_host: document.as_ref().map(DocumentUrl::host),
        client_id: request.client_id.as_str(),
        destination: &destination,
        is_loopback: request.redirect_uri.is_loopback(),
        service: request.service.as_str(),
        resource: &state.sites().resource(&request.service),
        permissions: permissions(request.service.as_str(), &request.scope),
        provider: state.provider.name(),
        remembered_for: question.may_be_remembered_for.map(in_words),
        transaction: question.authorization.id.as_str(),
        csrf: question.secrets.form.expose(),
    };
    let mut response = pages::page(StatusCode::OK, &page);
    let bound = cookie::bind(state, &question.authorization.id, &question.secrets.cookie);
    add_cookie(&mut response, &bound);
    response
}

/// A length of time in words.
fn in_words(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..7200 => (seconds.div_ceil(60), "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The scopes in words.
pub(crate) fn permissions(service: &str, scopes: &ScopeSet) -> Vec<String> {
    scopes
        .iter()
        .map(|name| match name {
            scope::MCP => format!("use {service} in your name"),
            scope::OFFLINE_ACCESS => "stay signed in".to_owned(),
            other => other.to_owned(),
        })
        .collect()
}

/// Adds a cookie; one that cannot be written is logged, and the sign-in then fails at its next step.
pub(crate) fn add_cookie(response: &mut HttpResponse, cookie: &actix_web::cookie::Cookie<'_>) {
    if let Err(error) = response.add_cookie(cookie) {
        tracing::error!(%error, "a cookie could not be set");
    }
}
