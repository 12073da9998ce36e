//! `/success` and `/error`: where a browser may be left when a sign-in is over. Nothing of the address is shown: anybody can send
//! somebody there with words of their own, and a code is nothing to be copied.

use actix_web::http::StatusCode;
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::pages;
use crate::pages::SuccessPage;

#[derive(Deserialize)]
struct Parameters {
    error: Option<String>,
}

/// `GET /success`
pub(crate) async fn success() -> HttpResponse {
    pages::page(StatusCode::OK, &SuccessPage)
}

/// `GET /error`, with a code of RFC 6749 section 4.1.2.1 as `error`.
pub(crate) async fn error(request: HttpRequest) -> HttpResponse {
    let parameters = Query::<Parameters>::from_query(request.query_string()).ok();
    let code = parameters.and_then(|parameters| parameters.into_inner().error);
    let text = text(code.as_deref().unwrap_or_default());
    let title = "The sign-in did not succeed";
    pages::message(&request, StatusCode::BAD_REQUEST, title, text)
}

/// What a code means for a person. Others than these are not told.
fn text(code: &str) -> &'static str {
    match code {
        "access_denied" => {
            "Access was not given: it was refused, or this account may not use the service. Ask whoever runs the service, or go back to the application and connect again."
        }
        "temporarily_unavailable" | "server_error" => {
            "The gateway or the identity provider could not answer just now. Go back to the application and try again in a moment."
        }
        "consent_required" | "login_required" => {
            "You have to be asked, and the application did not want that. Go back to it and connect again."
        }
        "invalid_request"
        | "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "invalid_target"
        | "unsupported_response_type" => {
            "The application asked for something that there is not here, or its registration has ended. Remove it from the application's list of servers and connect it again."
        }
        _ => "Go back to the application and connect again.",
    }
}
