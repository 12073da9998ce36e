//! The cookie of a browser in which a person had consent remembered.

use actix_web::{HttpRequest, HttpResponse};

use super::authorize::add_cookie;
use super::{cookie, extract};
use crate::app::AppState;
use crate::flow::remembered::BrowserMemory;

fn name(state: &AppState) -> String {
    cookie::host_name(state, "mcp-remembered")
}

/// What the browser holds, if it is a whole page that it opens: in a frame nobody sees what happens.
pub(super) fn of(request: &HttpRequest, state: &AppState) -> Option<BrowserMemory> {
    let is_page = match extract::single_header(request, "sec-fetch-dest") {
        Ok(Some(destination)) => destination == "document",
        // A browser that does not say so keeps the cookie out of frames of other sites all the same (`SameSite`).
        Ok(None) => true,
        Err(()) => false,
    };
    let text = extract::cookie(request, &name(state)).filter(|_| is_page)?;
    BrowserMemory::parse(&text)
}

/// What it holds from now on.
pub(super) fn keep(response: &mut HttpResponse, state: &AppState, memory: Option<&BrowserMemory>) {
    let Some(memory) = memory else { return };
    let lifetime = state.people.consent_lifetime;
    let cookie = cookie::lasting(state, name(state), memory.expose(), lifetime);
    add_cookie(response, &cookie);
}
