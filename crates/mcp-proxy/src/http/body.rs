//! Reading a body within bounds, and answering with one.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::error::Refusal;
use crate::http::headers::ACCEL_BUFFERING;
use crate::sse::Events;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body up to this many bytes always has room; a larger one is counted in pieces of this size.
const PIECE: usize = 64 * 1024;
/// So many bodies of the largest size have room at one time.
const LARGEST_AT_ONCE: usize = 8;

/// Room for large bodies, of all clients together: a few of them could send more at one time than there is memory.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// Room for bodies of at most `limit` bytes each.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let pieces = limit.div_ceil(PIECE).saturating_mul(LARGEST_AT_ONCE);
        Self(Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))))
    }
}

/// A body, which takes its room until it is dropped.
#[derive(Debug)]
pub struct Body {
    /// All of it.
    pub bytes: Bytes,
    _taken: Taken,
}

#[derive(Debug)]
struct Taken {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// Takes room for this many bytes in all, if it is more than before.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = if bytes > PIECE {
            bytes.div_ceil(PIECE)
        } else {
            0
        };
        let taken = self
            .permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(wanted.saturating_sub(taken)).unwrap_or(u32::MAX);
        if more > 0 {
            let room = Arc::clone(&self.room.0);
            let more = room
                .try_acquire_many_owned(more)
                .map_err(|_| Refusal::NoRoom)?;
            match &mut self.permit {
                Some(taken) => taken.merge(more),
                none => *none = Some(more),
            }
        }
        Ok(())
    }
}

/// Reads a body of at most `limit` bytes.
pub async fn read(
    headers: &HeaderMap,
    payload: Payload,
    limit: usize,
    room: &Room,
) -> Result<Body, Refusal> {
    tokio::time::timeout(BODY_TIMEOUT, gather(headers, payload, limit, room))
        .await
        .map_err(|_| Refusal::SlowBody)?
}

async fn gather(
    headers: &HeaderMap,
    mut payload: Payload,
    limit: usize,
    room: &Room,
) -> Result<Body, Refusal> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Refusal::TooLarge(limit));
    }
    let mut taken = Taken {
        room: room.clone(),
        permit: None,
    };
    taken.grow(announced.unwrap_or(0))?;
    let Some(first) = payload.next().await else {
        return Ok(Body {
            bytes: Bytes::new(),
            _taken: taken,
        });
    };
    let first = first.map_err(|_| Refusal::BrokenBody)?;
    if announced == Some(first.len()) {
        return Ok(Body {
            bytes: first,
            _taken: taken,
        });
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).max(first.len()));
    body.extend_from_slice(&first);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BrokenBody)?;
        if body.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        taken.grow(body.len() + chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    if body.len() > limit {
        return Err(Refusal::TooLarge(limit));
    }
    Ok(Body {
        bytes: body.freeze(),
        _taken: taken,
    })
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
