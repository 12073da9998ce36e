//! The cookie of a browser in which a person had consent remembered.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::{HttpRequest, HttpResponse};

use super::authorize::add_cookie;
use super::extract;
use crate::app::AppState;
use crate::flow::remembered::BrowserMemory;

/// `__Host-` needs https, as with the cookies of sign-ins.
fn name(state: &AppState) -> &'static str {
    if state.sites().is_https() {
        "__Host-mcp-remembered"
    } else {
        "mcp-remembered"
    }
}

/// What the browser holds, if it is a whole page that it opens: in a frame nobody sees what happens.
pub(super) fn of(request: &HttpRequest, state: &AppState) -> Option<BrowserMemory> {
    let is_page = match extract::single_header(request, "sec-fetch-dest") {
        Ok(Some(destination)) => destination == "document",
        // A browser that does not say so keeps the cookie out of frames of other sites all the same (`SameSite`).
        Ok(None) => true,
        Err(()) => false,
    };
    let text = extract::cookie(request, name(state)).filter(|_| is_page)?;
    BrowserMemory::parse(&text)
}

/// What it holds from now on.
pub(super) fn keep(response: &mut HttpResponse, state: &AppState, memory: Option<&BrowserMemory>) {
    let Some(memory) = memory else { return };
    let lifetime = i64::try_from(state.people.consent_lifetime).unwrap_or(i64::MAX);
    let cookie = Cookie::build(name(state), memory.expose())
        .path("/")
        .http_only(true)
        .secure(state.sites().is_https())
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(lifetime))
        .finish();
    add_cookie(response, &cookie);
}
