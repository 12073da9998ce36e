//! One session of an older revision (2024-11-05 to 2025-11-25): one client, one child.
//!
//! There is no task between a POST and the child: the handler registers its call under a lock and writes to the pipe
//! itself; the child's reader takes the same lock, finds the call and wakes the handler.
//!
//! Where a message of the child goes:
//!
//! 1. a response: to the call it answers;
//! 2. `notifications/progress`: to the call whose progress token it names;
//! 3. `notifications/cancelled`: to the stream on which the request it cancels was sent;
//! 4. what belongs to no call by its nature (lists and resources that changed, states of tasks): to the stream opened by
//!    GET, or kept for it;
//! 5. everything else, requests and logs above all, names no call on stdio: to the most recent call in flight whose
//!    client reads event streams, else to the stream opened by GET.
//!
//! A closed connection is not a cancellation in these revisions: the call goes on and its stream can be resumed.

mod ending;
mod inward;
mod outward;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::calls::{Patience, Reply};
use crate::identity::Owner;
use crate::jsonrpc::Message;
use crate::metrics::Calls;
use crate::replay::{EventId, STANDALONE};
use crate::sessions::SessionId;
use crate::sse::Inlet;
use crate::stdin::{SendError, Stdin};
use crate::streams::Streams;
use crate::tools::reload::InForce;
use crate::trunk::Trunk;
use crate::version::Version;

use state::State;

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight.
    pub in_flight: usize,
    /// How long calls may take.
    pub patience: Patience,
    /// How long the answer to a ping may take.
    pub ping: Duration,
    /// Bytes of events remembered for resumption.
    pub replay_bytes: usize,
    /// Bytes that may wait for one reader of an event stream.
    pub reader_bytes: usize,
    /// Life without a POST.
    pub idle: Duration,
    /// Time without a POST after which it may be ended for a new one of the same person.
    pub left_alone: Duration,
    /// Life in all, once no call is in flight.
    pub life: Duration,
}

/// Why a session takes no message.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too many calls in flight.
    #[error("too many requests are in flight in this session")]
    Busy,
    /// The child has ended.
    #[error("{0}")]
    Ended(Arc<str>),
    /// The child does not read.
    #[error(transparent)]
    Input(#[from] SendError),
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its name towards the client.
    pub id: SessionId,
    /// Who opened it.
    pub owner: Option<Owner>,
    /// Its name in the log.
    pub span: tracing::Span,
    child: Child,
    limits: Limits,
    /// What became of calls is counted here.
    calls: Calls,
    tools: InForce,
    opened: Instant,
    state: Mutex<State>,
}

/// The child of a session.
#[derive(Debug)]
pub enum Child {
    /// Its own.
    Own {
        /// The way in.
        stdin: Arc<Stdin>,
        /// Ends the child when cancelled.
        stop: CancellationToken,
    },
    /// One that it shares.
    Shared {
        /// The child.
        trunk: Arc<Trunk>,
        /// The number before the first of its own.
        first: u64,
    },
}

impl Child {
    fn stdin(&self) -> &Arc<Stdin> {
        match self {
            Self::Own { stdin, .. } => stdin,
            Self::Shared { trunk, .. } => &trunk.stdin,
        }
    }
}

/// A POST whose requests have gone to the child.
#[derive(Debug)]
pub struct Pending {
    /// What comes back first.
    pub reply: oneshot::Receiver<Reply>,
    /// For [`Session::begin_stream`].
    pub exchange: u64,
}

impl Session {
    /// A session around a child.
    #[must_use]
    pub fn new(
        id: SessionId,
        owner: Option<Owner>,
        span: tracing::Span,
        child: Child,
        limits: Limits,
        calls: Calls,
        tools: InForce,
    ) -> Self {
        let mut state = State::new(Streams::new(limits.replay_bytes, limits.reader_bytes));
        if let Child::Shared { first, .. } = &child {
            state.last_number = *first;
        }
        Self {
            id,
            owner,
            span,
            child,
            limits,
            calls,
            tools,
            opened: Instant::now(),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision the child negotiated; `None` before its answer to `initialize`.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.lock().version
    }

    /// Has it no revision yet, although it is this old?
    #[must_use]
    pub fn is_unopened(&self, now: Instant, limit: Duration) -> bool {
        self.version().is_none() && now.duration_since(self.opened) >= limit
    }

    /// Makes a POST that has waited long into an event stream, so that it can be kept alive and resumed.
    pub fn begin_stream(&self, exchange: u64) {
        self.lock().begin_stream(exchange);
    }

    /// Opens the standalone stream, or goes on with one stream after an event; `None` when there is no such event.
    pub fn listen(&self, last: Option<EventId>) -> Option<Inlet> {
        let mut state = self.lock();
        match last {
            None => Some(state.streams.listen()),
            Some(last) => state.streams.resume(last),
        }
    }

    /// Takes the child's answer to another session's `initialize` for its own.
    pub fn negotiated(&self, answer: &Message<'_>) {
        self.lock().negotiated(answer);
    }

    /// Has the child asked this session something under this id?
    #[must_use]
    pub fn is_asked(&self, id: &serde_json::value::RawValue) -> bool {
        self.lock().asked.contains_key(id.get())
    }

    /// Does it share this child?
    #[must_use]
    pub fn is_of(&self, other: &Trunk) -> bool {
        match &self.child {
            Child::Own { .. } => false,
            Child::Shared { trunk, .. } => std::ptr::eq(&raw const **trunk, other),
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.child, Child::Shared { .. })
    }

    /// Says something of our own that belongs to no call.
    pub fn announce(&self, message: &[u8]) {
        let mut state = self.lock();
        if state.version.is_some() {
            state.streams.emit(STANDALONE, message);
        }
    }

    /// Ends the standalone stream: the service is about to stop.
    pub fn drain(&self) {
        self.lock().streams.end_standalone();
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().calls.len()
    }

    /// How long nobody has posted anything; `None` while calls are in flight.
    #[must_use]
    pub fn unused(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        state
            .calls
            .is_empty()
            .then(|| now.duration_since(state.last_post))
    }

    /// Has it been unused too long, or lived too long?
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.unused(now).is_some_and(|unused| {
            unused >= self.limits.idle || now.duration_since(self.opened) >= self.limits.life
        })
    }
}
