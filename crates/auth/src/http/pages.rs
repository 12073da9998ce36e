//! Rendering of pages, with the headers that keep them from being framed, stored or scripted.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use askama::Template;
use oauth::RedirectUri;

use crate::app::AppState;
use crate::pages::{DeviceDonePage, MessagePage, ReturnPage};

/// No script, no style but ours, no frame. `form-action` is left out: browsers apply it to every redirect after the form is
/// sent, up to the client's own address.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The headers of every page and redirect of a sign-in.
fn protected(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder
        .insert_header(("Content-Security-Policy", POLICY))
        .insert_header(("X-Frame-Options", "DENY"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Referrer-Policy", "no-referrer"))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"))
        .insert_header((CACHE_CONTROL, "no-store"));
    builder
}

/// A page.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => protected(status)
            .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
            .body(html),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            protected(StatusCode::INTERNAL_SERVER_ERROR).finish()
        }
    }
}

/// A page that says what happened and what to do.
pub(crate) fn message(
    request: &HttpRequest,
    status: StatusCode,
    title: &str,
    message: &str,
) -> HttpResponse {
    let request_id = chassis::telemetry::request_id(request);
    page(
        status,
        &MessagePage {
            title,
            message,
            request_id: &request_id,
        },
    )
}

/// 303, so that a POST is followed by a GET (RFC 9700 section 4.12).
pub(crate) fn see_other(location: &str) -> HttpResponse {
    protected(StatusCode::SEE_OTHER)
        .insert_header((LOCATION, location))
        .finish()
}

/// Sends the browser back to the client: by a redirect, or by a click when only a person can open the application.
pub(crate) fn go_back(
    redirect_uri: &RedirectUri,
    location: &str,
    is_granted: bool,
) -> HttpResponse {
    if redirect_uri.is_web() {
        see_other(location)
    } else {
        offer_return(redirect_uri, location, is_granted)
    }
}

/// A page from which a click leads back to the client.
pub(crate) fn offer_return(
    redirect_uri: &RedirectUri,
    location: &str,
    is_granted: bool,
) -> HttpResponse {
    if redirect_uri.is_device() {
        return page(StatusCode::OK, &DeviceDonePage { is_granted });
    }
    let destination = redirect_uri.destination();
    page(
        StatusCode::OK,
        &ReturnPage {
            destination: &destination,
            location,
            is_granted,
        },
    )
}

/// Whether a form was sent by one of our own pages. `Sec-Fetch-Site` is the browser's own word; where it is missing,
/// `Origin` must be ours.
pub(crate) fn is_own_form(request: &HttpRequest, state: &AppState) -> bool {
    match super::extract::single_header(request, "sec-fetch-site") {
        Ok(Some(site)) => site == "same-origin",
        Ok(None) => {
            super::extract::single_header(request, "origin") == Ok(Some(state.issuer.as_str()))
        }
        Err(()) => false,
    }
}

/// `GET /assets/style.css`
pub(crate) async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/css; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .body(include_str!("../../assets/style.css"))
}
