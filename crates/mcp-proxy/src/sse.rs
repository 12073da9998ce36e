//! Server-sent events: their text, and the bounded queue between a session and one slow or fast reader.
//!
//! Format: WHATWG HTML, section 9.2 (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::{Instant, Sleep};

/// The reconnection time told to clients, in milliseconds.
pub const RETRY_MILLIS: u32 = 1000;

/// One event with a JSON-RPC message. `id` is left out for streams that cannot be resumed.
#[must_use]
pub fn event(id: Option<&str>, message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 48);
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    // A carriage return ends a line here; in JSON it can only be white space between tokens.
    let start = out.len();
    out.extend_from_slice(message);
    if let Some(data) = out.get_mut(start..)
        && memchr::memchr2(b'\r', b'\n', data).is_some()
    {
        for byte in data.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')) {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The first event of a resumable stream: an id to resume from, no data, and the time to wait before reconnecting.
/// (MCP 2025-11-25, streamable HTTP, "Sending Messages to the Server", 6.)
#[must_use]
pub fn priming(id: &str) -> Bytes {
    format!("id: {id}\nretry: {RETRY_MILLIS}\ndata: \n\n").into()
}

/// What is said before the server closes a stream that the client may open again.
#[must_use]
pub fn retry() -> Bytes {
    format!("retry: {RETRY_MILLIS}\n\n").into()
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Bytes>,
    bytes: usize,
    /// No more will come: what is queued is still delivered.
    closed: bool,
    /// The reader is gone.
    abandoned: bool,
    waker: Option<Waker>,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing panics while it holds this lock, and a queue is whole between any two statements.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing end of one HTTP answer. Dropping it ends the answer after what is queued.
#[derive(Debug)]
pub struct Outlet {
    queue: Arc<Mutex<Queue>>,
    limit: usize,
}

/// The reading end: the body of one `text/event-stream` answer.
pub struct Events {
    queue: Arc<Mutex<Queue>>,
    keep_alive: Duration,
    timer: Pin<Box<Sleep>>,
    /// When the stream is ended in any case.
    end: Option<Instant>,
    /// Runs when the answer is over or its reader is gone.
    on_end: Option<Box<dyn FnOnce() + Send>>,
}

/// Why nothing could be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The reader went away.
    Gone,
    /// The reader is too slow.
    Slow,
}

/// A stream that holds at most `limit` bytes for its reader; one message always fits an empty queue.
#[must_use]
pub fn channel(limit: usize) -> (Outlet, Inlet) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (
        Outlet {
            queue: Arc::clone(&queue),
            limit,
        },
        Inlet { queue: Some(queue) },
    )
}

/// The reading end on its way to the task that will serve it: becomes [`Events`] there, because timers belong to a runtime.
#[derive(Debug)]
pub struct Inlet {
    queue: Option<Arc<Mutex<Queue>>>,
}

impl Inlet {
    /// The body of the answer. A silent stream gets a comment every `keep_alive`, so that nothing in between takes it for
    /// dead.
    #[must_use]
    pub fn into_events(mut self, keep_alive: Duration) -> Events {
        Events {
            keep_alive,
            queue: self.queue.take().unwrap_or_default(),
            timer: Box::pin(tokio::time::sleep(keep_alive)),
            end: None,
            on_end: None,
        }
    }
}

#[cfg(test)]
impl Inlet {
    /// Takes what waits for the reader.
    pub(crate) fn take_all(&self) -> Vec<Bytes> {
        let queue = self.queue.as_ref();
        queue.map_or_else(Vec::new, |queue| {
            let mut queue = lock(queue);
            queue.bytes = 0;
            queue.items.drain(..).collect()
        })
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            lock(queue).abandoned = true;
        }
    }
}

impl Outlet {
    /// Queues one chunk. After an error the stream is over: its reader gets what was queued before.
    pub fn send(&self, chunk: Bytes) -> Result<(), Lost> {
        let waker = {
            let mut queue = lock(&self.queue);
            if queue.abandoned {
                return Err(Lost::Gone);
            }
            if !queue.items.is_empty() && queue.bytes + chunk.len() > self.limit {
                return Err(Lost::Slow);
            }
            queue.bytes += chunk.len();
            queue.items.push_back(chunk);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Has the reader gone away?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        lock(&self.queue).abandoned
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.closed = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Events {
    /// Ends the stream between two events once it is this old, or a keep-alive later: who may read is asked
    /// again when the client comes back.
    #[must_use]
    pub fn with_life(mut self, life: Duration) -> Self {
        self.end = Some(Instant::now() + life);
        self
    }

    /// Runs `action` when the answer is over or its reader is gone.
    #[must_use]
    pub fn on_end(mut self, action: impl FnOnce() + Send + 'static) -> Self {
        self.on_end = Some(Box::new(action));
        self
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.queue);
            queue.abandoned = true;
            queue.items.clear();
            queue.bytes = 0;
        }
        if let Some(action) = self.on_end.take() {
            action();
        }
    }
}

impl MessageBody for Events {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.end.is_some_and(|end| Instant::now() >= end) {
            return Poll::Ready(None);
        }
        let next = {
            let mut queue = lock(&this.queue);
            match queue.items.pop_front() {
                Some(chunk) => {
                    queue.bytes -= chunk.len();
                    Some(Some(chunk))
                }
                None if queue.closed => Some(None),
                None => {
                    queue.waker = Some(context.waker().clone());
                    None
                }
            }
        };
        match next {
            Some(chunk) => {
                this.timer.as_mut().reset(Instant::now() + this.keep_alive);
                Poll::Ready(chunk.map(Ok))
            }
            None => match this.timer.as_mut().poll(context) {
                Poll::Ready(()) => {
                    this.timer.as_mut().reset(Instant::now() + this.keep_alive);
                    Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n"))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data() {
        assert_eq!(
            event(Some("3-1"), b"{\"a\":\r1}"),
            "id: 3-1\ndata: {\"a\": 1}\n\n"
        );
        assert_eq!(event(None, b"{}"), "data: {}\n\n");
    }

    #[test]
    fn a_slow_reader_is_told_apart_from_a_lost_one() {
        let (outlet, inlet) = channel(10);
        assert_eq!(
            outlet.send(Bytes::from_static(&[b'x'; 100])),
            Ok(()),
            "one message always fits"
        );
        assert_eq!(outlet.send(Bytes::from_static(b"y")), Err(Lost::Slow));
        drop(inlet);
        assert_eq!(outlet.send(Bytes::from_static(b"y")), Err(Lost::Gone));
    }
}
