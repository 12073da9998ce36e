//! Processors that do not sleep.
//!
//! With one call at a time every processor falls asleep several times between a question and its answer. Waking it costs
//! time, in a virtual machine above all, and part of that is counted as processor time of whoever wakes it: client, service
//! or child. A process for each processor that does nothing, below every other (`SCHED_IDLE`, sched(7)), takes this out of
//! what is measured, and takes nothing else away: it gives way at once.

use anyhow::{Context as _, Result};
use testkit::process::{Command, Logs, Process};

/// Ends with whoever started it.
const SPIN: &str = "while kill -0 $PPID 2>/dev/null; do :; done";

/// Until this is dropped no processor sleeps.
#[derive(Debug)]
pub struct Awake {
    _spinning: Vec<Process>,
}

impl Awake {
    /// Starts one process for each processor.
    ///
    /// # Errors
    ///
    /// If there is no `chrt` (of util-linux).
    pub fn start() -> Result<Self> {
        let logs = Logs::default();
        let processors = std::thread::available_parallelism()?.get();
        let spinning = (0..processors).map(|_| {
            let command = Command::new("spin", "chrt").args(["--idle", "0", "sh", "-c", SPIN]);
            command
                .start(&logs)
                .context("to keep processors awake chrt (of util-linux) must be installed")
        });
        Ok(Self {
            _spinning: spinning.collect::<Result<_>>()?,
        })
    }
}
