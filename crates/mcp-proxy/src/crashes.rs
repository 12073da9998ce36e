//! When children end before they have answered anything: how long none is started, and when the service is not well.
//!
//! The first one after such an end waits [`FIRST_WAIT`], the next ones longer, up to [`LONGEST_WAIT`]. After [`CRASHES`] within
//! [`CRASHES_WITHIN`] none is started for [`PAUSE`], and clients are told when to come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// So many children that end before they have answered anything …
const CRASHES: usize = 5;
/// … within this time …
const CRASHES_WITHIN: Duration = Duration::from_secs(60);
/// … are followed by a pause of this length.
pub const PAUSE: Duration = Duration::from_secs(30);
/// So many in a row, and the service is not well until one answers.
const UNWELL: u32 = 3;
/// The wait after the first one; up to double, so that several services do not start in step.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait before it is spread: 8 s at most.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// What is remembered of the children that ended too early.
#[derive(Debug)]
pub struct Crashes {
    /// The last ones.
    recent: VecDeque<Instant>,
    /// How many since one answered.
    in_a_row: u32,
    waits: ExponentialBackoff,
    not_before: Option<Instant>,
    /// How the last one ended.
    how: Arc<str>,
}

impl Default for Crashes {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            in_a_row: 0,
            waits: waits(),
            not_before: None,
            how: Arc::from(""),
        }
    }
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Crashes {
    /// A child ended before it had answered anything. `true`: from now on the service is not well.
    pub fn crashed(&mut self, how: &str, now: Instant) -> bool {
        if self.recent.len() == CRASHES {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.not_before = self.waits.next().map(|wait| now + wait);
        self.how = how.into();
        self.in_a_row == UNWELL
    }

    /// A child answered for the first time.
    pub fn answered(&mut self) {
        self.in_a_row = 0;
        self.waits = waits();
        self.not_before = None;
    }

    /// How long the next child must wait.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.not_before?
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
    }

    /// How long none is started at all.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let loops = self.recent.len() == CRASHES && last.duration_since(*first) < CRASHES_WITHIN;
        loops
            .then(|| (*last + PAUSE).checked_duration_since(now))
            .flatten()
            .filter(|pause| !pause.is_zero())
    }

    /// Why the service is not well, if it is not.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<str>> {
        (self.in_a_row >= UNWELL).then(|| Arc::clone(&self.how))
    }

    /// How the last one ended.
    #[must_use]
    pub fn how(&self) -> Arc<str> {
        Arc::clone(&self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_from_a_quarter_of_a_second_to_eight() {
        let mut crashes = Crashes::default();
        let now = Instant::now();
        assert_eq!(crashes.wait(now), None);
        let mut bound = FIRST_WAIT;
        for _ in 0..12 {
            crashes.crashed("x", now);
            let wait = crashes.wait(now).unwrap();
            assert!(wait >= bound.min(LONGEST_WAIT), "{wait:?}");
            assert!(wait <= (bound * 2).min(8 * SECOND), "{wait:?}");
            bound *= 2;
        }
        assert_eq!(crashes.wait(now + 8 * SECOND), None);
        crashes.answered();
        assert_eq!(crashes.wait(now), None);
        crashes.crashed("x", now);
        assert!(crashes.wait(now).unwrap() <= 2 * FIRST_WAIT);
    }

    #[test]
    fn five_within_a_minute_are_followed_by_a_pause() {
        let mut crashes = Crashes::default();
        let start = Instant::now();
        for second in 0..5 {
            assert_eq!(crashes.pause(start), None);
            crashes.crashed("x", start + second * SECOND);
        }
        let last = start + 4 * SECOND;
        assert_eq!(crashes.pause(last), Some(PAUSE));
        assert_eq!(crashes.pause(last + 29 * SECOND), Some(SECOND));
        assert_eq!(crashes.pause(last + PAUSE), None);
        // One more within the minute, and there is another pause; never more than ten starts in a minute.
        crashes.crashed("x", last + PAUSE);
        assert_eq!(crashes.pause(last + PAUSE), Some(PAUSE));
        crashes.crashed("x", last + 3 * PAUSE);
        assert_eq!(
            crashes.pause(last + 3 * PAUSE),
            None,
            "the first ones are long ago"
        );
    }

    #[test]
    fn three_in_a_row_are_a_problem_until_one_answers() {
        let mut crashes = Crashes::default();
        let now = Instant::now();
        assert!(!crashes.crashed("one", now));
        crashes.answered();
        assert!(!crashes.crashed("two", now));
        assert!(!crashes.crashed("three", now));
        assert_eq!(crashes.problem(), None);
        assert!(crashes.crashed("four", now));
        assert_eq!(crashes.problem().as_deref(), Some("four"));
        assert!(!crashes.crashed("five", now), "told once");
        crashes.answered();
        assert_eq!(crashes.problem(), None);
    }
}
