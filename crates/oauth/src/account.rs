//! A person at `/account`: a short session of their browser with this server, for seeing and ending what they granted.
//!
//! The sign-in and the session are two records: at the sign-in everything is made anew, so that nobody can plant a session in
//! another's browser and wait for it to become theirs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authorization::{IdentitySecrets, LIFETIME as SIGN_IN_LIFETIME};
use crate::entropy::Entropy;
use crate::id::{AuthorizationId, Subject};
use crate::secret::{BrowserCookie, Hashed, Plain, State};

/// How long somebody stays signed in at their account, in seconds.
pub const LIFETIME: u64 = 30 * 60;

/// A browser at its way to the account, or there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountSession {
    /// Its identifier, which is not secret.
    pub id: AuthorizationId,
    /// When it ends, used or not.
    pub expires_at: Timestamp,
    cookie: Hashed<BrowserCookie>,
    stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Stage {
    AwaitingIdentity { state: Hashed<State> },
    SignedIn(Holder),
}

/// Who is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// The person.
    pub subject: Subject,
    /// The name to show.
    pub login: String,
    /// Since when.
    pub since: Timestamp,
}

impl AccountSession {
    /// A browser is sent to the identity provider.
    pub fn start(now: Timestamp, entropy: &dyn Entropy) -> (Self, IdentitySecrets) {
        let secrets = IdentitySecrets::generate(entropy);
        let session = Self {
            id: AuthorizationId::generate(entropy),
            expires_at: crate::after(now, SIGN_IN_LIFETIME),
            cookie: secrets.cookie.hash(),
            stage: Stage::AwaitingIdentity {
                state: secrets.state.hash(),
            },
        };
        (session, secrets)
    }

    /// Whether the identity provider sent back the browser that was sent there.
    #[must_use]
    pub fn is_returning(&self, cookie: &Plain<BrowserCookie>, state: &Plain<State>) -> bool {
        match &self.stage {
            Stage::AwaitingIdentity { state: sent } => {
                let is_browser = self.cookie.matches(cookie);
                let is_state = sent.matches(state);
                is_browser && is_state
            }
            Stage::SignedIn(_) => false,
        }
    }

    /// Somebody is recognised: a session of its own, with the value of its cookie.
    pub fn sign_in(
        subject: Subject,
        login: String,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, Plain<BrowserCookie>) {
        let cookie = Plain::generate(entropy);
        let session = Self {
            id: AuthorizationId::generate(entropy),
            expires_at: crate::after(now, LIFETIME),
            cookie: cookie.hash(),
            stage: Stage::SignedIn(Holder {
                subject,
                login,
                since: now,
            }),
        };
        (session, cookie)
    }

    /// Who is signed in, if this browser is.
    #[must_use]
    pub fn holder(self, cookie: &Plain<BrowserCookie>) -> Option<Holder> {
        match self.stage {
            Stage::SignedIn(holder) if self.cookie.matches(cookie) => Some(holder),
            _ => None,
        }
    }
}
