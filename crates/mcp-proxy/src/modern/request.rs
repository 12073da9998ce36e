//! One modern request inside a child, and the POST that waits for it.

use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::calls::{Accepts, Call, Reply, ReplySender};
use crate::sse::{self, Outlet};

/// Whoever serves the request of a waiting POST.
pub trait Serving: Debug + Send + Sync {
    /// Makes the waiting answer a stream.
    fn begin_stream(&self, number: u64);
    /// The client is gone: nobody wants the answer any more.
    fn cancel(&self, number: u64);
}

/// A request in flight. Dropping it before [`InFlight::hand_over`] cancels the request.
#[derive(Debug)]
pub struct InFlight {
    owner: Arc<dyn Serving>,
    number: u64,
    /// What comes back first.
    pub reply: oneshot::Receiver<Reply>,
}

impl InFlight {
    /// A request that `owner` knows under `number`.
    #[must_use]
    pub fn new(owner: Arc<dyn Serving>, number: u64, reply: oneshot::Receiver<Reply>) -> Self {
        Self {
            owner,
            number,
            reply,
        }
    }

    /// What to do when the client closes the stream; from now on that cancels the request.
    pub fn hand_over(self) -> impl FnOnce() + Send + 'static {
        move || drop(self)
    }

    /// Makes the waiting answer a stream, so that it can be kept alive.
    pub fn begin_stream(&self) {
        self.owner.begin_stream(self.number);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.owner.cancel(self.number);
    }
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    pub(super) accepts: Accepts,
    /// It asked for logs.
    pub(super) logs: bool,
    /// Is it told that the list of tools has changed?
    pub(super) of_tools: OfTools,
    /// It is `subscriptions/listen`, which is answered when it ends, if ever.
    pub(super) listens: bool,
    pub(super) answer: Answer,
}

/// What a request to listen hears of changes of the tools: nothing before the acknowledgement, and then what that promised
/// (MCP 2026-07-28, subscriptions, "Acknowledgment").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfTools {
    Unwanted,
    Wanted,
    Promised,
}

#[derive(Debug)]
pub(super) enum Answer {
    Waiting(ReplySender),
    Streaming(Outlet),
}

impl Request {
    pub(super) fn begin_stream(&mut self, limit: usize) {
        if let Answer::Waiting(_) = self.answer {
            let (outlet, inlet) = sse::channel(limit);
            let before = std::mem::replace(&mut self.answer, Answer::Streaming(outlet));
            if let Answer::Waiting(reply) = before {
                // If nobody waits any more, the request is about to be cancelled.
                let _ = reply.send(Reply::Stream(inlet));
            }
        }
    }

    /// Sends something before the answer; `false` when the reader is lost.
    pub(super) fn emit(&mut self, message: &[u8], limit: usize) -> bool {
        if !self.accepts.sse {
            return true;
        }
        self.begin_stream(limit);
        match &self.answer {
            Answer::Streaming(outlet) => outlet.send(sse::event(None, message)).is_ok(),
            Answer::Waiting(_) => true,
        }
    }

    pub(super) fn finish(mut self, answer: Vec<u8>, limit: usize) {
        if !self.accepts.json {
            self.begin_stream(limit);
        }
        match self.answer {
            Answer::Waiting(reply) => drop(reply.send(Reply::Json(answer))),
            Answer::Streaming(outlet) => drop(outlet.send(sse::event(None, &answer))),
        }
    }
}
