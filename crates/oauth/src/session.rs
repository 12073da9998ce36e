//! A session: one grant of one person to one client for one service, from the code to the last refresh token.
//!
//! Every change is a pure step from the stored session to the next, with an outcome that the caller must handle. The store
//! applies a step only if nobody else changed the session meanwhile, so racing requests see each other's result.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authorize::AuthorizeRequest;
use crate::entropy::Entropy;
use crate::id::{ClientId, InvalidId, ServiceName, SessionId, Subject, TokenId};
use crate::pkce::CodeChallenge;
use crate::redirect::RedirectUri;
use crate::scope::ScopeSet;
use crate::secret::{Code, Hashed};
use crate::token::{AuthorizationCode, DerivationKey, RefreshToken, Seed};

mod facts;
mod outcome;
mod steps;

pub use facts::SessionState;
pub use outcome::{Redeemed, Redemption, Refreshed, Revocation};

/// How long a code may be redeemed, in seconds (OAuth 2.1 section 4.1.2 recommends at most ten minutes).
pub const CODE_LIFETIME: u64 = 60;
/// How long the same client may repeat a redemption whose answer was lost, in seconds.
pub const CODE_RETRY: i64 = 10;
/// How many wrong verifiers or clients void a code.
pub const CODE_FAILURES: u8 = 3;
/// How many spent refresh tokens are remembered with the instant of their use.
const REMEMBERED_ROTATIONS: usize = 8;
/// How many access tokens can be revoked one by one before the whole session is.
const REVOKED_TOKENS: usize = 32;

/// Lifetimes of a session's tokens, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// A refresh token that is not used ends after this.
    pub idle: u64,
    /// The session ends after this, however often it is refreshed.
    pub absolute: u64,
    /// How long a spent refresh token still leads to its successor; 0 = never.
    pub grace: u64,
}

/// The person who granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who, for ever.
    pub subject: Subject,
    /// The name under which they signed in.
    pub login: String,
    /// Names on the lists that were found to be theirs at the sign-in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// Listed organisations, teams and groups whose member they were at the sign-in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub memberships: BTreeSet<String>,
}

