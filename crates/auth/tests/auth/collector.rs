//! A strict fake of an OpenTelemetry collector: OTLP/HTTP with protobuf (OpenTelemetry Protocol 1.x, "OTLP/HTTP").

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use testkit::wait::{PATIENCE, until};

/// A span as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 2 is a server's, 3 a client's.
    pub(crate) kind: i32,
    /// 2 is an error.
    pub(crate) status: i32,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) events: usize,
    /// `service.name` of whoever sent it.
    pub(crate) service: String,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    bytes: Vec<u8>,
}

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into()).unwrap()
    }

    pub(crate) fn at(address: SocketAddr) -> std::io::Result<Self> {
        let received = Arc::new(Mutex::new(Received::default()));
        let data = Data::from(Arc::clone(&received));
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(4 * 1024 * 1024))
                .route("/v1/traces", web::post().to(take))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)?;
        tokio::spawn(server.run());
        Ok(Self { address, received })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().spans.clone()
    }

    /// Everything that was sent, as it was on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().bytes.clone()
    }

    /// Waits for a span of this name in this trace.
    pub(crate) async fn span(&self, trace: &str, name: &str) -> Span {
        let what = format!("a span {name} in {trace}");
        let found = until(&what, PATIENCE, async || {
            let spans = self.spans();
            let mut spans = spans.into_iter();
            spans.find(|span| span.trace == trace && span.name == name)
        });
        found
            .await
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.spans()))
    }
}

async fn take(request: HttpRequest, body: Bytes, received: Data<Mutex<Received>>) -> HttpResponse {
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_none_or(|value| value != "application/x-protobuf") {
        return HttpResponse::UnsupportedMediaType().finish();
    }
    let Ok(export) = ExportTraceServiceRequest::decode(body.clone()) else {
        return HttpResponse::BadRequest().finish();
    };
    let mut received = received.lock().unwrap();
    received.bytes.extend_from_slice(&body);
    for group in export.resource_spans {
        let resource = group.resource.unwrap_or_default();
        let service = attributes(&resource.attributes)
            .remove("service.name")
            .unwrap_or_default();
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.spans.extend(spans.map(|span| {
            assert!(
                span.end_time_unix_nano >= span.start_time_unix_nano,
                "{span:?}"
            );
            Span {
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                name: span.name,
                kind: span.kind,
                status: span.status.unwrap_or_default().code,
                events: span.events.len(),
                service: service.clone(),
            }
        }));
    }
    HttpResponse::Ok()
        .content_type("application/x-protobuf")
        .body(ExportTraceServiceResponse::default().encode_to_vec())
}

fn attributes(pairs: &[KeyValue]) -> HashMap<String, String> {
    let text = |pair: &KeyValue| {
        let value = pair.value.as_ref().and_then(|value| value.value.clone());
        match value {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        }
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
