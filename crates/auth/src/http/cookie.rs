//! The cookie that binds a sign-in to one browser. Each sign-in has its own, so that two tabs do not mix.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use oauth::AuthorizationId;
use oauth::authorization::LIFETIME;
use oauth::secret::{BrowserCookie, Plain};

use crate::app::AppState;

/// Its name. `__Host-` keeps other hosts of the domain from setting it (RFC 6265bis section 4.1.3.2); it needs https, so plain
/// http on localhost has a name of its own.
pub(crate) fn name(state: &AppState, id: &AuthorizationId) -> String {
    let prefix = if state.sites().is_https() {
        "__Host-"
    } else {
        ""
    };
    format!("{prefix}mcp-sign-in-{id}")
}

/// The cookie with its value.
pub(crate) fn bind(
    state: &AppState,
    id: &AuthorizationId,
    value: &Plain<BrowserCookie>,
) -> Cookie<'static> {
    let lifetime = i64::try_from(LIFETIME).unwrap_or(600);
    Cookie::build(name(state, id), value.expose().to_owned())
        .path("/")
        .http_only(true)
        .secure(state.sites().is_https())
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(lifetime))
        .finish()
}

/// The cookie without a value, which ends it.
pub(crate) fn release(state: &AppState, id: &AuthorizationId) -> Cookie<'static> {
    let mut cookie = Cookie::build(name(state, id), "")
        .path("/")
        .http_only(true)
        .secure(state.sites().is_https())
        .same_site(SameSite::Lax)
        .finish();
    cookie.make_removal();
    cookie
}
