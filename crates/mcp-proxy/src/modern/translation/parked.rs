//! Calls that wait for their client: the server has asked something, the question went out as `input_required`, and nothing
//! is open until the client comes back with answers and `requestState`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant};

use crate::metrics::Counted;
use crate::modern::translation::child::Legacy;
use crate::modern::translation::inward::Inward;
use crate::replicas::Tag;

/// Bytes of a ticket's random name.
const NAME: usize = 16;
/// Bytes of a state before its seal: the name, and the milliseconds when it ends.
const PAYLOAD: usize = NAME + 8;

/// The random name of one round of one parked call.
pub type Ticket = [u8; NAME];

/// Who asked for what: a state is worth nothing to anybody else, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; 32]);

impl Binding {
    /// Of a person and what their request asks for.
    #[must_use]
    pub fn new(subject: Option<&str>, inward: &Inward<'_>) -> Self {
        let mut digest = Sha256::new();
        let subject = subject.unwrap_or_default();
        digest.update(subject.len().to_be_bytes());
        digest.update(subject);
        digest.update(inward.salient());
        Self(digest.finalize().into())
    }
}

/// The parked calls of this process.
pub struct Parked {
    /// Made at the start and never told: what another process sealed is not valid here, and its calls are not here either.
    key: [u8; 32],
    born: Instant,
    life: Duration,
    replica: Option<Tag>,
    table: Mutex<HashMap<Ticket, Place>>,
    counted: Counted,
}

/// Where a parked call is.
#[derive(Debug)]
struct Place {
    child: Weak<Legacy>,
    number: u64,
}

/// A `requestState` that is not valid here, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotParked;

impl fmt::Debug for Parked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Parked([hidden])")
    }
}

impl Parked {
    /// None yet. `life`: how long a call waits for its client; `replica`: what states begin with where there are several
    /// replicas.
    pub fn new(
        life: Duration,
        replica: Option<Tag>,
        counted: Counted,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            key: random()?,
            born: Instant::now(),
            life,
            replica,
            table: Mutex::default(),
            counted,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticket, Place>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where a call is parked. Answers the ticket, its `requestState`, and when it ends.
    pub fn park(
        &self,
        child: Weak<Legacy>,
        number: u64,
        binding: Binding,
    ) -> Result<(Ticket, String, Instant), getrandom::Error> {
        let ticket: Ticket = random()?;
        let end = Instant::now() + self.life;
        let millis = u64::try_from(end.duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        let mut sealed = Vec::with_capacity(PAYLOAD + 32);
        sealed.extend_from_slice(&ticket);
        sealed.extend_from_slice(&millis.to_be_bytes());
        let seal = self.seal(&sealed, binding).finalize().into_bytes();
        sealed.extend_from_slice(&seal);
        self.lock().insert(ticket, Place { child, number });
        self.counted.parked.inc();
        let sealed = BASE64_URL_SAFE_NO_PAD.encode(sealed);
        let state = match self.replica {
            Some(tag) => tag.mark(&sealed),
            None => sealed,
        };
        Ok((ticket, state, end))
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn seal(&self, payload: &[u8], binding: Binding) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.key)
            .expect("a key of any length")
            .chain_update(payload)
            .chain_update(binding.0)
    }

    /// Takes a parked call out: a state is good for one request.
    pub fn redeem(
        &self,
        state: &str,
        binding: Binding,
    ) -> Result<(Ticket, Arc<Legacy>, u64), NotParked> {
        let sealed = match self.replica {
            Some(_) => Tag::split(state).ok_or(NotParked)?.1,
            None => state,
        };
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| NotParked)?;
        let (payload, seal) = sealed.split_at_checked(PAYLOAD).ok_or(NotParked)?;
        self.seal(payload, binding)
            .verify_slice(seal)
            .map_err(|_| NotParked)?;
        let (ticket, end) = payload.split_first_chunk::<NAME>().ok_or(NotParked)?;
        let end: [u8; 8] = end.try_into().map_err(|_| NotParked)?;
        if self.born.elapsed().as_millis() >= u128::from(u64::from_be_bytes(end)) {
            return Err(NotParked);
        }
        let place = self.forget(*ticket).ok_or(NotParked)?;
        let child = place.child.upgrade().ok_or(NotParked)?;
        Ok((*ticket, child, place.number))
    }

    /// Puts back a call whose answers were no answers: the same state may be sent again, with better ones.
    pub fn put_back(&self, ticket: Ticket, child: &Arc<Legacy>, number: u64) {
        let child = Arc::downgrade(child);
        self.lock().insert(ticket, Place { child, number });
        self.counted.parked.inc();
    }

    fn forget(&self, ticket: Ticket) -> Option<Place> {
        let place = self.lock().remove(&ticket)?;
        self.counted.parked.dec();
        Some(place)
    }

    /// The call is over.
    pub fn remove(&self, ticket: Ticket) {
        drop(self.forget(ticket));
    }
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], getrandom::Error> {
    let mut bytes = [0; LENGTH];
    #[expect(
        clippy::disallowed_methods,
        reason = "an unguessable name has no use for a repeatable source"
    )]
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use chassis::metrics::Metrics;

    use super::*;

    #[test]
    fn a_state_that_has_ended_is_worth_nothing_although_its_call_is_still_parked() {
        let binding = Binding([7; 32]);
        for (life, ended) in [(Duration::ZERO, true), (Duration::from_secs(600), false)] {
            let counted = Counted::new(&Metrics::new("mcp-proxy"));
            let parked = Parked::new(life, None, counted).unwrap();
            let (ticket, state, _) = parked.park(Weak::new(), 1, binding).unwrap();
            // There is no child, so nothing comes of either; but only the one that has not ended takes its call out.
            assert!(parked.redeem(&state, binding).is_err());
            assert_eq!(parked.lock().contains_key(&ticket), ended, "{life:?}");
        }
    }
}
