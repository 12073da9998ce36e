//! Logs: JSON lines or readable text on stdout, one line per request, nothing secret and nothing forged in either.

mod level;
mod request;
mod traced;
mod untrusted;

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::config::{ConfigError, Setting};

pub use request::{
    QuietPaths, REQUEST_ID_HEADER, RequestSpan, is_request_id, name_answer, request_id,
    request_logger,
};
pub use traced::{ExportedLayer, TRACED, TraceExporter, Traced};
pub use untrusted::{Untrusted, untrusted};

/// The variable `LOG_LEVEL`; belongs in the table of a binary whose configuration has a `log: LogConfig`.
pub const LOG_LEVEL: Setting = Setting::text(
    "LOG_LEVEL",
    "log.level",
    "How much is logged: error, warn, info, debug or trace.",
)
.how("Use one of error, warn, info, debug, trace, or a list such as \"info,mcp_proxy=debug\".");

/// The variable `LOG_FORMAT`; belongs beside [`LOG_LEVEL`].
pub const LOG_FORMAT: Setting = Setting::text(
    "LOG_FORMAT",
    "log.format",
    "The form of a log line: json, pretty, or auto (pretty on a terminal, else json).",
);

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level, or a list of `target=level` as `tracing_subscriber::EnvFilter` reads it.
    ///
    /// `debug` and `trace` alone mean our own crates: libraries print headers and bodies there.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

/// Sends the log of this process to stdout, and its spans to `exporter` if there is one. A second call changes nothing: the
/// first one holds for the life of the process.
pub fn init(log: &LogConfig, exporter: Option<ExportedLayer>) -> Result<(), ConfigError> {
    let stdout = std::io::stdout;
    let on_terminal = stdout().is_terminal();
    let subscriber = subscriber(log, on_terminal, stdout, exporter)?;
    // Fails only if a subscriber is there already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// The same with a writer of the caller's choice. Colours are used only `on_terminal`.
pub fn subscriber<W>(
    log: &LogConfig,
    on_terminal: bool,
    writer: W,
    exporter: Option<ExportedLayer>,
) -> Result<Box<dyn Subscriber + Send + Sync>, ConfigError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = level::filter(&log.level)?;
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !on_terminal,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(on_terminal);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        let lines = lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false);
        lines.boxed()
    } else {
        lines.boxed()
    };
    Ok(match exporter {
        // What is exported does not depend on what is logged.
        Some(exporter) => {
            let layers = vec![exporter, lines.with_filter(filter).boxed()];
            Box::new(tracing_subscriber::registry().with(layers))
        }
        // A filter before everything else costs less than one for each layer.
        None => Box::new(tracing_subscriber::registry().with(lines).with(filter)),
    })
}

#[cfg(test)]
mod tests;
