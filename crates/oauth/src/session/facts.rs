//! What an operator may see of a session: no secret is in it.

use jiff::Timestamp;

use super::{Revocation, Session, Stage};

/// Where a session is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// A code was sent and not yet redeemed.
    CodeIssued,
    /// It gives tokens.
    Active,
    /// It was ended.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why.
        why: Revocation,
    },
}

impl Session {
    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> SessionState {
        match &self.stage {
            Stage::CodeIssued { .. } => SessionState::CodeIssued,
            Stage::Revoked { at, why } => SessionState::Revoked { at: *at, why: *why },
            Stage::Active { .. } | Stage::Machine { .. } => SessionState::Active,
        }
    }

    /// When its client last got tokens, as far as that is kept.
    #[must_use]
    pub fn last_used_at(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Active {
                redeemed_at,
                rotations,
                ..
            } => Some(rotations.last().copied().unwrap_or(*redeemed_at)),
            _ => None,
        }
    }
}
