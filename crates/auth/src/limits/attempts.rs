//! Limits of what counts only when it fails: guesses.
//!
//! An attempt is counted before it is made, and taken off again when it went well: a burst of guesses finds out no more than
//! one guess after the other. Until those before it have ended nobody knows whether there is room for the next one, so it
//! waits for them, and a client that does many right things at once is not refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oauth::Timestamp;
use store::{Admission, Quota, Taken};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Exceeded, Limit, Limits, Who};

/// How long an attempt waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that may be tried now. Unless it is said that it [succeeded](Self::succeeded), it has failed.
#[must_use = "an attempt that is dropped counts as a failure"]
pub(crate) struct Attempt<'a>(Option<Counted<'a>>);

struct Counted<'a> {
    limits: &'a Limits,
    place: Place<'a>,
    quota: Quota,
    /// What was counted in the store.
    shared: Option<Taken>,
}

impl Limits {
    /// Counts one attempt of `who`, if one more may fail.
    pub(crate) async fn attempt(
        &self,
        limit: Limit,
        who: &Who<'_>,
        now: Timestamp,
    ) -> Result<Attempt<'_>, Exceeded> {
        let Some(quota) = self.quota(limit) else {
            return Ok(Attempt(None));
        };
        let counter = who.counter(limit);
        let mut wait = Duration::ZERO;
        let begun = self.begin(&counter, quota, now, &mut wait);
        match tokio::time::timeout(PATIENCE, begun).await {
            Ok(Some(one)) => Ok(Attempt(Some(one))),
            Ok(None) | Err(_) => Err(self.refuse(limit, who, wait, now)),
        }
    }

    /// `None` when there is no room, and none can become free by what is under way here. `wait` is how long that lasts.
    async fn begin(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
        wait: &mut Duration,
    ) -> Option<Counted<'_>> {
        let admit = || self.here.admit(counter, quota, now);
        let mut place = loop {
            match self.under_way.enter(counter, admit) {
                Ok(place) => break place,
                Err((refused, others)) => {
                    *wait = refused;
                    others?.await;
                }
            }
        };
        let shared = loop {
            // Looked at before the question: one that ends after it is heard of.
            let others = place.others_at_work();
            match self.count_there(counter, quota, now).await {
                Ok(shared) => break shared,
                Err(refused) => {
                    *wait = refused;
                    let Some(others) = others else {
                        self.here.give_back(counter, place.taken, quota, now);
                        return None;
                    };
                    others.await;
                }
            }
        };
        place.begin_work();
        Some(Counted {
            limits: self,
            place,
            quota,
            shared,
        })
    }
}

impl Attempt<'_> {
    /// It went well, and does not count.
    pub(crate) async fn succeeded(self, now: Timestamp) {
        let Self(Some(Counted {
            limits,
            place,
            quota,
            shared,
        })) = self
        else {
            return;
        };
        if let (Some(taken), Some(store)) = (shared, &limits.shared) {
            let given = store
                .backend()
                .give_back(&place.counter, taken, quota, now)
                .await;
            if let Err(error) = given {
                tracing::debug!(%error, "an attempt that went well stays counted");
            }
        }
        limits
            .here
            .give_back(&place.counter, place.taken, quota, now);
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

/// The place of one attempt. It is free again when this is dropped.
struct Place<'a> {
    under_way: &'a UnderWay,
    counter: String,
    taken: Taken,
    is_at_work: bool,
}

impl UnderWay {
    fn groups(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if `admit` counts one more; else how long to wait, and those who may leave room before that. Both are one step, so
    /// that nobody is refused for an attempt that has just ended.
    fn enter(
        &self,
        counter: &str,
        admit: impl Fn() -> Admission,
    ) -> Result<Place<'_>, (Duration, Option<OwnedNotified>)> {
        let mut groups = self.groups();
        match admit() {
            Admission::Granted(taken) => {
                groups.entry(counter.to_owned()).or_default().places += 1;
                Ok(Place {
                    under_way: self,
                    counter: counter.to_owned(),
                    taken,
                    is_at_work: false,
                })
            }
            Admission::Refused(wait) => {
                let others = groups.get(counter);
                let left = others.map(|group| Arc::clone(&group.left).notified_owned());
                Err((wait, left))
            }
        }
    }
}

impl Place<'_> {
    /// The next end of another attempt, if any is at work.
    fn others_at_work(&self) -> Option<OwnedNotified> {
        let groups = self.under_way.groups();
        let group = groups
            .get(&self.counter)
            .filter(|group| group.at_work > 0)?;
        Some(Arc::clone(&group.left).notified_owned())
    }

    fn begin_work(&mut self) {
        self.is_at_work = true;
        if let Some(group) = self.under_way.groups().get_mut(&self.counter) {
            group.at_work += 1;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut groups = self.under_way.groups();
        let Some(group) = groups.get_mut(&self.counter) else {
            return;
        };
        group.places -= 1;
        group.at_work -= usize::from(self.is_at_work);
        group.left.notify_waiters();
        if group.places == 0 {
            groups.remove(&self.counter);
        }
    }
}
