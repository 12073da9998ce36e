//! What `docs/reference/` is written from.

use chassis::metrics::{Described, Metrics};
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::metrics::{Counted, Replication};

pub use crate::app::reference as settings;

/// The command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Every metric.
#[must_use]
pub fn metrics() -> Vec<Described> {
    let metrics = Metrics::new("mcp-proxy");
    let _ = (Counted::new(&metrics), Replication::new(&metrics));
    metrics.described()
}
