//! What documents said, for as long as HTTP lets it be kept, within bounds; and one fetch per URL at a time.

use oauth::{ClientId, Timestamp};
use quick_cache::sync::{EntryAction, EntryResult, PlaceholderGuard};

use super::{DocumentError, Outcome};

/// How many outcomes are remembered. One takes about 5 KiB at most.
const REMEMBERED: usize = 1000;
/// A document is kept at least so long, in seconds: a sign-in takes that.
const LEAST: u64 = 60;
/// And at most so long: a change of redirect URIs counts within a day.
const MOST: u64 = 24 * 60 * 60;
/// How long a document is kept that says nothing about it.
const UNSAID: u64 = 300;
/// How long a failure is remembered.
const FAILURE: u64 = 30;

#[derive(Clone)]
struct Entry {
    outcome: Outcome,
    until: Timestamp,
}

type Entries = quick_cache::sync::Cache<ClientId, Entry>;
type Guard<'a> = PlaceholderGuard<
    'a,
    ClientId,
    Entry,
    quick_cache::UnitWeighter,
    quick_cache::DefaultHashBuilder,
    quick_cache::sync::DefaultLifecycle<ClientId, Entry>,
>;

/// The outcomes by client identifier.
pub(super) struct Cache(Entries);

/// What is known about a client.
pub(super) enum Place<'a> {
    /// This, still fresh.
    Known(Outcome),
    /// Nothing. Others who ask for the same client wait until the vacancy is filled or dropped.
    Unknown(Vacancy<'a>),
}

/// The right to find out about one client.
pub(super) struct Vacancy<'a>(Guard<'a>);

impl Cache {
    pub(super) fn new() -> Self {
        Self(Entries::new(REMEMBERED))
    }

    /// Whether there is a fresh outcome.
    pub(super) fn knows(&self, id: &ClientId, now: Timestamp) -> bool {
        self.0.peek(id).is_some_and(|entry| now < entry.until)
    }

    pub(super) async fn place(&self, id: &ClientId, now: Timestamp) -> Place<'_> {
        let entry = self
            .0
            .entry_async(id, |_, entry| {
                if now < entry.until {
                    EntryAction::Retain(entry.outcome.clone())
                } else {
                    EntryAction::ReplaceWithGuard
                }
            })
            .await;
        match entry {
            EntryResult::Retained(outcome) => Place::Known(outcome),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                Place::Unknown(Vacancy(guard))
            }
            // Neither happens: nothing is removed above, and waiting has no limit.
            EntryResult::Removed(..) | EntryResult::Timeout => {
                Place::Known(Err(DocumentError::Busy))
            }
        }
    }
}

impl Vacancy<'_> {
    /// `fresh_for`: what HTTP says about a document, in seconds.
    pub(super) fn fill(self, outcome: Outcome, fresh_for: Option<u64>, now: Timestamp) {
        let seconds = match &outcome {
            Ok(_) => fresh_for.unwrap_or(UNSAID).clamp(LEAST, MOST),
            Err(_) => FAILURE,
        };
        let until = oauth::after(now, seconds);
        // The place is gone only if it was evicted meanwhile; then nothing is remembered.
        let _ = self.0.insert(Entry { outcome, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_most_a_thousand_outcomes_are_remembered() {
        let cache = Cache::new();
        for number in 0..3000 {
            let id = ClientId::parse(&format!("https://h{number}.example/c")).unwrap();
            let Place::Unknown(vacancy) = cache.place(&id, Timestamp::UNIX_EPOCH).await else {
                panic!("{id} is new");
            };
            vacancy.fill(Err(DocumentError::Unavailable), None, Timestamp::UNIX_EPOCH);
            assert!(cache.0.len() <= REMEMBERED, "{}", cache.0.len());
        }
        assert!(cache.0.len() > REMEMBERED / 2);
    }
}
