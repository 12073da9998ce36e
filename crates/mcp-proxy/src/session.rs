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

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::calls::{Accepts, Call, Patience, Reply, cancellation, inward};
use crate::child::{Ended, Listener};
use crate::doubt::UNREADABLE;
use crate::identity::Owner;
use crate::jsonrpc::{Kind, Message, code, error_response, is_batch, parse_batch, splice};
use crate::metrics::Calls;
use crate::replay::{EventId, STANDALONE};
use crate::sessions::SessionId;
use crate::sse::Inlet;
use crate::stdin::{SendError, Stdin};
use crate::streams::Streams;
use crate::trunk::Trunk;
use crate::version::Version;

use state::{Answer, Exchange, State};

/// Requests of the child that the client has not answered yet.
const MAX_ASKED: usize = 1000;
/// Progress tokens remembered after their call was answered (tasks go on reporting).
const MAX_LATE_TOKENS: usize = 64;

/// Notifications that belong to no call by their nature.
const UNRELATED: [&str; 7] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "notifications/elicitation/complete",
];

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight.
    pub in_flight: usize,
    /// How long calls may take.
    pub patience: Patience,
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

    /// Sends a request to the child.
    pub fn request(&self, message: &Message<'_>, accepts: Accepts) -> Result<Pending, Refused> {
        self.exchange(std::slice::from_ref(message), accepts, None)
    }

    /// Sends the members of a batch to the child (MCP 2025-03-26). `answered`: answers of ours to other members, which go
    /// with the child's. `None`: there was no request among them.
    pub fn batch(
        &self,
        messages: &[Message<'_>],
        accepts: Accepts,
        answered: Vec<Vec<u8>>,
    ) -> Result<Option<Pending>, Refused> {
        let (requests, others): (Vec<_>, Vec<_>) = messages
            .iter()
            .partition(|message| message.kind == Kind::Request);
        for message in others {
            self.tell(message)?;
        }
        if requests.is_empty() {
            return Ok(None);
        }
        let requests: Vec<Message<'_>> = requests
            .into_iter()
            .filter_map(|message| Message::parse(message.text).ok())
            .collect();
        self.exchange(&requests, accepts, Some(answered)).map(Some)
    }

    fn exchange(
        &self,
        messages: &[Message<'_>],
        accepts: Accepts,
        batch: Option<Vec<Vec<u8>>>,
    ) -> Result<Pending, Refused> {
        let (sender, reply) = oneshot::channel();
        let (batch, answered) = (batch.is_some(), batch.unwrap_or_default());
        let mut number = 0;
        self.child.stdin().send_with(|| {
            let now = Instant::now();
            let mut state = self.lock();
            let state = &mut *state;
            state.last_post = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
            if state.calls.len() + messages.len() > self.limits.in_flight {
                return Err(Refused::Busy);
            }
            number = state.last_number + 1;
            let mut lines = Vec::new();
            for message in messages {
                state.last_number += 1;
                let call = Call::new(number, message, self.limits.patience, now);
                state.calls.insert(state.last_number, call);
                let line = inward(message, state.last_number);
                if lines.is_empty() {
                    lines = line;
                } else {
                    lines.push(b'\n');
                    lines.extend_from_slice(&line);
                }
            }
            let answer = Answer::Waiting(sender, answered);
            state.exchanges.insert(
                number,
                Exchange {
                    accepts,
                    batch,
                    remaining: messages.len(),
                    answer,
                },
            );
            if !accepts.json {
                state.begin_stream(number);
            }
            Ok(lines)
        })?;
        Ok(Pending {
            reply,
            exchange: number,
        })
    }

    /// Passes on a notification or a response of the client.
    pub fn tell(&self, message: &Message<'_>) -> Result<(), Refused> {
        let now = Instant::now();
        {
            let mut state = self.lock();
            state.last_post = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
        }
        match message.kind {
            // A shared child has been told once.
            Kind::Notification
                if self.is_shared() && message.method == "notifications/initialized" =>
            {
                Ok(())
            }
            Kind::Notification if message.method == "notifications/cancelled" => {
                self.cancel(message)
            }
            Kind::Notification => Ok(self.child.stdin().send(inward(message, 0))?),
            Kind::Response => {
                let known = message
                    .id
                    .is_some_and(|id| self.lock().asked.remove(id.get()).is_some());
                if known {
                    self.child.stdin().send(splice(message.text, &mut []))?;
                } else {
                    debug!(parent: &self.span, "dropped a response to nothing that was asked");
                }
                Ok(())
            }
            Kind::Request => Ok(()),
        }
    }

    /// Passes a cancellation on, and lets go who waits: the child is not to answer any more.
    fn cancel(&self, message: &Message<'_>) -> Result<(), Refused> {
        let Some(id) = message.params.request_id else {
            return Ok(());
        };
        let number = {
            let mut state = self.lock();
            let state = &mut *state;
            let cancelled = state
                .calls
                .iter()
                .filter(|(_, call)| &*call.client_id == id.get());
            let Some(number) = cancelled.map(|(number, _)| *number).max() else {
                return Ok(());
            };
            if let Some(call) = state.calls.remove(&number) {
                state.deliver(call.exchange, None);
                self.calls.cancelled.inc();
            }
            number.to_string()
        };
        let line = splice(message.text, &mut [(message.range(id), &number)]);
        Ok(self.child.stdin().send(line)?)
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

    /// Ends the session and the child that is its own: who waits is answered at once.
    pub fn close(&self, why: &str) {
        let open = self.fail(why);
        match &self.child {
            Child::Own { stop, .. } => stop.cancel(),
            Child::Shared { trunk, first } => {
                trunk.leave(*first);
                for number in open {
                    // A child that takes no more lines will not miss this one.
                    let _ = trunk
                        .stdin
                        .send(cancellation(number, "the session has ended"));
                }
            }
        }
    }

    /// Ends the child although others may share it: it is of no use any more.
    pub fn end_child(&self) {
        match &self.child {
            Child::Own { stop, .. } => stop.cancel(),
            Child::Shared { trunk, .. } => trunk.stop.cancel(),
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

    /// Gives up calls that took too long. `true`: the child answers nothing any more.
    #[must_use]
    pub fn give_up(&self, now: Instant) -> bool {
        let mut cancelled = Vec::new();
        let mut hung = false;
        {
            let mut state = self.lock();
            let state = &mut *state;
            let overdue = state.calls.iter().filter(|(_, call)| call.deadline <= now);
            cancelled.extend(overdue.map(|(number, _)| *number));
            for number in &cancelled {
                if let Some(call) = state.calls.remove(number) {
                    hung |= state.doubt.gave_up();
                    self.calls.timed_out.inc();
                    let text = "the MCP server did not answer in time";
                    let answer = error_response(Some(&call.client_id), code::TIMEOUT, text, None);
                    state.deliver(call.exchange, Some(answer));
                }
            }
        }
        for number in cancelled {
            warn!(parent: &self.span, "the MCP server did not answer in time: the request is given up");
            // A child that takes no more lines will not miss this one.
            let _ = self
                .child
                .stdin()
                .send(cancellation(number, "the request took too long"));
        }
        hung
    }

    /// A line of the child was too long or no text.
    pub fn unreadable(&self) {
        if self.lock().doubt.was_unreadable() {
            warn!(parent: &self.span, "{UNREADABLE}");
            self.close(UNREADABLE);
        }
    }

    /// Ends the session without its child. Answers the numbers of the calls that were in flight.
    pub fn fail(&self, why: &str) -> Vec<u64> {
        let mut state = self.lock();
        let state = &mut *state;
        if state.ended.is_some() {
            return Vec::new();
        }
        state.ended = Some(why.into());
        let open = state.calls.keys().copied().collect();
        for (_, call) in std::mem::take(&mut state.calls) {
            let error = error_response(Some(&call.client_id), code::INTERNAL_ERROR, why, None);
            state.deliver(call.exchange, Some(error));
            self.calls.lost.inc();
        }
        state.streams.clear();
        state.asked.clear();
        open
    }

    /// A response of the child.
    fn answer(&self, message: &Message<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        state.doubt.spoke();
        let call = message
            .id
            .and_then(|id| Some((id, id.get().parse::<u64>().ok()?)))
            .and_then(|(id, number)| Some((id, number, state.calls.remove(&number)?)));
        let Some((id, number, call)) = call else {
            debug!(parent: &self.span, "dropped a response of the MCP server to nothing that is in flight");
            return;
        };
        if message.failed {
            self.calls.failed.inc();
        } else {
            self.calls.answered.inc();
        }
        if state.version.is_none() {
            state.negotiated(message);
        }
        if let Some(token) = call.token {
            if state.late_tokens.len() == MAX_LATE_TOKENS {
                state.late_tokens.pop_front();
            }
            state.late_tokens.push_back((number, token));
        }
        let answer = splice(message.text, &mut [(message.range(id), &call.client_id)]);
        state.deliver(call.exchange, Some(answer));
    }

    /// A request or notification of the child.
    fn push(&self, message: &Message<'_>) {
        // The lock of stdin is taken before this one, never while it is held.
        let mut guard = self.lock();
        let state = &mut *guard;
        state.doubt.spoke();
        let target = match &*message.method {
            "notifications/progress" => {
                self.progress(state, message);
                return;
            }
            "notifications/cancelled" => message
                .params
                .request_id
                .and_then(|id| state.asked.remove(id.get()))
                .filter(|stream| state.streams.has_reader(*stream))
                .unwrap_or(STANDALONE),
            method if UNRELATED.contains(&method) => STANDALONE,
            _ => state.current(),
        };
        if let (Kind::Request, Some(id)) = (message.kind, message.id) {
            if state.asked.len() >= MAX_ASKED {
                drop(guard);
                let text = "too many requests to the client are unanswered";
                let error = error_response(Some(id.get()), code::INTERNAL_ERROR, text, None);
                // The backlog is bounded; a child that asks this much and reads nothing gets no answer.
                let _ = self.child.stdin().send(error);
                return;
            }
            state.asked.insert(id.get().into(), target);
        }
        state.emit(target, &splice(message.text, &mut []));
    }

    fn progress(&self, state: &mut State, message: &Message<'_>) {
        let token = message.params.progress_token;
        let Some((token, number)) =
            token.and_then(|token| Some((token, token.get().parse::<u64>().ok()?)))
        else {
            debug!(parent: &self.span, "dropped progress with a token that was never given");
            return;
        };
        if let Some(call) = state.calls.get_mut(&number)
            && let Some(client_token) = &call.token
        {
            let outward = splice(message.text, &mut [(message.range(token), client_token)]);
            call.progressed(self.limits.patience, Instant::now());
            let exchange = call.exchange;
            state.emit(exchange, &outward);
        } else if let Some((_, client_token)) =
            state.late_tokens.iter().find(|(late, _)| *late == number)
        {
            let outward = splice(message.text, &mut [(message.range(token), client_token)]);
            state.emit(STANDALONE, &outward);
        } else {
            debug!(parent: &self.span, "dropped progress of nothing that is in flight");
        }
    }

    fn message(&self, text: &str) {
        match Message::parse(text) {
            Ok(message) if message.kind == Kind::Response => self.answer(&message),
            Ok(message) => self.push(&message),
            Err(error) => {
                warn!(parent: &self.span, %error, "skipped a line of the MCP server's stdout");
            }
        }
    }
}

impl Listener for Session {
    fn line(&self, line: Bytes) {
        let Ok(text) = std::str::from_utf8(&line) else {
            warn!(parent: &self.span, bytes = line.len(), "skipped a line of the MCP server's stdout: it is not UTF-8");
            self.unreadable();
            return;
        };
        if is_batch(text) {
            match parse_batch(text) {
                Ok(members) => members.into_iter().for_each(|member| self.message(member)),
                Err(error) => {
                    warn!(parent: &self.span, %error, "skipped a line of the MCP server's stdout");
                }
            }
        } else if !text.trim().is_empty() {
            self.message(text);
        }
    }

    fn ended(&self, how: &Ended) {
        self.fail(&how.to_string());
    }
}
