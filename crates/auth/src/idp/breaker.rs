//! Spares people the wait for an identity provider that is known to be away.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ProviderError;

/// So many failures in a row mean that it is away.
const FAILURES: u32 = 5;
/// How long it is then left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest time for which its own word (`Retry-After`) is taken.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// After five failures in a row nobody asks for half a minute; then one may try.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    closed_until: Option<Instant>,
}

impl State {
    fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.closed_until?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

impl Breaker {
    /// How long nobody is let through, if so. Changes nothing.
    pub(crate) fn outage(&self, now: Instant) -> Option<Duration> {
        self.state(|state| state.wait(now))
    }

    /// Puts a question for at most `limit`, or answers at once while the provider is known to be away.
    pub(crate) async fn ask<T>(
        &self,
        limit: Duration,
        question: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if let Err(wait) = self.admit(Instant::now()) {
            let why = format!("it is left alone for {} seconds", wait.as_secs() + 1);
            return Err(ProviderError::unavailable(why));
        }
        let answer = tokio::time::timeout(limit, question)
            .await
            .unwrap_or_else(|_| {
                let why = format!("no answer within {} seconds", limit.as_secs());
                Err(ProviderError::unavailable(why))
            });
        match &answer {
            Err(ProviderError::Unavailable { retry_after, .. }) => {
                self.failed(Instant::now(), *retry_after);
            }
            _ => self.succeeded(),
        }
        answer
    }

    /// Lets one through, or tells how long not. After a pause the first one is the trial: until it is over, others wait.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        self.state(|state| {
            if let Some(wait) = state.wait(now) {
                return Err(wait);
            }
            if state.closed_until.is_some() {
                state.closed_until = Some(now + PAUSE);
            }
            Ok(())
        })
    }

    /// It answered.
    pub(crate) fn succeeded(&self) {
        self.state(|state| *state = State::default());
    }

    /// It did not answer, or said when to come again.
    pub(crate) fn failed(&self, now: Instant, retry_after: Option<Duration>) {
        self.state(|state| {
            state.failures = state.failures.saturating_add(1);
            let pause = match retry_after {
                Some(pause) => Some(pause.min(LONGEST_PAUSE)),
                None => (state.failures >= FAILURES).then_some(PAUSE),
            };
            if let Some(pause) = pause {
                let until = now + pause;
                let later = state.closed_until.is_none_or(|known| known < until);
                if later {
                    state.closed_until = Some(until);
                }
            }
        });
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_failures_in_a_row_close_it_and_one_trial_opens_it() {
        let (breaker, begun) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            assert_eq!(breaker.admit(begun), Ok(()));
            breaker.failed(begun, None);
        }
        breaker.succeeded();
        for _ in 0..5 {
            assert_eq!(breaker.admit(begun), Ok(()));
            breaker.failed(begun, None);
        }
        assert_eq!(breaker.admit(begun), Err(seconds(30)));
        assert_eq!(breaker.outage(begun + seconds(20)), Some(seconds(10)));
        let later = begun + seconds(30);
        assert_eq!(breaker.outage(later), None);
        assert_eq!(breaker.admit(later), Ok(()), "the trial");
        assert_eq!(breaker.admit(later), Err(seconds(30)), "only one");
        breaker.failed(later, None);
        assert_eq!(breaker.admit(later + seconds(29)), Err(seconds(1)));
        let again = later + seconds(30);
        assert_eq!(breaker.admit(again), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(again), Ok(()));
        assert_eq!(breaker.admit(again), Ok(()));
    }

    #[test]
    fn its_own_word_counts_at_once_but_not_for_ever() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, Some(seconds(60)));
        assert_eq!(breaker.admit(now), Err(seconds(60)));
        breaker.failed(now, Some(seconds(10)));
        assert_eq!(breaker.admit(now), Err(seconds(60)), "the later end counts");
        let other = Breaker::default();
        other.failed(now, Some(seconds(1_000_000)));
        assert_eq!(other.outage(now), Some(LONGEST_PAUSE));
    }
}
