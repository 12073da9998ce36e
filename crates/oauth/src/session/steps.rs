//! What becomes of a session: each step from the stored session to the next, with its outcome.

use jiff::{SignedDuration, Timestamp};

use super::{
    CODE_FAILURES, CODE_LIFETIME, CODE_RETRY, Lifetimes, REMEMBERED_ROTATIONS, REVOKED_TOKENS,
    Redeemed, Redemption, Refreshed, Revocation, RevokedToken, Session, Stage,
};
use crate::claims::LEEWAY;
use crate::entropy::Entropy;
use crate::id::{ClientId, TokenId};
use crate::pkce::CodeChallenge;
use crate::redirect::RedirectUri;
use crate::token::{DerivationKey, RefreshToken, Seed};

impl Session {
    /// A client presents the code.
    #[must_use]
    pub fn redeem(
        self,
        attempt: &Redemption<'_>,
        lifetimes: Lifetimes,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Redeemed {
        match &self.stage {
            Stage::CodeIssued {
                code,
                redirect_uri,
                challenge,
                failures,
            } => {
                let is_ours = code.matches(&attempt.code.secret);
                let is_late = now >= crate::after(self.created_at, CODE_LIFETIME);
                if !is_ours || is_late {
                    return Redeemed::Unknown;
                }
                if !self.is_proved(attempt, redirect_uri, challenge) {
                    let failures = failures + 1;
                    return Redeemed::Refused(self.count_failure(failures, now));
                }
                let stage = Stage::Active {
                    code: code.clone(),
                    redirect_uri: redirect_uri.clone(),
                    challenge: challenge.clone(),
                    redeemed_at: now,
                    seed: Seed::generate(entropy),
                    generation: 0,
                    rotations: Vec::new(),
                    idle_until: crate::after(now, lifetimes.idle),
                    ends_at: crate::after(now, lifetimes.absolute),
                    revoked_tokens: Vec::new(),
                };
                Redeemed::Fresh(Self { stage, ..self })
            }
            Stage::Active {
                code,
                redirect_uri,
                challenge,
                redeemed_at,
                generation,
                ..
            } => {
                if !code.matches(&attempt.code.secret) {
                    return Redeemed::Unknown;
                }
                let is_unused = *generation == 0;
                let is_retry = is_recent(*redeemed_at, now, CODE_RETRY)
                    && is_unused
                    && self.is_proved(attempt, redirect_uri, challenge);
                if is_retry {
                    Redeemed::Repeated(self)
                } else {
                    Redeemed::Replayed(self.revoke(Revocation::CodeReplayed, now))
                }
            }
            Stage::Machine { .. } | Stage::Revoked { .. } => Redeemed::Unknown,
        }
    }

    fn is_proved(
        &self,
        attempt: &Redemption<'_>,
        redirect_uri: &RedirectUri,
        challenge: &CodeChallenge,
    ) -> bool {
        let is_client = self.client_id == *attempt.client_id;
        let is_redirect = attempt
            .redirect_uri
            .is_none_or(|sent| sent == redirect_uri.as_str());
        let is_verifier = challenge.is_answered_by(attempt.verifier);
        is_client && is_redirect && is_verifier
    }

    fn count_failure(mut self, count: u8, now: Timestamp) -> Self {
        if count >= CODE_FAILURES {
            return self.revoke(Revocation::CodeGuessed, now);
        }
        if let Stage::CodeIssued { failures, .. } = &mut self.stage {
            *failures = count;
        }
        self
    }

    /// A client presents a refresh token.
    #[must_use]
    pub fn refresh(
        mut self,
        token: &RefreshToken,
        client_id: &ClientId,
        key: &DerivationKey,
        lifetimes: Lifetimes,
        now: Timestamp,
    ) -> Refreshed {
        let is_client = self.client_id == *client_id;
        let Stage::Active {
            seed,
            generation,
            rotations,
            idle_until,
            ends_at,
            ..
        } = &mut self.stage
        else {
            return Refreshed::Unknown;
        };
        let is_over = now >= *idle_until || now >= *ends_at;
        let is_genuine = token.is_genuine(key, seed);
        if is_over || !is_client || !is_genuine || token.generation > *generation {
            return Refreshed::Unknown;
        }
        if token.generation == *generation {
            *generation += 1;
            rotations.push(now);
            if rotations.len() > REMEMBERED_ROTATIONS {
                rotations.remove(0);
            }
            *idle_until = crate::after(now, lifetimes.idle).min(*ends_at);
            return Refreshed::Rotated(self);
        }
        let age = *generation - token.generation;
        let spent_at = usize::try_from(age)
            .ok()
            .and_then(|age| rotations.len().checked_sub(age))
            .and_then(|index| rotations.get(index));
        let grace = i64::try_from(lifetimes.grace).unwrap_or(i64::MAX);
        let is_in_grace = grace > 0 && spent_at.is_some_and(|at| is_recent(*at, now, grace));
        if is_in_grace {
            Refreshed::Repeated(self)
        } else {
            Refreshed::Replayed(self.revoke(Revocation::RefreshReplayed, now))
        }
    }

    /// Ends the session with all its tokens.
    #[must_use]
    pub fn revoke(mut self, why: Revocation, now: Timestamp) -> Self {
        if !matches!(self.stage, Stage::Revoked { .. }) {
            self.stage = Stage::Revoked { at: now, why };
        }
        self
    }

    /// Ends one access token (RFC 7009 section 2.1). When too many were ended one by one, the session ends instead.
    #[must_use]
    pub fn revoke_token(mut self, token: TokenId, expires_at: Timestamp, now: Timestamp) -> Self {
        if let Stage::Active { revoked_tokens, .. } | Stage::Machine { revoked_tokens, .. } =
            &mut self.stage
        {
            revoked_tokens.retain(|revoked| now < revoked.expires_at);
            if revoked_tokens.iter().any(|revoked| revoked.id == token) {
                return self;
            }
            if revoked_tokens.len() >= REVOKED_TOKENS {
                return self.revoke(Revocation::Requested, now);
            }
            revoked_tokens.push(RevokedToken {
                id: token,
                expires_at,
            });
        }
        self
    }
}

/// Whether `then` is at most `seconds` ago. One that lies ahead by more than clocks may differ is not: a clock that was put back
/// must not make good again what was spent.
fn is_recent(then: Timestamp, now: Timestamp, seconds: i64) -> bool {
    let age = now.duration_since(then);
    age <= SignedDuration::from_secs(seconds) && age >= -SignedDuration::from_secs(LEEWAY)
}
