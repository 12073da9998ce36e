//! What is presented at a session, and what becomes of it.

use serde::{Deserialize, Serialize};

use super::Session;
use crate::id::ClientId;
use crate::pkce::CodeVerifier;
use crate::token::AuthorizationCode;

/// Why a session was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// The client, the person or an operator asked for it.
    Requested,
    /// Its code was presented again.
    CodeReplayed,
    /// Its code was presented with wrong proofs too often.
    CodeGuessed,
    /// A spent refresh token was presented again.
    RefreshReplayed,
    /// The person may not come in any more.
    PersonRefused,
    /// The membership by which the person came in was not confirmed in time.
    MembershipUnconfirmed,
}

/// What a client presents to redeem a code.
#[derive(Debug)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a AuthorizationCode,
    /// The authenticated client.
    pub client_id: &'a ClientId,
    /// `redirect_uri`, if it was sent (OAuth 2.1 does not need it; older clients send it).
    pub redirect_uri: Option<&'a str>,
    /// PKCE.
    pub verifier: &'a CodeVerifier,
}

/// What became of a redemption.
#[derive(Debug)]
pub enum Redeemed {
    /// First use: store this session and answer with its tokens.
    Fresh(Session),
    /// The same client repeats within seconds, its answer was lost: answer with the same refresh token.
    Repeated(Session),
    /// The code was used before: store this revoked session and refuse.
    Replayed(Session),
    /// Wrong client, redirect or verifier: store the counted failure (or the revocation) and refuse.
    Refused(Session),
    /// Not this session's code, or too late: refuse and store nothing.
    Unknown,
}

/// What became of a refresh.
#[derive(Debug)]
pub enum Refreshed {
    /// Store this session and answer with its refresh token.
    Rotated(Session),
    /// The token was spent a moment ago: nothing to store, answer with the current refresh token.
    Repeated(Session),
    /// A spent token came back: store this revoked session and refuse.
    Replayed(Session),
    /// Forged, another client's, expired or revoked: refuse and store nothing.
    Unknown,
}
