//! The removal of what has expired. It counts for nothing any more, and would only take room.

use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use oauth::{Clock, Timestamp};
use store::Store;

use crate::counted::Counted;

/// How often expired records are removed, by the clock of the service.
const EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether that time has passed: after a machine has slept its timers are late, its clock is not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many are removed at once.
const BITE: usize = 1000;

/// Removes what has expired, in small bites, until the service stops.
pub(crate) async fn follow(
    store: Store,
    clock: Arc<dyn Clock>,
    counted: Counted,
    shutdown: Shutdown,
) {
    let mut last = clock.now();
    loop {
        tokio::select! {
            () = shutdown.soft().cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = clock.now();
        // Put back or forward, a clock that jumps is no reason to wait.
        if now.duration_since(last).unsigned_abs() < EVERY {
            continue;
        }
        last = now;
        sweep(&store, now, &counted, &shutdown).await;
    }
}

/// As many bites as there are: a store must not grow because more ends in a minute than one bite takes.
async fn sweep(store: &Store, now: Timestamp, counted: &Counted, shutdown: &Shutdown) {
    while !shutdown.soft().is_cancelled() {
        match store.backend().sweep(now, BITE).await {
            Ok(0) => return,
            Ok(removed) => counted.swept(removed),
            Err(error) => {
                tracing::warn!(%error, "expired records could not be removed");
                return;
            }
        }
    }
}
