//! What a POST waits for: from the moment its request goes to the child until its answer is complete.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::field::{DisplayValue, display};

use crate::jsonrpc::{Edit, Message, splice};
use crate::request_id::RequestId;
use crate::sse::Inlet;

/// Which kinds of answer the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub sse: bool,
}

/// What a waiting POST gets first.
#[derive(Debug)]
pub enum Reply {
    /// The whole answer.
    Json(Vec<u8>),
    /// A stream that begins with something else.
    Stream(Inlet),
    /// No answer: every call was cancelled by the client.
    Nothing,
}

/// One request inside the child.
#[derive(Debug)]
pub struct Call {
    /// The POST it came with.
    pub exchange: u64,
    /// The client's id, as it was written.
    pub client_id: Box<str>,
    /// The client's progress token, as it was written.
    pub token: Option<Box<str>>,
    /// The HTTP request it came with, for the log.
    pub request_id: Option<RequestId>,
    /// When it is given up, unless progress is made.
    pub deadline: Instant,
    /// When it is given up in any case.
    pub last_deadline: Instant,
}

/// What the log says of a call whose time is over.
pub const GIVEN_UP: &str = "the MCP server did not answer in time: the request is given up";
/// What the log says of a call whose child ended first.
pub const LOST: &str = "a request is lost with its MCP server process";

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Without an answer or progress.
    pub silent: Duration,
    /// In all.
    pub total: Duration,
}

impl Call {
    /// A call that begins now.
    #[must_use]
    pub fn new(exchange: u64, message: &Message<'_>, patience: Patience, now: Instant) -> Self {
        Self {
            exchange,
            client_id: message.id.map(|id| id.get().into()).unwrap_or_default(),
            token: message
                .params
                .meta
                .progress_token
                .map(|token| token.get().into()),
            request_id: message.came_with.cloned(),
            deadline: now + patience.silent,
            last_deadline: now + patience.total,
        }
    }

    /// The id of its HTTP request, as the log shows it.
    #[must_use]
    pub fn shown(&self) -> Option<DisplayValue<&RequestId>> {
        self.request_id.as_ref().map(display)
    }

    /// Progress was made.
    pub fn progressed(&mut self, patience: Patience, now: Instant) {
        self.deadline = (now + patience.silent).min(self.last_deadline);
    }
}

/// The line that brings a request to the child: its id and progress token become our number, so that what one child is
/// asked is told apart whoever asks.
#[must_use]
pub fn inward(message: &Message<'_>, number: u64) -> Vec<u8> {
    let number = number.to_string();
    match (message.id, message.params.meta.progress_token) {
        (Some(id), Some(token)) => {
            let mut edits: [Edit<'_>; 2] = [
                (message.range(id), &number),
                (message.range(token), &number),
            ];
            splice(message.text, &mut edits)
        }
        (Some(id), None) => splice(message.text, &mut [(message.range(id), &number)]),
        (None, _) => splice(message.text, &mut []),
    }
}

/// The line that tells a child to give up one of our requests.
#[must_use]
pub fn cancellation(number: u64, reason: &str) -> Vec<u8> {
    serde_json::json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": { "requestId": number, "reason": reason },
    })
    .to_string()
    .into_bytes()
}

/// The way back to a waiting POST.
pub type ReplySender = oneshot::Sender<Reply>;
