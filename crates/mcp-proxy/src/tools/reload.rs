//! Rules that are read again while the service runs: when their file has changed, and on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::tools::Rules;

/// How often it is looked whether the file has changed. (The system's notices do not cross the mounts of containers.)
const LOOK: Duration = Duration::from_secs(1);

/// The rules in force; clones share them.
#[derive(Clone, Debug, Default)]
pub struct InForce(Arc<ArcSwap<Rules>>);

impl InForce {
    /// Begins with these.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(rules)))
    }

    /// The rules of this moment.
    #[must_use]
    pub fn now(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.0.load()
    }
}

/// What a file was when it was last read.
type Seen = Option<(SystemTime, u64)>;

fn look(file: Option<&Path>) -> Seen {
    let metadata = file?.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Keeps the rules up to date. Take it before the rules are read first, so that no change between is missed.
#[derive(Debug)]
pub struct Reload {
    file: Option<PathBuf>,
    seen: Seen,
    hangup: Signal,
}

impl Reload {
    /// Watches `file`, if there is one, and SIGHUP. Call inside a runtime.
    pub fn new(file: Option<PathBuf>) -> std::io::Result<Self> {
        Ok(Self {
            seen: look(file.as_deref()),
            file,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reads the rules again with `read` whenever that may bring something new, and calls `changed` when it did. Rules that
    /// cannot be read are logged, and the ones before stay in force.
    pub async fn run(
        mut self,
        rules: InForce,
        read: impl Fn() -> anyhow::Result<Rules>,
        changed: impl Fn(),
        stop: CancellationToken,
    ) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                signal = self.hangup.recv() => signal.is_some(),
                () = stop.cancelled() => return,
            };
            let seen = look(self.file.as_deref());
            if !asked && seen == self.seen {
                continue;
            }
            self.seen = seen;
            match read() {
                Ok(new) if new == **rules.now() => {
                    info!("the rules for tools are as they were");
                }
                Ok(new) => {
                    rules.0.store(Arc::new(new));
                    info!("the rules for tools have changed");
                    changed();
                }
                Err(error) => {
                    warn!(
                        error = format!("{error:#}"),
                        "the rules for tools stay as they were: the new ones cannot be read"
                    );
                }
            }
        }
    }
}
