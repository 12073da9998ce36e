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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::calls::{Accepts, Call, GIVEN_UP, LOST, cancellation, inward};
use crate::child::{Ended, Listener};
use crate::doubt::{self, Doubt, UNREADABLE, Verdict};
use crate::jsonrpc::{Edit, Kind, Message, code, error_response, splice};
use crate::metrics::Calls;
use crate::modern::request::{Answer, InFlight, Request, Serving};
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
            let request = Request {
                call: Call::new(number, message, self.limits.patience, now),
                accepts,
                logs: message.params.meta.log_level.is_some(),
                listens,
                listens_for_tools: listens && announce::is_wanted(message.text),
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

    /// Gives up requests that took too long. `Some`: the child is of no use any more, and why.
    #[must_use]
    pub fn give_up(&self, now: Instant) -> Option<&'static str> {
        let mut overdue = Vec::new();
        let (verdict, ping) = {
            let mut state = self.lock();
            let numbers: Vec<u64> = state
                .requests
                .iter()
                .filter(|(_, request)| !request.listens && request.call.deadline <= now)
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                if let Some(request) = state.requests.remove(&number) {
                    state.doubt.gave_up();
                    self.calls.timed_out.inc();
                    overdue.push((number, request));
                }
            }
            let just_now = !overdue.is_empty();
            let verdict = state.doubt.verdict(just_now, self.limits.ping, now);
            if verdict == Verdict::Ping {
                state.last_number += 1;
                let number = state.last_number;
                state.doubt.pinged(number, now);
            }
            (verdict, state.last_number)
        };
        for (number, request) in overdue {
            warn!(parent: &self.span, request_id = request.call.shown(), "{GIVEN_UP}");
            let _ = self
                .stdin
                .send(cancellation(number, "the request took too long"));
            let text = "the MCP server did not answer in time";
            let answer = error_response(Some(&request.call.client_id), code::TIMEOUT, text, None);
            request.finish(answer, self.limits.reader_bytes);
        }
        match verdict {
            Verdict::Goes => None,
            Verdict::Ping => {
                // Its time runs although the line may not get through.
                let _ = self.stdin.send(doubt::discover(ping));
                None
            }
            Verdict::Ends(why) => Some(why),
        }
    }

    /// A line of the child was too long or no text.
    fn was_unreadable(&self) {
        if self.lock().doubt.was_unreadable() {
            warn!(parent: &self.span, "{UNREADABLE}");
            self.close(UNREADABLE);
        }
    }

    /// Tells who listens for it that the list of tools is another one now. A reader too slow for it hears of the next one.
    pub fn tools_changed(&self) {
        let mut state = self.lock();
        for request in state.requests.values_mut() {
            if request.listens_for_tools {
                let message = announce::list_changed(Some(&request.call.client_id));
                request.emit(&message, self.limits.reader_bytes);
            }
        }
    }

    /// Ends the requests that would never end by themselves, with their completion.
    pub fn drain(&self) {
        let listening: Vec<(u64, Request)> = {
            let mut state = self.lock();
            let numbers: Vec<u64> = state
                .requests
                .iter()
                .filter(|(_, request)| request.listens)
                .map(|(number, _)| *number)
                .collect();
            numbers
                .into_iter()
                .filter_map(|number| Some((number, state.requests.remove(&number)?)))
                .collect()
        };
        for (_, request) in listening {
            let id = request.call.client_id.clone();
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
            );
            request.finish(answer.into_bytes(), self.limits.reader_bytes);
        }
    }

    /// Ends the child: who waits is answered at once.
    pub fn close(&self, why: &str) {
        self.drain();
        self.end(why);
        self.stop.cancel();
    }

    fn end(&self, why: &str) {
        let requests = {
            let mut state = self.lock();
            state.ended.get_or_insert_with(|| why.into());
            std::mem::take(&mut state.requests)
        };
        for request in requests.into_values() {
            warn!(parent: &self.span, request_id = request.call.shown(), why, "{LOST}");
            self.calls.lost.inc();
            let answer = error_response(
                Some(&request.call.client_id),
                code::INTERNAL_ERROR,
                why,
                None,
            );
            request.finish(answer, self.limits.reader_bytes);
        }
    }

    fn answer(&self, message: &Message<'_>) {
        let found = message.id.zip(message.number()).and_then(|(id, number)| {
            let mut state = self.lock();
            let request = state.requests.remove(&number);
            if request.is_some() {
                state.answered = true;
                state.doubt.spoke();
            } else {
                state.doubt.is_ping(Some(number));
            }
            Some((id, request?))
        });
        let Some((id, request)) = found else {
            debug!(parent: &self.span, "dropped a response of the MCP server to nothing that is in flight");
            return;
        };
        if message.failed {
            self.calls.failed.inc();
        } else {
            self.calls.answered.inc();
        }
        let client_id = &*request.call.client_id;
        let mut edits: Vec<Edit<'_>> = vec![(message.range(id), client_id)];
        if request.listens
            && let Some(subscription) = message.result.and_then(result_subscription)
        {
            edits.push((message.range(subscription), client_id));
        }
        let answer = splice(message.text, &mut edits);
        request.finish(answer, self.limits.reader_bytes);
    }

    fn push(&self, message: &Message<'_>) {
        if let (Kind::Request, Some(id)) = (message.kind, message.id) {
            warn!(parent: &self.span, method = %message.method.escape_debug(), "refused a request of the MCP server: this revision has none");
            let text = "this revision of MCP has no requests from server to client";
            let _ = self.stdin.send(error_response(
                Some(id.get()),
                code::METHOD_NOT_FOUND,
                text,
                None,
            ));
            return;
        }
        let mut state = self.lock();
        state.doubt.spoke();
        let number_of = |value: &RawValue| value.get().parse::<u64>().ok();
        let (number, edited) = if let Some(id) = message.params.meta.subscription_id {
            (number_of(id), Some(id))
        } else {
            match &*message.method {
                "notifications/progress" => (
                    message.params.progress_token.and_then(number_of),
                    message.params.progress_token,
                ),
                "notifications/cancelled" => (
                    message.params.request_id.and_then(number_of),
                    message.params.request_id,
                ),
                "notifications/message" => {
                    let recent = state
                        .requests
                        .iter()
                        .filter(|(_, request)| request.logs)
                        .map(|(number, _)| *number);
                    (recent.max(), None)
                }
                _ => (None, None),
            }
        };
        let Some((number, request)) =
            number.and_then(|number| Some((number, state.requests.get_mut(&number)?)))
        else {
            debug!(parent: &self.span, "dropped a notification of the MCP server that belongs to no request");
            return;
        };
        let is_progress = message.method == "notifications/progress"
            && message.params.meta.subscription_id.is_none();
        let is_end = message.method == "notifications/cancelled";
        let replacement = if is_progress {
            request.call.token.clone()
        } else {
            Some(request.call.client_id.clone())
        };
        let Some(replacement) = replacement.filter(|_| !is_end || request.listens) else {
            return;
        };
        let acknowledges = message.method == "notifications/subscriptions/acknowledged";
        let honoured = (acknowledges && request.listens_for_tools && self.tools.now().narrow())
            .then(|| announce::honoured(message))
            .flatten();
        let mut edits: Vec<Edit<'_>> = Vec::new();
        edits.extend(edited.map(|value| (message.range(value), &*replacement)));
        edits.extend(
            honoured
                .as_ref()
                .map(|(place, text)| (place.clone(), &**text)),
        );
        let outward = splice(message.text, &mut edits);
        if is_progress {
            request
                .call
                .progressed(self.limits.patience, Instant::now());
        }
        let delivered = request.emit(&outward, self.limits.reader_bytes);
        if is_end || !delivered {
            state.requests.remove(&number);
        }
        drop(state);
        if !delivered {
            self.calls.cancelled.inc();
            warn!(parent: &self.span, "a client reads too slowly: its request is cancelled");
            let _ = self
                .stdin
                .send(cancellation(number, "the client reads too slowly"));
        }
    }
}

/// The subscription id of a listening request's result.
fn result_subscription(result: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Result<'a> {
        #[serde(rename = "_meta", borrow)]
        meta: Meta<'a>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(rename = "io.modelcontextprotocol/subscriptionId", borrow)]
        subscription_id: &'a RawValue,
    }
    serde_json::from_str::<Result<'_>>(result.get())
        .ok()
        .map(|result| result.meta.subscription_id)
}

impl Listener for Shared {
    fn line(&self, line: Bytes) {
        let Ok(text) = std::str::from_utf8(&line) else {
            warn!(parent: &self.span, bytes = line.len(), "skipped a line of the MCP server's stdout: it is not UTF-8");
            self.was_unreadable();
            return;
        };
        match Message::parse(text) {
            Ok(message) if message.kind == Kind::Response => self.answer(&message),
            Ok(message) => self.push(&message),
            Err(_) if text.trim().is_empty() => {}
            Err(error) => {
                warn!(parent: &self.span, %error, "skipped a line of the MCP server's stdout");
            }
        }
    }

    fn unreadable(&self) {
        self.was_unreadable();
    }

    fn ended(&self, how: &Ended) {
        self.end(&how.to_string());
    }
}
