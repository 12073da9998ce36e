//! The answer of another replica on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::warn;

use crate::replicas::{InFlight, Replicas};
use crate::sse;

/// What an answer is to.
pub enum Kind {
    /// A message. It is waited for when this process stops.
    Call(InFlight),
    /// GET or DELETE. A stream ends between two events when this resolves.
    Listener(Pin<Box<WaitForCancellationFutureOwned>>),
}

/// Is this header about one connection only (RFC 9110 section 7.6.1)?
#[must_use]
pub fn is_of_connection(name: &HeaderName) -> bool {
    [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
}

/// The answer as it came, streamed.
#[must_use]
pub fn answer(
    answer: hyper::Response<Incoming>,
    kind: Kind,
    replicas: Arc<Replicas>,
) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value)
            && !is_of_connection(&name)
            && ![CONTENT_LENGTH, DATE].contains(&name)
        {
            response.append_header((name, value));
        }
    }
    let size = body
        .size_hint()
        .exact()
        .map_or(BodySize::Stream, BodySize::Sized);
    response.body(Relay {
        body,
        size,
        kind,
        replicas,
        last: *END_OF_EVENT,
        said_retry: false,
    })
}

/// Two bytes after which an event stream may be ended (WHATWG HTML, section 9.2.6).
const END_OF_EVENT: &[u8; 2] = b"\n\n";

struct Relay {
    body: Incoming,
    size: BodySize,
    kind: Kind,
    replicas: Arc<Replicas>,
    /// The last two bytes that came.
    last: [u8; 2],
    said_retry: bool,
}

impl Relay {
    /// Is this the end of a stream that only listens?
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.kind {
            Kind::Listener(stop) if self.size == BodySize::Stream => {
                self.last == *END_OF_EVENT && stop.as_mut().poll(context).is_ready()
            }
            _ => false,
        }
    }

    fn note(&mut self, data: &[u8]) {
        for byte in data.iter().rev().take(2).rev() {
            self.last = [self.last[1], *byte];
        }
    }
}

impl MessageBody for Relay {
    type Error = hyper::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        let this = self.get_mut();
        if this.said_retry {
            return Poll::Ready(None);
        }
        loop {
            if this.is_over(context) {
                this.said_retry = true;
                return Poll::Ready(Some(Ok(sse::retry())));
            }
            return match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.note(&data);
                        Poll::Ready(Some(Ok(data)))
                    }
                    // Trailers: none of ours has any.
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    warn!(%error, size = ?this.size, "the answer of another replica broke off");
                    this.replicas.counted.broken.inc();
                    // The connection is cut, so that nobody takes what came for the whole.
                    Poll::Ready(Some(Err(error)))
                }
                None => Poll::Ready(None),
            };
        }
    }
}
