//! The device authorization grant (RFC 8628): a device without a browser shows a short code, and a person types it elsewhere.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::entropy::{self, Entropy};
use crate::id::{ClientId, ServiceName};
use crate::scope::ScopeSet;
use crate::secret::{DeviceSecret, Hashed, Plain};
use crate::session::Person;

/// How long the codes may be used, in seconds (RFC 8628 section 3.2).
pub const LIFETIME: u64 = 600;
/// How many seconds a device waits between two questions at first, and by how many more after each one that came too soon
/// (RFC 8628 section 3.5).
pub const INTERVAL: u64 = 5;
/// How long after its end a device is told that it is over, in seconds.
const REMEMBERED: u64 = 300;

/// Consonants that no vowel makes a word of, and that are not mistaken for digits (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 20 to the power of 8 are 34 bits: with five wrong ones a minute from an address nobody guesses one in ten minutes.
const LENGTH: usize = 8;

/// What the person types: eight letters. Case, hyphens and spaces do not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserCode(String);

/// The text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has eight letters")]
pub struct InvalidUserCode;

impl UserCode {
    /// A fresh one, each letter as likely as the others.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut code = String::with_capacity(LENGTH);
        while code.len() < LENGTH {
            let [byte] = entropy::bytes::<1>(entropy);
            // The last 16 values would make some letters likelier.
            let letter = (byte < 240).then(|| LETTERS.get(usize::from(byte % 20)));
            if let Some(letter) = letter.flatten() {
                code.push(char::from(*letter));
            }
        }
        Self(code)
    }

    /// Takes what a person typed.
    pub fn parse(text: &str) -> Result<Self, InvalidUserCode> {
        if text.len() > 64 {
            return Err(InvalidUserCode);
        }
        let code: String = text
            .chars()
            .filter(|c| !matches!(c, '-' | ' '))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let is_code = code.len() == LENGTH && code.bytes().all(|b| LETTERS.contains(&b));
        is_code.then_some(Self(code)).ok_or(InvalidUserCode)
    }

    /// The letters alone, as the code is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In two groups, for people: `WDJB-MJHT`.
impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at_checked(LENGTH / 2).unwrap_or((&self.0, ""));
        write!(f, "{first}-{second}")
    }
}

impl TryFrom<String> for UserCode {
    type Error = InvalidUserCode;
    fn try_from(text: String) -> Result<Self, InvalidUserCode> {
        Self::parse(&text)
    }
}

impl From<UserCode> for String {
    fn from(code: UserCode) -> Self {
        code.0
    }
}

/// What the device holds: `mcp_dc_SECRET.USERCODE`. It names its record, and the secret proves that it is the device's.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    /// The record.
    pub user_code: UserCode,
    secret: Plain<DeviceSecret>,
}

impl DeviceCode {
    /// A fresh pair of codes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            user_code: UserCode::generate(entropy),
            secret: Plain::generate(entropy),
        }
    }

    /// Takes the text if it has the shape of a device code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (secret, user_code) = text.split_once('.')?;
        Some(Self {
            user_code: UserCode::parse(user_code).ok()?,
            secret: Plain::parse(secret)?,
        })
    }

    /// The code as the device gets it.
    #[must_use]
    pub fn expose(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(format!(
            "{}.{}",
            self.secret.expose(),
            self.user_code.as_str()
        ))
    }
}

/// A device that waits for a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceAuthorization {
    /// Who asks.
    pub client_id: ClientId,
    /// For which service.
    pub service: ServiceName,
    /// With which scopes.
    pub scope: ScopeSet,
    /// When the codes end.
    pub ends_at: Timestamp,
    secret: Hashed<DeviceSecret>,
    interval: u64,
    asked_at: Option<Timestamp>,
    stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Stage {
    Waiting,
    Approved { person: Person, at: Timestamp },
    Denied,
    Redeemed,
}

/// What a device that asks is told (RFC 8628 section 3.5).
#[derive(Debug)]
pub enum Polled {
    /// Nobody has answered yet: store this.
    Pending(DeviceAuthorization),
    /// It asked too soon, and waits longer from now on: store this.
    SlowDown(DeviceAuthorization),
    /// A person agreed at this instant: store this, and open a session. It happens once.
    Granted(DeviceAuthorization, Person, Timestamp),
    /// A person refused.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// No such code, another client's, or redeemed before.
    Unknown,
}

impl DeviceAuthorization {
    /// A device asks.
    #[must_use]
    pub fn start(
        code: &DeviceCode,
        client_id: ClientId,
        service: ServiceName,
        scope: ScopeSet,
        now: Timestamp,
    ) -> Self {
        Self {
            client_id,
            service,
            scope,
            ends_at: crate::after(now, LIFETIME),
            secret: code.secret.hash(),
            interval: INTERVAL,
            asked_at: None,
            stage: Stage::Waiting,
        }
    }

    /// Until when the record must be kept: a little longer than the codes, so that a late device is told so.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        crate::after(self.ends_at, REMEMBERED)
    }

    /// Whether a person may still answer.
    #[must_use]
    pub fn is_waiting(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Waiting) && now < self.ends_at
    }

    /// A person agreed. `None` when it is answered or over.
    #[must_use]
    pub fn approve(self, person: Person, now: Timestamp) -> Option<Self> {
        self.is_waiting(now).then_some(Self {
            stage: Stage::Approved { person, at: now },
            ..self
        })
    }

    /// A person refused, or may not. `None` when it is answered or over.
    #[must_use]
    pub fn deny(self, now: Timestamp) -> Option<Self> {
        self.is_waiting(now).then_some(Self {
            stage: Stage::Denied,
            ..self
        })
    }

    /// The device asks whether somebody has answered.
    #[must_use]
    pub fn poll(mut self, code: &DeviceCode, client_id: &ClientId, now: Timestamp) -> Polled {
        let is_theirs = self.client_id == *client_id && self.secret.matches(&code.secret);
        if !is_theirs {
            return Polled::Unknown;
        }
        let is_over = now >= self.ends_at;
        match self.stage.clone() {
            Stage::Redeemed => Polled::Unknown,
            Stage::Denied => Polled::Denied,
            Stage::Waiting | Stage::Approved { .. } if is_over => Polled::Expired,
            Stage::Approved { person, at } => {
                self.stage = Stage::Redeemed;
                Polled::Granted(self, person, at)
            }
            Stage::Waiting => {
                let is_too_soon = self.asked_at.is_some_and(|asked| {
                    let interval = i64::try_from(self.interval).unwrap_or(i64::MAX);
                    now.duration_since(asked) < SignedDuration::from_secs(interval)
                });
                self.asked_at = Some(now);
                if is_too_soon {
                    self.interval = self.interval.saturating_add(INTERVAL);
                    Polled::SlowDown(self)
                } else {
                    Polled::Pending(self)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
