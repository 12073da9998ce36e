//! What the service does, without web types: each function takes what was parsed and answers with an outcome or a refusal.

pub(crate) mod account;
pub(crate) mod administration;
pub(crate) mod admission;
pub(crate) mod consent;
pub(crate) mod decisions;
pub(crate) mod device;
pub(crate) mod introspect;
pub(crate) mod machine;
pub(crate) mod membership;
pub(crate) mod password;
pub(crate) mod register;
pub(crate) mod remembered;
pub(crate) mod revoke;
pub(crate) mod sign_in;
pub(crate) mod token;
pub(crate) mod verify;

use oauth::ErrorCode;
use store::StoreError;

/// Why a client's request is not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The client made a mistake, or may not. The description leaves the house.
    #[error("{code}: {description}")]
    Told {
        code: ErrorCode,
        description: String,
    },
    /// The client could not prove who it is; `Basic` tells that it tried by header (RFC 6749 section 5.2).
    #[error("invalid_client: {description}")]
    Client {
        description: &'static str,
        by_header: bool,
    },
    /// The registration token is missing or wrong (RFC 7592 section 2).
    #[error("the registration access token is missing or wrong")]
    Registration,
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of ours failed; the text stays in the log.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Refusal {
    pub(crate) fn told(code: ErrorCode, description: impl Into<String>) -> Self {
        Self::Told {
            code,
            description: description.into(),
        }
    }
}
