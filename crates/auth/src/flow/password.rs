//! Name and password of the local identity provider.
//!
//! Guessing is slow, and yet no stranger can lock a name: an address is refused when it tries one name too often. When a name
//! is tried too often from all addresses together, each further attempt at it is answered late, but it is answered.

use chassis::peer::ClientAddress;
use oauth::identity::Identity;

use crate::app::AppState;
use crate::idp::local::{Local, LocalError};
use crate::limits::{Limit, Who};

/// Recognises somebody, who asks from this address.
pub(crate) async fn recognise(
    state: &AppState,
    local: &Local,
    address: ClientAddress,
    name: &str,
    password: String,
) -> Result<Identity, LocalError> {
    let now = state.clock.now();
    let (limits, from_there) = (&state.limits, Who::at(address).named(name));
    limits
        .take(Limit::Passwords, &from_there, now)
        .await
        .map_err(|exceeded| LocalError::TooMany {
            wait: exceeded.wait,
        })?;
    let from_anywhere = Who::ALL.named(name);
    if limits
        .take(Limit::PasswordsOfName, &from_anywhere, now)
        .await
        .is_err()
    {
        local.delay().await?;
    }
    local.identify(name, password).await
}