/// A session as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier, which is not secret.
    pub id: SessionId,
    /// Who granted.
    pub person: Person,
    /// To whom.
    pub client_id: ClientId,
    /// For which service.
    pub service: ServiceName,
    /// With which scopes.
    pub scope: ScopeSet,
    /// When.
    pub created_at: Timestamp,
    /// When the identity provider last confirmed the memberships after the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<Timestamp>,
    stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Stage {
    CodeIssued {
        code: Hashed<Code>,
        redirect_uri: RedirectUri,
        challenge: CodeChallenge,
        failures: u8,
    },
    Active {
        code: Hashed<Code>,
        redirect_uri: RedirectUri,
        challenge: CodeChallenge,
        redeemed_at: Timestamp,
        seed: Seed,
        generation: u64,
        /// Uses of the latest spent generations, the newest last.
        rotations: Vec<Timestamp>,
        idle_until: Timestamp,
        ends_at: Timestamp,
        revoked_tokens: Vec<RevokedToken>,
    },
    /// One access token for an operator's client (RFC 6749 section 4.4): no person, no code, no refresh token.
    Machine {
        ends_at: Timestamp,
        #[serde(default)]
        revoked_tokens: Vec<RevokedToken>,
    },
    Revoked {
        at: Timestamp,
        why: Revocation,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RevokedToken {
    id: TokenId,
    expires_at: Timestamp,
}

impl Session {
    /// A person granted what a client asked: a code is issued.
    pub fn issue_code(
        request: &AuthorizeRequest,
        person: Person,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, AuthorizationCode) {
        let code = AuthorizationCode::generate(SessionId::generate(entropy), entropy);
        let session = Self {
            id: code.session.clone(),
            person,
            client_id: request.client_id.clone(),
            service: request.service.clone(),
            scope: request.scope.clone(),
            created_at: now,
            confirmed_at: None,
            stage: Stage::CodeIssued {
                code: code.secret.hash(),
                redirect_uri: request.redirect_uri.clone(),
                challenge: request.code_challenge.clone(),
                failures: 0,
            },
        };
        (session, code)
    }

    /// A device gets what a person granted it at `granted_at` (RFC 8628 section 3.5): the session is open at once.
    pub fn for_device(
        request: &AuthorizeRequest,
        person: Person,
        granted_at: Timestamp,
        lifetimes: Lifetimes,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Self {
        // The code is known to nobody.
        let (session, code) = Self::issue_code(request, person, granted_at, entropy);
        let stage = Stage::Active {
            code: code.secret.hash(),
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.code_challenge.clone(),
            redeemed_at: now,
            seed: Seed::generate(entropy),
            generation: 0,
            rotations: Vec::new(),
            idle_until: crate::after(now, lifetimes.idle),
            ends_at: crate::after(now, lifetimes.absolute),
            revoked_tokens: Vec::new(),
        };
        Self { stage, ..session }
    }

    /// An operator's client asks for a token of its own, for `lifetime` seconds (RFC 6749 section 4.4).
    pub fn for_machine(
        client_id: &ClientId,
        service: ServiceName,
        scope: ScopeSet,
        lifetime: u64,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, InvalidId> {
        let subject = Subject::of_client(client_id)?;
        Ok(Self {
            id: SessionId::generate(entropy),
            person: Person {
                // Not the bare id: a person could have that name.
                login: subject.to_string(),
                subject,
                names: BTreeSet::new(),
                memberships: BTreeSet::new(),
            },
            client_id: client_id.clone(),
            service,
            scope,
            created_at: now,
            confirmed_at: None,
            stage: Stage::Machine {
                ends_at: crate::after(now, lifetime),
                revoked_tokens: Vec::new(),
            },
        })
    }

    /// Whether no person stands behind it, but an operator's client.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.person.subject.is_client()
    }

    /// Whether its access tokens are honoured.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.ends_at().is_some_and(|end| now < end)
    }

    /// Whether one of its access tokens is honoured.
    #[must_use]
    pub fn admits_token(&self, token: &TokenId, now: Timestamp) -> bool {
        match &self.stage {
            Stage::Active {
                ends_at,
                revoked_tokens,
                ..
            }
            | Stage::Machine {
                ends_at,
                revoked_tokens,
            } => now < *ends_at && !revoked_tokens.iter().any(|revoked| revoked.id == *token),
            _ => false,
        }
    }

    /// When the session ends, however often it is refreshed; no access token may outlive it.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Active { ends_at, .. } | Stage::Machine { ends_at, .. } => Some(*ends_at),
            _ => None,
        }
    }

    /// When the memberships of the person were last confirmed: at the sign-in, or later.
    #[must_use]
    pub fn confirmed_at(&self) -> Timestamp {
        self.confirmed_at.unwrap_or(self.created_at)
    }

    /// The identity provider confirms the memberships again.
    #[must_use]
    pub fn confirm(mut self, now: Timestamp) -> Self {
        self.confirmed_at = Some(now);
        self
    }

    /// Until when the record must be kept, given the lifetime of access tokens in seconds.
    ///
    /// A revoked session is kept as a tombstone as long as any of its tokens could come back.
    #[must_use]
    pub fn expires_at(&self, access_token_lifetime: u64) -> Timestamp {
        match &self.stage {
            Stage::CodeIssued { .. } => crate::after(self.created_at, CODE_LIFETIME),
            Stage::Active {
                idle_until,
                ends_at,
                ..
            } => {
                let last_token = crate::after(*idle_until, access_token_lifetime);
                last_token.min(*ends_at)
            }
            Stage::Machine { ends_at, .. } => *ends_at,
            Stage::Revoked { at, .. } => crate::after(*at, access_token_lifetime.max(24 * 60 * 60)),
        }
    }

    /// Its current refresh token.
    #[must_use]
    pub fn refresh_token(&self, key: &DerivationKey) -> Option<RefreshToken> {
        match &self.stage {
            Stage::Active {
                seed, generation, ..
            } => Some(RefreshToken::derive(key, &self.id, seed, *generation)),
            _ => None,
        }
    }

    /// Whether the code was given out for this session, to this client.
    #[must_use]
    pub fn is_code_of(&self, code: &AuthorizationCode, client_id: &ClientId) -> bool {
        let is_ours = match &self.stage {
            Stage::CodeIssued { code: issued, .. } | Stage::Active { code: issued, .. } => {
                issued.matches(&code.secret)
            }
            Stage::Machine { .. } | Stage::Revoked { .. } => false,
        };
        is_ours && self.client_id == *client_id
    }

    /// Whether a refresh token, spent or not, was given out for this session.
    #[must_use]
    pub fn is_genuine(&self, token: &RefreshToken, key: &DerivationKey) -> bool {
        match &self.stage {
            Stage::Active {
                seed, generation, ..
            } => token.generation <= *generation && token.is_genuine(key, seed),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
