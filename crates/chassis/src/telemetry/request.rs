use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest};
use tracing::{Level, Span};
use tracing_actix_web::{RequestId, RootSpanBuilder, TracingLogger};

use super::{TRACED, Traced, untrusted};
use crate::peer::TrustedProxies;

/// The header in which a proxy in front may name a request.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// A longer request id is not taken over.
const LONGEST_REQUEST_ID: usize = 128;

/// Paths that are asked so often that their lines would drown the others: what they answer below 500 is logged at `debug`, and
/// not even formatted unless `LOG_LEVEL` asks for it. Give it to `App::app_data`.
#[derive(Clone, Copy, Debug)]
pub struct QuietPaths(pub &'static [&'static str]);

/// The middleware that opens a span for each request and logs one line when the head of the answer is ready.
///
/// The line has the target `http` and the fields `method`, `route` (the pattern, never the path), `status`, `duration_ms`; its span
/// has `request_id`. Neither has the query, `Authorization` or cookies.
#[must_use]
pub fn request_logger() -> TracingLogger<RequestSpan> {
    TracingLogger::new()
}

/// The id of a request: `X-Request-ID` if a [trusted proxy](TrustedProxies) sent exactly one and it is at most 128 visible ASCII
/// characters, else one of our own.
/// Empty only where [`request_logger`] is not in use.
#[must_use]
pub fn request_id(request: &HttpRequest) -> String {
    let mut given = request.headers().get_all(REQUEST_ID_HEADER);
    if let (Some(id), None) = (given.next(), given.next())
        && TrustedProxies::sent(request)
        && let Ok(id) = id.to_str()
        && is_request_id(id)
    {
        return id.to_owned();
    }
    request
        .extensions()
        .get::<RequestId>()
        .map_or_else(String::new, ToString::to_string)
}

/// May this text name a request? At most 128 visible ASCII characters.
#[must_use]
pub fn is_request_id(id: &str) -> bool {
    (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The middleware that puts the id of the request into the answer, so that a person can name it. It goes inside of
/// [`request_logger`]; what a [quiet path](QuietPaths) answers well is left alone.
pub async fn name_answer<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    let is_quiet = response.status().is_success() && is_quiet(response.request());
    if !is_quiet && let Ok(id) = HeaderValue::from_str(&request_id(response.request())) {
        let name = HeaderName::from_static(REQUEST_ID_HEADER);
        response.headers_mut().insert(name, id);
    }
    Ok(response)
}

/// What [`request_logger`] writes.
#[derive(Debug)]
pub struct RequestSpan;

/// When a request came in.
#[derive(Clone, Copy)]
struct Started(Instant);

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        request.extensions_mut().insert(Started(Instant::now()));
        let is_quiet = is_quiet(request.request());
        // Before the question below: where layers have filters of their own, its answer would count for the next span too.
        if let Some(traced) = request.app_data::<Traced>() {
            return traced_span(traced, request.request(), is_quiet);
        }
        if is_quiet && !tracing::enabled!(target: "http", Level::DEBUG) {
            return Span::none();
        }
        tracing::info_span!(
            target: "http",
            "request",
            request_id = %request_id(request.request()),
            method = %untrusted(request.method().as_str()),
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let response = match outcome {
            Ok(response) => response,
            // Only a middleware that fails ends here; handlers' errors have become responses.
            Err(error) => {
                let status = error.as_response_error().status_code();
                span.in_scope(
                    || tracing::warn!(target: "http", status = status.as_u16(), "request failed"),
                );
                return;
            }
        };
        let (request, status) = (response.request(), response.status());
        if let Some(Traced(exporter)) = request.app_data() {
            exporter.end(&span, method(request), &route(request), status.as_u16());
        }
        if status.is_server_error() {
            if is_unlogged(&span, request) {
                tracing::warn!(
                    target: "http",
                    request_id = %request_id(request),
                    method = %untrusted(request.method().as_str()),
                    route = route(request),
                    status = status.as_u16(),
                    duration_ms = duration_ms(request),
                    "request failed"
                );
            } else {
                tracing::warn!(
                    target: "http",
                    parent: &span,
                    route = route(request),
                    status = status.as_u16(),
                    duration_ms = duration_ms(request),
                    "request failed"
                );
            }
        } else if is_quiet(request) && is_unlogged(&span, request) {
            tracing::debug!(
                target: "http",
                request_id = %request_id(request),
                method = %untrusted(request.method().as_str()),
                route = route(request),
                status = status.as_u16(),
                duration_ms = duration_ms(request),
                "request"
            );
        } else if is_quiet(request) {
            tracing::debug!(
                target: "http",
                parent: &span,
                route = route(request),
                status = status.as_u16(),
                duration_ms = duration_ms(request),
                "request"
            );
        } else {
            log_answer(&span, request, status);
        }
    }
}

/// Whether the log may not have this span, so that it cannot name the request there: nobody has it, or the exporter perhaps
/// alone.
fn is_unlogged(span: &Span, request: &HttpRequest) -> bool {
    span.is_disabled() || request.app_data::<Traced>().is_some()
}

/// The span of a request that is exported. The log has it too, unless the path is `quiet`.
fn traced_span(traced: &Traced, request: &HttpRequest, quiet: bool) -> Span {
    let name = format!("{} {}", method(request), route(request));
    let span = if quiet {
        tracing::trace_span!(target: TRACED, "request", otel.name = name, otel.kind = "server", request_id = %request_id(request))
    } else {
        tracing::info_span!(
            target: "http",
            "request",
            otel.name = name,
            otel.kind = "server",
            request_id = %request_id(request),
            method = %untrusted(request.method().as_str()),
            trace_id = tracing::field::Empty,
        )
    };
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let id = traced
        .0
        .begin(&span, header("traceparent"), header("tracestate"));
    if !quiet {
        span.record("trace_id", id);
    }
    span
}

/// The method, if it is one that this service may know; a client can invent any.
fn method(request: &HttpRequest) -> &str {
    match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => known,
        _ => "_OTHER",
    }
}

fn log_answer(span: &Span, request: &HttpRequest, status: StatusCode) {
    tracing::info!(
        target: "http",
        parent: span,
        route = route(request),
        status = status.as_u16(),
        duration_ms = duration_ms(request),
        "request"
    );
}

fn is_quiet(request: &HttpRequest) -> bool {
    request
        .app_data::<QuietPaths>()
        .is_some_and(|quiet| quiet.0.contains(&request.path()))
}

/// The pattern of the route, never the path: a path may hold an id or a secret, and it may be anything.
fn route(request: &HttpRequest) -> String {
    request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".to_owned())
}

/// Milliseconds from the request's arrival until now, with microseconds behind the point.
fn duration_ms(request: &HttpRequest) -> Option<f64> {
    let started = *request.extensions().get::<Started>()?;
    Some((started.0.elapsed().as_secs_f64() * 1e6).round() / 1e3)
}
