//! One child that serves the modern requests of one person.
//!
//! Where a message of the child goes:
//!
//! 1. a response: to the request it answers;
//! 2. `notifications/progress`: to the request whose progress token it names;
//! 3. what carries a subscription id: to the listening request it names;
//! 4. `notifications/message` names no request on stdio: to the most recent one in flight that asked for logs;
//! 5. everything else belongs to no request and is dropped.
//!
//! A closed connection is a cancellation here.

mod ending;
mod outward;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::calls::{Accepts, Call, cancellation, inward};
use crate::doubt::Doubt;
use crate::jsonrpc::Message;
use crate::metrics::Calls;
use crate::modern::request::{Answer, InFlight, OfTools, Request, Serving};
use crate::modern::schemas::Cache;
use crate::session::{Limits, Refused};
use crate::stdin::{Haste, Stdin};
use crate::tools::announce;
use crate::tools::reload::InForce;

/// A child shared by the requests of one person.
#[derive(Debug)]
pub struct Shared {
    /// Its name in the log.
    pub span: tracing::Span,
    stdin: Arc<Stdin>,
    stop: CancellationToken,
    limits: Limits,
    /// What became of requests is counted here.
    calls: Calls,
    tools: InForce,
    state: Mutex<State>,
    pub(super) schemas: Cache,
}

#[derive(Debug)]
struct State {
    ended: Option<Arc<str>>,
    last_number: u64,
    requests: HashMap<u64, Request>,
    last_used: Instant,
    answered: bool,
    doubt: Doubt,
}

impl Serving for Shared {
    fn begin_stream(&self, number: u64) {
        let mut state = self.lock();
        let limit = self.limits.reader_bytes;
        if let Some(request) = state.requests.get_mut(&number) {
            request.begin_stream(limit);
        }
    }

    fn cancel(&self, number: u64) {
        let known = self.lock().requests.remove(&number).is_some();
        if known {
            self.calls.cancelled.inc();
            // A child that takes no more lines will not miss this one.
            let _ = self
                .stdin
                .send(cancellation(number, "the client closed the connection"));
        }
    }
}

impl Shared {
    /// Around a child that was just started.
    #[must_use]
    pub fn new(
        span: tracing::Span,
        stdin: Arc<Stdin>,
        stop: CancellationToken,
        limits: Limits,
        calls: Calls,
        tools: InForce,
    ) -> Self {
        let state = State {
            ended: None,
            last_number: 0,
            requests: HashMap::new(),
            last_used: Instant::now(),
            answered: false,
            doubt: Doubt::default(),
        };
        Self {
            span,
            stdin,
            stop,
            limits,
            calls,
            tools,
            state: Mutex::new(state),
            schemas: Cache::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to the child.
    pub fn request(
        self: &Arc<Self>,
        message: &Message<'_>,
        accepts: Accepts,
    ) -> Result<InFlight, Refused> {
        let (sender, reply) = oneshot::channel();
        let mut number = 0;
        self.stdin.send_with(|| {
            let now = Instant::now();
            let mut state = self.lock();
            let state = &mut *state;
            state.last_used = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
            if state.requests.len() >= self.limits.in_flight {
                return Err(Refused::Busy);
            }
            state.last_number += 1;
            number = state.last_number;
            let listens = message.method == "subscriptions/listen";
            let is_busy = state.requests.values().any(|request| !request.listens);
            let of_tools = if listens && announce::is_wanted(message.text) {
                OfTools::Wanted
            } else {
                OfTools::Unwanted
            };
            let request = Request {
                call: Call::new(number, message, self.limits.patience, now),
                accepts,
                logs: message.params.meta.log_level.is_some(),
                listens,
                of_tools,
                answer: Answer::Waiting(sender),
            };
            state.requests.insert(number, request);
            let haste = if is_busy { Haste::Soon } else { Haste::Now };
            Ok((inward(message, number), haste))
        })?;
        let owner = Arc::clone(self) as Arc<dyn Serving>;
        Ok(InFlight::new(owner, number, reply))
    }

    /// Passes a notification on.
    pub fn notify(&self, message: &Message<'_>) -> Result<(), Refused> {
        self.lock().last_used = Instant::now();
        Ok(self.stdin.send(inward(message, 0))?)
    }

    /// Has it ever answered anything?
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.lock().answered
    }

    /// Has it ended, or is it about to?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().requests.len()
    }

    /// Has nobody used it for the idle time? Listening alone is no use.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        let state = self.lock();
        let busy = state.requests.values().any(|request| !request.listens);
        !busy && now.duration_since(state.last_used) >= self.limits.idle
    }

    /// Tells who was promised it that the list of tools is another one now. A reader too slow for it hears of the next one.
    pub fn tools_changed(&self) {
        let mut state = self.lock();
        for request in state.requests.values_mut() {
            if request.of_tools == OfTools::Promised {
                let message = announce::list_changed(Some(&request.call.client_id));
                request.emit(&message, self.limits.reader_bytes);
            }
        }
    }
}
