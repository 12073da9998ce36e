//! How often something may be done: the rule of rate limits, and counters in this process.
//!
//! The rule is the generic cell rate algorithm (ITU-T I.371): per counter one instant is kept, at which everything that was
//! done is paid off. Doing one thing moves it on by `period / most`; it may be at most one period ahead.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// So many at once, and after that one more each `period / most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    most: NonZeroU32,
    period: Duration,
}

impl Quota {
    /// `most` in each `period`, which is 1 ms to 366 days (shorter and longer ones are cut to that).
    #[must_use]
    pub fn new(most: NonZeroU32, period: Duration) -> Self {
        const LEAST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
        Self {
            most,
            period: period.clamp(LEAST, LONGEST),
        }
    }

    /// The period in microseconds.
    pub(crate) fn period(self) -> i64 {
        i64::try_from(self.period.as_micros()).unwrap_or(i64::MAX / 4)
    }

    /// What one thing costs, in microseconds of the period.
    pub(crate) fn cost(self) -> i64 {
        (self.period() / i64::from(self.most.get())).max(1)
    }
}

/// One thing that was counted. [`Backend::give_back`](crate::Backend::give_back) takes it off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The instant at which time has paid for it, in microseconds.
    paid_at: i64,
}

impl Taken {
    /// What time has not paid for yet, in microseconds. Only that can be given back: the rest would be taken from what was
    /// counted later.
    pub(crate) fn unpaid(self, quota: Quota, now: i64) -> i64 {
        self.paid_at.saturating_sub(now).clamp(0, quota.cost())
    }
}

/// Whether a thing may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is refused must not be done"]
pub enum Admission {
    /// It may, and is counted.
    Granted(Taken),
    /// Not before this time has passed.
    Refused(Duration),
}

impl Admission {
    /// `wait` and `now` in microseconds; what is granted had to wait for less than nothing.
    pub(crate) fn after(wait: i64, quota: Quota, now: i64) -> Self {
        match u64::try_from(wait) {
            Ok(wait @ 1..) => Self::Refused(Duration::from_micros(wait)),
            _ => Self::Granted(Taken {
                paid_at: now.saturating_add(quota.period()).saturating_add(wait),
            }),
        }
    }

    /// Whether it may be done.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

/// The rule: what is kept from now on, and how many microseconds one has to wait. What is further ahead than a period was
/// written under another quota or another clock, and counts as one period.
fn apply(kept: i64, quota: Quota, now: i64) -> (i64, i64) {
    let paid = kept.clamp(now, now.saturating_add(quota.period()));
    let next = paid.saturating_add(quota.cost());
    (next, next - now - quota.period())
}

/// Counters that are kept when the map is full; one takes about 20 bytes. There are two maps of this size.
const GENERATION: usize = 50_000;

/// Counters in this process. They never take more than a few MiB: when there are too many, those that were not used for the
/// longest time are forgotten.
#[derive(Debug)]
pub struct Counters {
    hasher: RandomState,
    kept: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, i64>,
    old: HashMap<u64, i64>,
}

impl Counters {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            kept: Mutex::default(),
        }
    }

    /// Counts one more if it may be done at `now`. Counters are told apart by a keyed hash of their names.
    pub fn admit(&self, counter: &str, quota: Quota, now: Timestamp) -> Admission {
        let key = self.hasher.hash_one(counter);
        let now = now.as_microsecond();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, wait) = apply(kept.get(key).unwrap_or(i64::MIN), quota, now);
        if wait <= 0 {
            kept.put(key, next);
        }
        Admission::after(wait, quota, now)
    }

    /// Takes off again what was counted, as far as time has not paid for it.
    pub fn give_back(&self, counter: &str, taken: Taken, quota: Quota, now: Timestamp) {
        let key = self.hasher.hash_one(counter);
        let unpaid = taken.unpaid(quota, now.as_microsecond());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(paid) = kept.get(key) {
            kept.put(key, paid.saturating_sub(unpaid));
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Generations {
    fn get(&self, key: u64) -> Option<i64> {
        let found = self.young.get(&key).or_else(|| self.old.get(&key));
        found.copied()
    }

    fn put(&mut self, key: u64, next: i64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory_and_spares_who_comes_often() {
        let counters = Counters::new();
        let quota = Quota::new(NonZeroU32::new(10).unwrap(), Duration::from_secs(3600));
        let now = Timestamp::UNIX_EPOCH;
        let mut granted = 0;
        for number in 0..4 * GENERATION {
            let _ = counters.admit(&format!("flood {number}"), quota, now);
            if number % (GENERATION / 2) == 0 && counters.admit("frequent", quota, now).is_granted()
            {
                granted += 1;
            }
        }
        assert_eq!(granted, 8);
        let kept = counters.kept.lock().unwrap();
        assert!(kept.young.len() + kept.old.len() <= 2 * GENERATION);
        assert!(kept.get(counters.hasher.hash_one("frequent")) > Some(0));
    }
}
