//! Access tokens that were found good, remembered until they end or an event says otherwise; and some that never can be good.
//!
//! No good one is remembered while the store cannot tell us about changes: then each decision asks the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use oauth::claims::AccessClaims;
use oauth::{ServiceName, Timestamp};
use quick_cache::sync::Cache;
use store::{Event, EventFeed, Notice};

/// How many tokens are remembered. A decision takes about half a KiB.
const REMEMBERED: usize = 10_000;

/// How many tokens that count for nothing are remembered: who shows an expired or forged token, shows it again. A few dozen
/// bytes each.
const REFUSED: usize = 10_000;

/// The SHA-256 of an access token.
pub(crate) type Fingerprint = [u8; 32];

/// A token that was found good, with what the decision rests on.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) service: ServiceName,
    pub(crate) claims: AccessClaims,
    /// The scopes, ready to be sent.
    pub(crate) scope: String,
    /// The second from which on it must be made anew: the token ends, or something on which it rests.
    pub(crate) holds_until: i64,
}

impl Decision {
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now.as_second() < self.holds_until
    }
}

/// How long a token that is not a good one is refused without another look. No event changes that.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    /// For ever, from this second on, so that a clock which is put back is obeyed.
    From(i64),
    /// While the keys are those of this number, and not after this instant: then it is looked whether there are others.
    OnRing(u64, Instant),
}

/// The bounded memory of decisions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decisions(Arc<Inner>);

struct Inner {
    cache: Cache<Fingerprint, Arc<Decision>>,
    refused: Cache<Fingerprint, Refused>,
    /// Counts the notices. A decision that was begun before a notice must not be remembered after it.
    epoch: AtomicU64,
    /// Whether changes reach us.
    is_informed: AtomicBool,
}

/// The moment at which a decision was begun.
#[derive(Clone, Copy)]
pub(crate) struct Begun(u64);

impl Decisions {
    pub(crate) fn new(is_informed: bool) -> Self {
        Self(Arc::new(Inner {
            cache: Cache::new(REMEMBERED),
            refused: Cache::new(REFUSED),
            epoch: AtomicU64::new(0),
            is_informed: AtomicBool::new(is_informed),
        }))
    }

    /// Follows the feed until it ends. Runs for the life of the service.
    pub(crate) async fn follow(self, mut feed: EventFeed) {
        while let Some(notice) = feed.next().await {
            self.take(&notice);
        }
        self.take(&Notice::Lost);
    }

    /// Forgets what rests on something that this instance has just changed. The feed tells it too, but later than the
    /// answer to whoever asked for the change.
    pub(crate) fn learn(&self, event: Event) {
        self.take(&Notice::Changed(event));
    }

    fn take(&self, notice: &Notice) {
        let inner = &self.0;
        if matches!(notice, Notice::Lost) {
            inner.is_informed.store(false, Ordering::SeqCst);
        }
        inner.epoch.fetch_add(1, Ordering::SeqCst);
        match notice {
            Notice::Changed(Event::SessionChanged(id)) => {
                inner
                    .cache
                    .retain(|_, decision| decision.claims.sid.as_str() != id);
            }
            Notice::Changed(Event::ClientChanged(id)) => {
                inner
                    .cache
                    .retain(|_, decision| decision.claims.client_id.as_str() != id);
            }
            Notice::Changed(Event::PersonChanged(subject)) => {
                inner
                    .cache
                    .retain(|_, decision| decision.claims.sub.as_str() != subject);
            }
            Notice::Changed(Event::KeysChanged | Event::Everything)
            | Notice::Lost
            | Notice::Restored => {
                inner.cache.clear();
            }
        }
        if matches!(notice, Notice::Restored) {
            inner.is_informed.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<Arc<Decision>> {
        if !self.0.is_informed.load(Ordering::SeqCst) {
            return None;
        }
        self.0.cache.get(fingerprint)
    }

    /// Whether it was found that this token is not a good one, at this time and with the keys of this number.
    pub(crate) fn is_refused(&self, fingerprint: &Fingerprint, now: Timestamp, ring: u64) -> bool {
        match self.0.refused.get(fingerprint) {
            None => false,
            Some(Refused::From(from)) => now.as_second() >= from,
            Some(Refused::OnRing(of, until)) => of == ring && Instant::now() < until,
        }
    }

    /// The token is not a good one.
    pub(crate) fn refuse(&self, fingerprint: Fingerprint, refused: Refused) {
        self.0.refused.insert(fingerprint, refused);
    }

    /// How many good ones are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.cache.len()
    }

    pub(crate) fn begin(&self) -> Begun {
        Begun(self.0.epoch.load(Ordering::SeqCst))
    }

    /// Remembers a decision unless anything changed since it was begun. The second look closes the gap between the first
    /// one and the insertion.
    pub(crate) fn remember(&self, fingerprint: Fingerprint, decision: Arc<Decision>, begun: Begun) {
        let is_current = || {
            self.0.is_informed.load(Ordering::SeqCst)
                && self.0.epoch.load(Ordering::SeqCst) == begun.0
        };
        if !is_current() {
            return;
        }
        self.0.cache.insert(fingerprint, decision);
        if !is_current() {
            self.0.cache.remove(&fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_of_an_unknown_key_is_looked_at_again_with_other_keys_and_after_a_while() {
        let (decisions, now) = (Decisions::new(true), Instant::now());
        let (early, late) = ([1; 32], [2; 32]);
        decisions.refuse(early, Refused::OnRing(3, now + Duration::from_secs(3600)));
        decisions.refuse(late, Refused::OnRing(3, now));
        let is_refused = |token, ring| decisions.is_refused(token, Timestamp::UNIX_EPOCH, ring);
        assert!(is_refused(&early, 3));
        assert!(!is_refused(&early, 4), "another ring may have the key");
        assert!(!is_refused(&late, 3), "the store may have another ring");
    }

    #[test]
    fn an_expired_token_is_good_again_on_a_clock_that_was_put_back() {
        let decisions = Decisions::new(true);
        let at = |second| Timestamp::from_second(second).unwrap();
        decisions.refuse([1; 32], Refused::From(100));
        assert!(decisions.is_refused(&[1; 32], at(100), 0));
        assert!(!decisions.is_refused(&[1; 32], at(99), 0));
        assert!(!decisions.is_refused(&[2; 32], at(100), 0));
    }
}
