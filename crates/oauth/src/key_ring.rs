//! The life of signing keys: *next* (published, does not sign yet) → *current* → *retired* (verifies what it signed) → gone.
//!
//! A key says from which instant it signs, and it signs until its successor does. So the change from one key to the next is
//! no event: every instance makes it by its own clock, and whoever lags behind still verifies, because the successor was
//! published long before.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::after;
use crate::id::KeyId;

/// How long a verifier may keep the published keys, in seconds (`max-age` of `/jwks`).
pub const JWKS_MAX_AGE: u64 = 300;
/// How often every instance looks whether the keys have changed, in seconds.
pub const POLL: u64 = 30;

/// An algorithm of access tokens. All are asymmetric, so a shared secret can never be published by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 (RFC 8037 section 3.1).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and 2048 bits (RFC 7518 section 3.3).
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The name in `alg` (RFC 7518 section 3.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no algorithm that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an algorithm that is offered; use ES256, EdDSA or RS256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.as_str() == text)
            .ok_or(UnknownAlgorithm)
    }
}

/// A signing key with what it is made of: sealed in a store, opened in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey<M> {
    /// `kid`.
    pub id: KeyId,
    /// `alg`.
    pub algorithm: Algorithm,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it signs; until its successor does.
    pub signs_from: Timestamp,
    /// The longest life, in seconds, that a token may have had which it signed.
    pub token_life: u64,
    /// The private key.
    #[serde(rename = "private")]
    pub material: M,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, so that verifiers know it before it signs.
    Next,
    /// It signs.
    Current,
    /// Published, because tokens that it signed are still good.
    Retired,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retired => "retired",
        })
    }
}

/// When keys change. All times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// What new keys are for. Another one than the newest key's makes a rotation.
    pub algorithm: Algorithm,
    /// How long a key signs before the next one takes over; 0 = only when asked.
    pub rotate_every: u64,
    /// How long a key is published before it signs.
    pub publish_before: u64,
    /// The longest life of an access token.
    pub token_life: u64,
}

impl Schedule {
    /// The shortest time for which a key must be published before it signs, if others than this service verify tokens: they
    /// keep the published keys for a while, and instances look every so often. Doubled, for answers that were late.
    pub const SAFE_PUBLISH_BEFORE: u64 = 2 * (JWKS_MAX_AGE + POLL);
}

/// A key that was just made, not yet in a ring.
#[derive(Debug, Clone)]
pub struct FreshKey<M> {
    /// `kid`.
    pub id: KeyId,
    /// `alg`.
    pub algorithm: Algorithm,
    /// The private key.
    pub material: M,
}

impl<M> FreshKey<M> {
    fn signing_from(self, signs_from: Timestamp, token_life: u64, now: Timestamp) -> SigningKey<M> {
        SigningKey {
            id: self.id,
            algorithm: self.algorithm,
            created_at: now,
            signs_from,
            token_life,
            material: self.material,
        }
    }
}

/// What became of the wish to rotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// A successor is published and signs from then on.
    Begun(KeyId, Timestamp),
    /// A successor was published before already.
    UnderWay(KeyId, Timestamp),
}

/// The keys of the service, in the order in which they sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SigningKeys<M>(Vec<SigningKey<M>>);

impl<M> SigningKeys<M> {
    /// The first key of a service. It signs at once: there is nobody who knows another.
    pub fn first(fresh: FreshKey<M>, schedule: &Schedule, now: Timestamp) -> Self {
        Self(vec![fresh.signing_from(now, schedule.token_life, now)])
    }

    /// Keys in any order.
    #[must_use]
    pub fn from_keys(mut keys: Vec<SigningKey<M>>) -> Self {
        keys.sort_by_key(|key| key.signs_from);
        Self(keys)
    }

