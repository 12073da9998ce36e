//! Reading a body within bounds, and answering with one.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::http::error::Refusal;
use crate::http::headers::ACCEL_BUFFERING;
use crate::sse::Events;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most `limit` bytes.
pub async fn read(headers: &HeaderMap, payload: Payload, limit: usize) -> Result<Bytes, Refusal> {
    tokio::time::timeout(BODY_TIMEOUT, gather(headers, payload, limit))
        .await
        .map_err(|_| Refusal::SlowBody)?
}

async fn gather(headers: &HeaderMap, mut payload: Payload, limit: usize) -> Result<Bytes, Refusal> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Refusal::TooLarge(limit));
    }
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| Refusal::BrokenBody)?;
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).max(first.len()));
    body.extend_from_slice(&first);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BrokenBody)?;
        if body.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    if body.len() > limit {
        return Err(Refusal::TooLarge(limit));
    }
    Ok(body.freeze())
}

/// An event stream.
#[must_use]
pub fn event_stream(events: Events, session_id: Option<&str>) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::OK);
    response
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((ACCEL_BUFFERING, "no"));
    if let Some(id) = session_id {
        response.insert_header((crate::http::headers::SESSION_ID, id));
    }
    response.body(events)
}
