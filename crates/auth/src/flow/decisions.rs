//! Access tokens that were found good, remembered until they end or an event says otherwise; and some that never can be good.
//!
//! No good one is remembered while the store cannot tell us about changes: then each decision asks the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// The bounded memory of decisions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decisions(Arc<Inner>);

struct Inner {
    cache: Cache<Fingerprint, Arc<Decision>>,
    /// With the second from which on they are refused, so that a clock which is put back is obeyed. No event changes them.
    refused: Cache<Fingerprint, i64>,
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

    /// Whether it was found that this token never is a good one, at this time.
    pub(crate) fn is_refused(&self, fingerprint: &Fingerprint, now: Timestamp) -> bool {
        let from = self.0.refused.get(fingerprint);
        from.is_some_and(|from| now.as_second() >= from)
    }

    /// From this second on the token is not a good one, whatever happens.
    pub(crate) fn refuse(&self, fingerprint: Fingerprint, from: i64) {
        self.0.refused.insert(fingerprint, from);
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