    /// All keys, the oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, SigningKey<M>> {
        self.0.iter()
    }

    /// The key of this `kid`, whatever its state: all of them verify.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&SigningKey<M>> {
        self.iter().find(|key| key.id.as_str() == id)
    }

    /// The key that signs. Where a clock is behind, the oldest one does. `None` only if there are no keys.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Option<&SigningKey<M>> {
        let mut newest_first = self.iter().rev();
        newest_first
            .find(|key| key.signs_from <= now)
            .or_else(|| self.0.first())
    }

    /// Every key with its state.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = (&SigningKey<M>, KeyState)> {
        let current = self.current(now).map(|key| key.signs_from);
        self.iter().map(move |key| {
            let state = match current {
                Some(current) if key.signs_from < current => KeyState::Retired,
                Some(current) if key.signs_from > current => KeyState::Next,
                _ => KeyState::Current,
            };
            (key, state)
        })
    }

    /// Until when a retired key is kept; `None` while it is not retired, nor about to be.
    #[must_use]
    pub fn kept_until(&self, id: &KeyId) -> Option<Timestamp> {
        let position = self.iter().position(|key| key.id == *id)?;
        let (key, successor) = (self.0.get(position)?, self.0.get(position + 1)?);
        let leeway = crate::claims::LEEWAY.unsigned_abs();
        Some(after(
            successor.signs_from,
            key.token_life
                .saturating_add(leeway)
                .saturating_add(JWKS_MAX_AGE),
        ))
    }

    /// Whether a successor must be published now.
    #[must_use]
    pub fn needs_successor(&self, schedule: &Schedule, now: Timestamp) -> bool {
        let Some(newest) = self.0.last() else {
            return false;
        };
        if newest.signs_from > now {
            return false;
        }
        let is_outdated = newest.algorithm != schedule.algorithm;
        let end = after(newest.signs_from, schedule.rotate_every);
        let is_old = schedule.rotate_every > 0 && end <= after(now, schedule.publish_before);
        is_outdated || is_old
    }

    /// What time brings: a successor if one is due (`fresh`; without it that waits), the end of keys that no good token was
    /// signed with, and longer tokens than before.
    pub fn keep_up(&mut self, schedule: &Schedule, now: Timestamp, fresh: Option<FreshKey<M>>) {
        if self.needs_successor(schedule, now)
            && let (Some(newest), Some(fresh)) = (self.0.last(), fresh)
        {
            let soonest = after(now, schedule.publish_before);
            let planned = after(newest.signs_from, schedule.rotate_every);
            let is_planned = newest.algorithm == schedule.algorithm;
            let signs_from = if is_planned {
                soonest.max(planned)
            } else {
                soonest
            };
            self.0
                .push(fresh.signing_from(signs_from, schedule.token_life, now));
        }
        let gone: Vec<KeyId> = self
            .iter()
            .filter(|key| self.kept_until(&key.id).is_some_and(|end| end <= now))
            .map(|key| key.id.clone())
            .collect();
        self.0.retain(|key| !gone.contains(&key.id));
        let current = self.current(now).map_or(now, |key| key.signs_from);
        for key in self.0.iter_mut().filter(|key| key.signs_from >= current) {
            key.token_life = key.token_life.max(schedule.token_life);
        }
    }

    /// Publishes a successor before its time, unless one is published already.
    pub fn rotate(&mut self, schedule: &Schedule, now: Timestamp, fresh: FreshKey<M>) -> Rotation {
        if let Some(next) = self.0.last().filter(|newest| newest.signs_from > now) {
            return Rotation::UnderWay(next.id.clone(), next.signs_from);
        }
        let signs_from = after(now, schedule.publish_before);
        let next = fresh.signing_from(signs_from, schedule.token_life, now);
        let id = next.id.clone();
        self.0.push(next);
        Rotation::Begun(id, signs_from)
    }

    /// Somebody else may have the keys: a fresh one signs at once and every other is gone at once, with all access tokens
    /// that they signed.
    pub fn replace(&mut self, schedule: &Schedule, now: Timestamp, fresh: FreshKey<M>) -> KeyId {
        let first = fresh.signing_from(now, schedule.token_life, now);
        let id = first.id.clone();
        self.0 = vec![first];
        id
    }

    /// The same keys made of something else.
    pub fn try_map<N, E>(
        &self,
        mut step: impl FnMut(&SigningKey<M>) -> Result<N, E>,
    ) -> Result<SigningKeys<N>, E> {
        let keys = self.iter().map(|key| {
            Ok(SigningKey {
                id: key.id.clone(),
                algorithm: key.algorithm,
                created_at: key.created_at,
                signs_from: key.signs_from,
                token_life: key.token_life,
                material: step(key)?,
            })
        });
        Ok(SigningKeys(keys.collect::<Result<_, E>>()?))
    }
}

impl<'a, M> IntoIterator for &'a SigningKeys<M> {
    type Item = &'a SigningKey<M>;
    type IntoIter = std::slice::Iter<'a, SigningKey<M>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
