//! What a provider publishes, kept for a while.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use oauth::Timestamp;
use tokio::sync::Mutex as Turn;

use crate::idp::ProviderError;

/// After so many seconds it is asked again.
const FRESH: u64 = 3600;
/// When that fails, the old answer counts for so many seconds from when it came, and is asked for each [`PAUSE`].
const KEPT: u64 = 24 * 3600;
/// Seconds between two questions that were answered with nothing new.
const PAUSE: u64 = 60;
/// Seconds between two questions for something newer: anybody may cause them.
const NEWER_AT_MOST_EVERY: i64 = 10;

/// The latest answer to one question. Whoever comes while it is being asked waits for the same answer.
#[derive(Debug)]
pub(super) struct Cached<T> {
    kept: Mutex<Option<Kept<T>>>,
    turn: Turn<()>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    asked_at: Timestamp,
    fresh_until: Timestamp,
    ends_at: Timestamp,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self {
            kept: Mutex::new(None),
            turn: Turn::new(()),
        }
    }
}

impl<T> Cached<T> {
    /// The answer, at most an hour old; if the question fails, at most a day old.
    pub(super) async fn get<F: Future<Output = Result<T, ProviderError>>>(
        &self,
        now: Timestamp,
        fetch: impl Fn() -> F,
    ) -> Result<Arc<T>, ProviderError> {
        if let Some(fresh) = self.fresh(now) {
            return Ok(fresh);
        }
        let _turn = self.turn.lock().await;
        if let Some(fresh) = self.fresh(now) {
            return Ok(fresh);
        }
        self.ask(now, fetch).await
    }

    /// The answer, if it need not be asked for.
    pub(super) fn fresh(&self, now: Timestamp) -> Option<Arc<T>> {
        self.if_kept(|kept| now < kept.fresh_until)
    }

    /// The answer, asked for now; the one that is kept if it is only seconds old.
    pub(super) async fn get_newer<F: Future<Output = Result<T, ProviderError>>>(
        &self,
        now: Timestamp,
        fetch: impl Fn() -> F,
    ) -> Result<Arc<T>, ProviderError> {
        let _turn = self.turn.lock().await;
        let is_recent =
            |kept: &Kept<T>| now.duration_since(kept.asked_at).as_secs() < NEWER_AT_MOST_EVERY;
        if let Some(recent) = self.if_kept(is_recent) {
            return Ok(recent);
        }
        self.ask(now, fetch).await
    }

    async fn ask<F: Future<Output = Result<T, ProviderError>>>(
        &self,
        now: Timestamp,
        fetch: impl Fn() -> F,
    ) -> Result<Arc<T>, ProviderError> {
        let answer = fetch().await;
        let mut slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(value) => {
                let value = Arc::new(value);
                *slot = Some(Kept {
                    value: Arc::clone(&value),
                    asked_at: now,
                    fresh_until: oauth::after(now, FRESH),
                    ends_at: oauth::after(now, KEPT),
                });
                Ok(value)
            }
            Err(error) => match slot.as_mut().filter(|kept| now < kept.ends_at) {
                Some(kept) => {
                    tracing::warn!(%error, "what the identity provider publishes could not be read again; the old counts on");
                    kept.asked_at = now;
                    kept.fresh_until = oauth::after(now, PAUSE);
                    Ok(Arc::clone(&kept.value))
                }
                None => Err(error),
            },
        }
    }

    fn if_kept(&self, counts: impl Fn(&Kept<T>) -> bool) -> Option<Arc<T>> {
        let slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref()
            .filter(|kept| counts(kept))
            .map(|kept| Arc::clone(&kept.value))
    }
}
