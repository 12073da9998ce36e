//! Limits of what counts only when it fails: guesses.
//!
//! An attempt is counted before it is made, and taken off again when it went well: a burst of guesses finds out no more than
//! one guess after the other. Until those before it have ended nobody knows whether there is room for the next one, so it
//! waits for them, and a client that does many right things at once is not refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oauth::Clock;
use store::{Admission, Quota, Taken};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Exceeded, Limit, Limits, Who};

#[cfg(test)]
mod tests;

/// How long an attempt waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that may be tried now. Unless it is said that it [succeeded](Self::succeeded), it has failed.
#[must_use = "an attempt that is dropped counts as a failure"]
pub(crate) struct Attempt<'a>(Option<Begun<'a>>);

struct Begun<'a> {
    place: Place<'a>,
    /// What was counted in the store.
    shared: Option<Taken>,
}

impl Limits {
    /// Counts one attempt of `who`, if one more may fail.
    pub(crate) async fn attempt<'a>(
        &'a self,
        limit: Limit,
        who: &Who<'_>,
        clock: &'a dyn Clock,
    ) -> Result<Attempt<'a>, Exceeded> {
        let Some(quota) = self.quota(limit) else {
            return Ok(Attempt(None));
        };
        let counter = Counter {
            limits: self,
            clock,
            name: who.counter(limit),
            quota,
        };
        let mut wait = Duration::ZERO;
        match tokio::time::timeout(PATIENCE, begin(counter, &mut wait)).await {
            Ok(Some(begun)) => Ok(Attempt(Some(begun))),
            Ok(None) | Err(_) => Err(self.refuse(limit, who, wait, clock.now())),
        }
    }
}

/// `None` when there is no room, and none can become free by what is under way here. `wait` is how long that lasts.
async fn begin<'a>(counter: Counter<'a>, wait: &mut Duration) -> Option<Begun<'a>> {
    let taken = loop {
        match counter.enter() {
            Ok(taken) => break taken,
            Err((refused, others)) => {
                *wait = refused;
                others?.await;
            }
        }
    };
    let mut place = Place {
        counter,
        taken,
        is_at_work: false,
    };
    let shared = loop {
        // Looked at before the question: one that ends after it is heard of.
        let others = place.others_at_work();
        match place.counter.count_there().await {
            Ok(shared) => break shared,
            Err(refused) => {
                *wait = refused;
                others?.await;
            }
        }
    };
    place.begin_work();
    Some(Begun { place, shared })
}

impl Attempt<'_> {
    /// It went well, and does not count.
    pub(crate) async fn succeeded(self) {
        let Self(Some(Begun { place, shared })) = self else {
            return;
        };
        if let Some(taken) = shared {
            place.counter.give_back_there(taken).await;
        }
        place.counter.give_back(place.taken);
    }
}

/// A counter, and the clock by which it counts.
struct Counter<'a> {
    limits: &'a Limits,
    clock: &'a dyn Clock,
    name: String,
    quota: Quota,
}

impl Counter<'_> {
    /// Counts one more in this process, which has a place then; else how long to wait, and those who may leave room before
    /// that. Both are one step, so that nobody is refused for an attempt that has just ended.
    fn enter(&self) -> Result<Taken, (Duration, Option<OwnedNotified>)> {
        let mut groups = self.limits.under_way.groups();
        let now = self.clock.now();
        match self.limits.here.admit(&self.name, self.quota, now) {
            Admission::Granted(taken) => {
                groups.entry(self.name.clone()).or_default().places += 1;
                Ok(taken)
            }
            Admission::Refused(wait) => {
                let others = groups.get(&self.name);
                let left = others.map(|group| Arc::clone(&group.left).notified_owned());
                Err((wait, left))
            }
        }
    }

    /// Takes off again what was counted in this process.
    fn give_back(&self, taken: Taken) {
        let now = self.clock.now();
        self.limits
            .here
            .give_back(&self.name, taken, self.quota, now);
    }

    /// As [`Limits::count_there`].
    async fn count_there(&self) -> Result<Option<Taken>, Duration> {
        let now = self.clock.now();
        self.limits.count_there(&self.name, self.quota, now).await
    }

    /// Takes off again what was counted in the store.
    async fn give_back_there(&self, taken: Taken) {
        let Some(store) = &self.limits.shared else {
            return;
        };
        let now = self.clock.now();
        let given = store
            .backend()
            .give_back(&self.name, taken, self.quota, now)
            .await;
        if let Err(error) = given {
            tracing::debug!(%error, "an attempt that went well stays counted");
        }
    }
}

/// The attempts that have a place in their counter now: no more than requests are under way.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashMap<String, Group>>);

/// The attempts of one counter.
#[derive(Default)]
struct Group {
    places: usize,
    /// Those of them that are not still waiting for the store's word.
    at_work: usize,
    /// Somebody has left.
    left: Arc<Notify>,
}

impl UnderWay {
    fn groups(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one attempt. It is free again when this is dropped; and if nothing was tried until then (the store said no, or
/// whoever asked did not wait for its word), nothing stays counted in this process.
struct Place<'a> {
    counter: Counter<'a>,
    taken: Taken,
    is_at_work: bool,
}

impl Place<'_> {
    fn groups(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.counter.limits.under_way.groups()
    }

    /// The next end of another attempt, if any is at work.
    fn others_at_work(&self) -> Option<OwnedNotified> {
        let groups = self.groups();
        let group = groups
            .get(&self.counter.name)
            .filter(|group| group.at_work > 0)?;
        Some(Arc::clone(&group.left).notified_owned())
    }

    fn begin_work(&mut self) {
        self.is_at_work = true;
        if let Some(group) = self.groups().get_mut(&self.counter.name) {
            group.at_work += 1;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Before it leaves: those who wait for that look whether there is room.
        if !self.is_at_work {
            self.counter.give_back(self.taken);
        }
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&self.counter.name) else {
            return;
        };
        group.places -= 1;
        group.at_work -= usize::from(self.is_at_work);
        group.left.notify_waiters();
        if group.places == 0 {
            groups.remove(&self.counter.name);
        }
    }
}
