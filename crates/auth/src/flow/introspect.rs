//! `/introspect` (RFC 7662): a resource server asks about an access token.

use oauth::ErrorCode;
use oauth::claims::AccessClaims;
use oauth::client::Client;
use serde::Serialize;

use super::{Refusal, verify};
use crate::app::AppState;
use crate::keys::CheckError;

/// What is told about a token (RFC 7662 section 2.2).
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Introspection {
    /// It opens the resource server that asks.
    Active {
        active: bool,
        token_type: &'static str,
        username: String,
        #[serde(flatten)]
        claims: Box<AccessClaims>,
    },
    /// It does not, or is nothing that the resource server may know about. No more is told.
    Inactive { active: bool },
}

const INACTIVE: Introspection = Introspection::Inactive { active: false };

/// Tells about a token whose `aud` is a service for which the client is the resource server. Others, and tokens that are not
/// access tokens, are inactive for it.
pub(crate) async fn introspect(
    state: &AppState,
    client: &Client,
    token: &str,
) -> Result<Introspection, Refusal> {
    let introspects = match &client.operator {
        Some(rights) if !rights.introspects.is_empty() => &rights.introspects,
        _ => {
            return Err(Refusal::told(
                ErrorCode::AccessDenied,
                "introspection is for resource servers that the operator of this gateway lists",
            ));
        }
    };
    let claims = match state.keys.check(token).await {
        Ok(claims) => claims,
        Err(CheckError::Forged | CheckError::UnknownKey(_)) => return Ok(INACTIVE),
        Err(CheckError::Store(error)) => return Err(error.into()),
    };
    let service = introspects
        .iter()
        .find(|service| state.sites().resource(service) == claims.aud);
    let Some(service) = service else {
        return Ok(INACTIVE);
    };
    let now = state.clock.now();
    if claims.check(&state.issuer, &claims.aud, now).is_err() {
        return Ok(INACTIVE);
    }
    if verify::alive(state, &claims, service, now).await?.is_none() {
        return Ok(INACTIVE);
    }
    Ok(Introspection::Active {
        active: true,
        token_type: "Bearer",
        username: claims.login.clone(),
        claims: Box::new(claims),
    })
}
