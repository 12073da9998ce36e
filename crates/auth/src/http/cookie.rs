//! Cookies: how all of ours are set and ended, and the one that binds a sign-in to one browser.

use actix_web::cookie::{Cookie, CookieBuilder, SameSite, time::Duration};
use oauth::AuthorizationId;
use oauth::authorization::LIFETIME;
use oauth::secret::{BrowserCookie, Plain};

use crate::app::AppState;

/// The name of a cookie of ours. `__Host-` keeps other hosts of the domain from setting it (RFC 6265bis section 4.1.3.2); it
/// needs https, so plain http on localhost has names of its own.
pub(super) fn host_name(state: &AppState, name: &str) -> String {
    let prefix = if state.sites().is_https() {
        "__Host-"
    } else {
        ""
    };
    format!("{prefix}{name}")
}

/// A cookie that the browser keeps for so many seconds, for this host alone and for no script.
pub(super) fn lasting(
    state: &AppState,
    name: String,
    value: String,
    seconds: u64,
) -> Cookie<'static> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    bound(state, name, value)
        .max_age(Duration::seconds(seconds))
        .finish()
}

/// The cookie without a value, which ends it.
pub(super) fn ended(state: &AppState, name: String) -> Cookie<'static> {
    let mut cookie = bound(state, name, String::new()).finish();
    cookie.make_removal();
    cookie
}

fn bound(state: &AppState, name: String, value: String) -> CookieBuilder<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(state.sites().is_https())
        .same_site(SameSite::Lax)
}

/// The name of the cookie of a sign-in. Each has its own, so that two tabs do not mix.
pub(crate) fn name(state: &AppState, id: &AuthorizationId) -> String {
    host_name(state, &format!("mcp-sign-in-{id}"))
}

/// The cookie of a sign-in with its value.
pub(crate) fn bind(
    state: &AppState,
    id: &AuthorizationId,
    value: &Plain<BrowserCookie>,
) -> Cookie<'static> {
    let value = value.expose().to_owned();
    lasting(state, name(state, id), value, LIFETIME)
}

/// The sign-in is over.
pub(crate) fn release(state: &AppState, id: &AuthorizationId) -> Cookie<'static> {
    ended(state, name(state, id))
}
