//! What `docs/reference/` is written from.

use chassis::metrics::{Described, Metrics};

use crate::counted::Counted;

pub use crate::cli::{command, reference as settings};

/// Every metric.
#[must_use]
pub fn metrics() -> Vec<Described> {
    let metrics = Metrics::new("mcp-auth");
    let _ = Counted::new(&metrics);
    metrics.described()
}
