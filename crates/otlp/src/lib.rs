#![doc = include_str!("../README.md")]

mod client;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::build_info;
use chassis::config::Environment;
use chassis::telemetry::{ExportedLayer, TraceExporter, Traced};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

use crate::client::Client;

/// How long the end of the process waits for the last spans to be sent.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a collector is named.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Why no traces can be sent; one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable has a value that cannot be used.
    #[error(
        "the traces cannot be exported: {0}. Set OTEL_EXPORTER_OTLP_ENDPOINT to a URL such as http://collector:4318, or do not set it"
    )]
    Exporter(#[from] ExporterBuildError),
    /// The certificates of the system cannot be read.
    #[error("the traces cannot be exported: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends the spans of this process to a collector.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Traces for the collector that the environment names; `None` if it names none, or if `OTEL_SDK_DISABLED` is `true`.
    /// `service` is the name if there is no `OTEL_SERVICE_NAME`. Requests are sent on `runtime`.
    ///
    /// The SDK reads what else there is from the environment of the process (OpenTelemetry specification, "Environment Variable Specification"):
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_SCHEDULE_DELAY` and the like.
    ///
    /// # Errors
    ///
    /// If a variable has a value that cannot be used.
    pub fn from_environment(
        service: &'static str,
        environment: &Environment,
        runtime: &Handle,
    ) -> Result<Option<Self>, Error> {
        let is_named = ENDPOINTS.iter().any(|name| environment.get(name).is_some());
        let disabled = environment.get("OTEL_SDK_DISABLED");
        if !is_named || disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(runtime)?)
            .build()?;
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", build_info::VERSION));
        if environment.get("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self(provider)))
    }

    /// For [`chassis::telemetry::init`]: takes the spans of requests and of what they wait for, and no event.
    #[must_use]
    pub fn layer(&self) -> ExportedLayer {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("mcp-gateway"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() && Traced::is_exported(metadata.target())
            }))
            .boxed()
    }

    /// For the application data of a server: continues the traces of the proxy in front.
    #[must_use]
    pub fn traced(&self) -> Traced {
        Traced(Arc::new(Requests))
    }

    /// Sends what is left, for two seconds at most. The runtime must still run.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_WORDS) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

struct Requests;

impl TraceExporter for Requests {
    fn begin(&self, span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> String {
        let carrier: HashMap<String, String> =
            [("traceparent", traceparent), ("tracestate", tracestate)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        // It fails only for a span that was entered already.
        let _ = span.set_parent(parent);
        span.context().span().span_context().trace_id().to_string()
    }

    fn end(&self, span: &Span, method: &str, route: &str, status: u16) {
        span.set_attribute("http.request.method", method.to_owned());
        span.set_attribute("http.route", route.to_owned());
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }
}
