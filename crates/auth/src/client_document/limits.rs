//! How much a stranger can make us fetch.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::DocumentError;

/// Fetches at once.
const AT_ONCE: usize = 4;
/// How long a fetch waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fetches per minute and host.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Most hosts that are counted; each takes some 100 bytes.
const MOST_HOSTS: usize = 10_000;

/// The limits of all fetches.
pub(super) struct Limits {
    turns: Semaphore,
    hosts: DefaultKeyedRateLimiter<String>,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            hosts: RateLimiter::keyed(Quota::per_minute(PER_MINUTE)),
        }
    }

    /// Leave for one fetch from `host`, until it is dropped.
    pub(super) async fn admit(&self, host: &str) -> Result<SemaphorePermit<'_>, DocumentError> {
        if self.hosts.len() >= MOST_HOSTS {
            self.hosts.retain_recent();
        }
        if self.hosts.len() >= MOST_HOSTS || self.hosts.check_key(&host.to_owned()).is_err() {
            return Err(DocumentError::Busy);
        }
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(DocumentError::Busy),
        }
    }
}
