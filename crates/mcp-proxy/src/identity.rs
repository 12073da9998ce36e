//! Who calls: the identity headers that Traefik copies from the answer of `auth`.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderValue};
use chassis::identity;

/// Whose a session is. It answers to nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The person, as `auth` knows them.
    pub subject: Arc<str>,
    /// The OAuth client they use.
    pub client: Arc<str>,
}

/// A caller with an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Person and client.
    pub owner: Owner,
    /// The name the person signs in with.
    pub login: Box<str>,
    /// Scopes of the token, separated by spaces; may be empty.
    pub scope: Box<str>,
}

/// Why a request has no usable identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// No identity header at all: the request did not come through the gateway.
    #[error("no identity: this service answers only to requests that came through the gateway")]
    Absent,
    /// Some, but not exactly one of each: the gateway is configured wrongly.
    #[error(
        "the identity header `{0}` must be there exactly once and not be empty: check the gateway's authResponseHeaders"
    )]
    Unusable(&'static str),
}

/// Reads the identity headers: each exactly once, none empty but the scope.
pub fn read(headers: &HeaderMap) -> Result<Identity, NoIdentity> {
    if !identity::ALL.iter().any(|name| headers.contains_key(*name)) {
        return Err(NoIdentity::Absent);
    }
    let one = |name: &'static str| {
        let mut values = headers.get_all(name);
        match (values.next().map(HeaderValue::to_str), values.next()) {
            (Some(Ok(value)), None) if !value.is_empty() || name == identity::SCOPE => Ok(value),
            _ => Err(NoIdentity::Unusable(name)),
        }
    };
    Ok(Identity {
        owner: Owner {
            subject: one(identity::SUBJECT)?.into(),
            client: one(identity::CLIENT)?.into(),
        },
        login: one(identity::LOGIN)?.into(),
        scope: one(identity::SCOPE)?.into(),
    })
}
