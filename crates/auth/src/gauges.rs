//! The gauges of the metrics.

use std::sync::Arc;
use std::time::Duration;

use oauth::Clock;
use oauth::key_ring::KeyState;
use tokio::sync::watch;

use crate::counted::Counted;
use crate::disk::Disk;
use crate::flow::decisions::Decisions;
use crate::keys::Keys;

/// How often they are set.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Sets the gauges for as long as it is polled, and tells when there is little room on the disk.
pub(crate) async fn show(
    keys: Arc<Keys>,
    decisions: Decisions,
    connected: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    counted: Counted,
    disk: Option<Disk>,
) {
    let mut was_low = false;
    let mut ticks = tokio::time::interval(SHOW_EVERY);
    loop {
        ticks.tick().await;
        let remembered = i64::try_from(decisions.len()).unwrap_or(i64::MAX);
        counted.decisions.set(remembered);
        counted.events_arrive.set(i64::from(*connected.borrow()));
        if let Some(disk) = &disk {
            let free = disk.free().unwrap_or_default();
            counted
                .disk_free
                .set(i64::try_from(free).unwrap_or(i64::MAX));
            let complaint = disk.complaint();
            let is_low = complaint.is_err();
            counted.disk_low.set(i64::from(is_low));
            if let Err(complaint) = complaint
                && !was_low
            {
                tracing::warn!("{complaint}");
            }
            was_low = is_low;
        }
        let infos = keys.infos();
        counted
            .keys
            .set(i64::try_from(infos.len()).unwrap_or(i64::MAX));
        let current = infos.iter().find(|info| info.state == KeyState::Current);
        if let Some(info) = current {
            let age = clock.now().as_second() - info.key.signs_from.as_second();
            counted.key_age.set(age.max(0));
        }
    }
}
