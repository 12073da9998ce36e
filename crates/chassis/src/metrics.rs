//! Metrics of a service in the text format of Prometheus.
//!
//! The registry is a value, not a global, so that two apps in one test process count apart. Labels come from closed sets:
//! never a person, a client, a path or anything else that somebody outside can choose.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::build_info;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one service; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    registry: Registry,
    described: Vec<Described>,
}

/// A metric in words.
#[derive(Clone, Debug)]
pub struct Described {
    /// As a query names it, without labels.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// One sentence.
    pub help: String,
}

/// What every service has, from the kernel.
const PROCESS: [(&str, &str); 2] = [
    ("process_resident_memory_bytes", "Memory in use"),
    ("process_open_fds", "Open file descriptors"),
];

impl Metrics {
    /// A registry with what every service has: which build it is, its memory and its open files.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        let metrics = Self(Arc::default());
        let build = Info::new(vec![
            ("service", service),
            ("version", build_info::VERSION),
            ("commit", build_info::COMMIT.unwrap_or("unknown")),
        ]);
        metrics.register("build", "Which build this is", build);
        metrics
            .lock()
            .registry
            .register_collector(Box::new(Process));
        metrics
    }

    /// Adds a metric. `name` has no `_total` at its end: counters get that by themselves.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        let (suffix, kind) = match metric.metric_type() {
            MetricType::Counter => ("_total", "counter"),
            MetricType::Histogram => ("", "histogram"),
            MetricType::Info => ("_info", "info"),
            _ => ("", "gauge"),
        };
        let mut registered = self.lock();
        registered.described.push(Described {
            name: format!("{name}{suffix}"),
            kind,
            help: help.to_owned(),
        });
        registered.registry.register(name, help, metric);
    }

    /// Every metric that there is, also while it has no value yet.
    #[must_use]
    pub fn described(&self) -> Vec<Described> {
        let mut described = self.lock().described.clone();
        described.extend(PROCESS.map(|(name, help)| Described {
            name: name.to_owned(),
            kind: "gauge",
            help: help.to_owned(),
        }));
        described
    }

    /// Everything as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.lock().registry);
        text
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the kernel says about this process. Absent where there is no `/proc`.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut gauge = |name, help, value: Option<i64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
                gauge.encode(metric)
            }
            None => Ok(()),
        };
        let [memory, files] = PROCESS;
        gauge(memory.0, memory.1, resident_bytes())?;
        gauge(files.0, files.1, open_files())
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_files() -> Option<i64> {
    i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_registered_is_in_the_text() {
        let metrics = Metrics::new("test");
        let requests = Counter::<u64>::default();
        metrics.register("verify_requests", "Requests to /verify", requests.clone());
        requests.inc_by(3);
        let text = metrics.encode();
        assert!(text.contains("verify_requests_total 3\n"), "{text}");
        assert!(text.contains("build_info{service=\"test\""), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_measured() {
        let text = Metrics::new("test").encode();
        let memory: i64 = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
            .unwrap()
            .parse()
            .unwrap();
        assert!(memory > 100_000, "{memory}");
        assert!(text.contains("process_open_fds "), "{text}");
    }
}
