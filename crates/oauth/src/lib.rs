#![doc = include_str!("../README.md")]

pub mod account;
pub mod authorization;
pub mod authorize;
pub mod claims;
pub mod client;
pub mod client_document;
pub mod client_metadata;
pub mod clock;
pub mod consent;
pub mod device;
pub mod entropy;
pub mod error;
pub mod id;
pub mod identity;
pub mod key_ring;
pub mod metadata;
pub mod operator;
pub mod pkce;
pub mod redirect;
pub mod rules;
pub mod scope;
pub mod secret;
pub mod session;
pub mod site;
pub mod token;

pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, SystemEntropy};
pub use error::ErrorCode;
pub use id::{AuthorizationId, ClientId, KeyId, ServiceName, SessionId, Subject, TokenId};
pub use redirect::RedirectUri;
pub use scope::ScopeSet;
pub use site::{Site, Sites};

/// Time as it is stored and compared everywhere: an instant in UTC.
pub use jiff::Timestamp;

/// `now` plus a number of seconds, saturating at the end of time.
#[must_use]
pub fn after(now: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    now.checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
