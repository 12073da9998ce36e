//! The clock of this machine beside those of the store.
//!
//! What is stored ends at an instant, and each instance compares it with its own clock. So instances whose clocks differ
//! disagree about what has ended. The servers of the store have clocks too, and all instances see the same ones.

use std::sync::Arc;
use std::time::Duration;

use chassis::health::Latch;
use oauth::{Clock, Timestamp};
use store::{Store, StoreClock};

use crate::counted::Counted;

/// How often it is looked, in seconds of the clock that is looked at: one that jumps by so much is looked at at once.
const EVERY_SECONDS: i64 = 300;
/// How often it is found out whether that time is over.
const TICK: Duration = Duration::from_secs(1);
/// A difference that operators should know of, in seconds.
const WORTH_A_WARNING: f64 = 5.0;
/// A difference with which the service takes no work, in seconds: as much as tokens are given.
const TOO_MUCH: f64 = 30.0;

/// Looks at the clocks, and says what is wrong with them.
pub(crate) struct ClockCheck {
    store: Store,
    clock: Arc<dyn Clock>,
    latch: Latch,
    counted: Counted,
    /// When it was looked last and there was an answer.
    looked: Option<Timestamp>,
}

impl ClockCheck {
    /// The check, after its first look.
    pub(crate) async fn begin(
        store: Store,
        clock: Arc<dyn Clock>,
        latch: Latch,
        counted: Counted,
    ) -> Self {
        let mut check = Self {
            store,
            clock,
            latch,
            counted,
            looked: None,
        };
        // A store that cannot be asked is not ready by itself.
        check.latch.ready();
        check.look().await;
        check
    }

    /// Looks again and again, for as long as it is polled.
    pub(crate) async fn follow(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.clock.now().as_second();
            let is_due = self.looked.is_none_or(|looked| {
                now.abs_diff(looked.as_second()) >= EVERY_SECONDS.unsigned_abs()
            });
            if is_due {
                self.look().await;
            }
        }
    }

    async fn look(&mut self) {
        let asked = self.clock.now();
        let Ok(clocks) = self.store.backend().clocks().await else {
            return;
        };
        let answered = self.clock.now();
        self.looked = Some(answered);
        let Some((of, offset)) = furthest(&clocks, asked, answered) else {
            return;
        };
        self.counted.clock_offset.set(offset);
        let away = offset.abs();
        let direction = if offset > 0.0 { "ahead of" } else { "behind" };
        let problem = format!(
            "the clock of this machine is {away:.1} s {direction} that of Redis at {of}: set both by NTP"
        );
        if away > WORTH_A_WARNING {
            tracing::warn!("{problem}");
        }
        if away > TOO_MUCH {
            self.latch.not_ready(problem);
        } else {
            self.latch.ready();
        }
    }
}

/// The server whose clock differs most, and by how many seconds this machine is ahead of it. What lies within the time that
/// the question took is no difference.
fn furthest(clocks: &[StoreClock], asked: Timestamp, answered: Timestamp) -> Option<(&str, f64)> {
    let seconds = |instant: Timestamp| instant.as_duration().as_secs_f64();
    clocks
        .iter()
        .filter_map(|clock| {
            let there = seconds(clock.time?);
            let offset = if there < seconds(asked) {
                seconds(asked) - there
            } else {
                (seconds(answered) - there).min(0.0)
            };
            Some((clock.of.as_str(), offset))
        })
        .max_by(|(_, one), (_, other)| one.abs().total_cmp(&other.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn server(of: &str, milliseconds: Option<i64>) -> StoreClock {
        StoreClock {
            of: of.to_owned(),
            time: milliseconds.map(at),
        }
    }

    #[test]
    fn the_time_that_a_question_takes_is_no_difference() {
        for (there, expected) in [(-6000, 6.0), (0, 0.0), (400, 0.0), (500, 0.0), (5500, -5.0)] {
            let clocks = [server("a", Some(there))];
            let (_, offset) = furthest(&clocks, at(0), at(500)).unwrap();
            assert!((offset - expected).abs() < 0.001, "{there}: {offset}");
        }
    }

    #[test]
    fn the_worst_of_several_counts_and_one_that_does_not_tell_does_not() {
        let clocks = [
            server("a", Some(2000)),
            server("b", None),
            server("c", Some(-7000)),
        ];
        let (of, offset) = furthest(&clocks, at(0), at(0)).unwrap();
        assert_eq!(of, "c");
        assert!((offset - 7.0).abs() < 0.001, "{offset}");
        assert_eq!(furthest(&clocks[1..2], at(0), at(0)), None);
    }
}
