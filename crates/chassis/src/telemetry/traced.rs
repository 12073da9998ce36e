//! What a server needs to know of an exporter of traces, so that it knows nothing of OpenTelemetry.

use std::fmt;
use std::sync::Arc;

use tracing::Span;
use tracing_subscriber::{Layer, Registry};

/// The target of spans that are made for the exporter alone: at the level `trace`, so that the log never has them.
pub const TRACED: &str = "traced";

/// Takes spans besides the log.
pub type ExportedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Follows the requests of a server. See [`Traced`].
pub trait TraceExporter: Send + Sync {
    /// A request came with these headers (W3C Trace Context), and its span is not entered yet. Returns the id of the trace.
    fn begin(&self, span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> String;

    /// The head of the answer is ready. `route` is the pattern, never the path.
    fn end(&self, span: &Span, method: &str, route: &str, status: u16);
}

/// Application data of a server whose requests are traced: [`request_logger`](super::request_logger) then makes a span for each,
/// also on [quiet paths](super::QuietPaths).
#[derive(Clone)]
pub struct Traced(pub Arc<dyn TraceExporter>);

impl Traced {
    /// Whether spans of this target are for the exporter.
    #[must_use]
    pub fn is_exported(target: &str) -> bool {
        target == TRACED || target == "http"
    }
}

impl fmt::Debug for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traced").finish_non_exhaustive()
    }
}
