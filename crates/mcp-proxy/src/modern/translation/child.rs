//! An older MCP server that serves the modern requests of one person.
//!
//! A child is *shared* or *leased*. On stdio a log or a question of the server names no call, so only a leased child, which has
//! one call at a time, is told that its client can be asked, and only its logs go anywhere.
//!
//! Where a message of the child goes:
//!
//! 1. a response: to the request it answers;
//! 2. `notifications/progress`: to the request whose progress token it names;
//! 3. a question (elicitation, sampling, roots): becomes the answer `input_required` of the leased child's call, which stays
//!    parked in the child until the client comes back (see [`super::parked`]); a question of a shared child is refused, and so is
//!    the call if there is but one that it can belong to;
//! 4. `notifications/message`: to the leased child's call, if it asked for logs of that severity;
//! 5. what changed (lists, resources): to the person's listening requests that asked for it (see [`super::listening`]);
//! 6. everything else belongs to no request and is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::calls::{Accepts, Call, cancellation};
use crate::children::Children;
use crate::doubt::{Doubt, HUNG};
use crate::http::error::Refusal;
use crate::jsonrpc::{Message, code, error_response};
use crate::modern::parameters::{Page, Schemas};
use crate::modern::request::{Answer, InFlight, Request, Serving};
use crate::modern::schemas::{Cache, read_answer};
use crate::modern::translation::discovery::Greeting;
use crate::modern::translation::inward::Inward;
use crate::modern::translation::leases::{Leases, Subject};
use crate::modern::translation::listening::{Listening, completion};
use crate::modern::translation::log_level::Level;
use crate::modern::translation::outward::{Context, outward, urls_needed};
use crate::modern::translation::parked::{Binding, Parked, Ticket};
use crate::modern::translation::profile::Profile;
use crate::modern::translation::questions::{Question, input_required};
use crate::session::{Limits, Refused};
use crate::stdin::Stdin;

/// After its last question a server gets this long to ask more, so that what it asks at once is asked at once.
const SETTLING: Duration = Duration::from_millis(50);
/// Questions that may wait for one client.
pub(super) const MAX_QUESTIONS: usize = 100;
/// What is told to a client whose state is unknown.
pub const STATE_UNKNOWN: &str =
    "`requestState` is not valid for this request, or not any more: call again without it";

/// What every child needs of those who made it.
#[derive(Clone, Debug)]
pub struct Home {
    /// All of them.
    pub leases: Weak<Leases>,
    /// The calls that wait for their client.
    pub parked: Arc<Parked>,
    /// Counts processes that end too soon.
    pub children: Children,
    /// The bounds of one child.
    pub limits: Limits,
    /// How long the handshake may take.
    pub handshake: Duration,
}

/// An older child.
#[derive(Debug)]
pub struct Legacy {
    /// Its name in the log.
    pub span: tracing::Span,
    /// Whose it is.
    pub subject: Subject,
    /// What the child was told that its client can be asked for.
    pub profile: Profile,
    /// Does it serve one call at a time?
    pub exclusive: bool,
    pub(super) home: Home,
    pub(super) stdin: Arc<Stdin>,
    stop: CancellationToken,
    pub(super) greeting: OnceLock<Greeting>,
    schemas: Cache,
    pub(super) watched: Mutex<HashMap<Box<str>, usize>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ended: Option<Arc<str>>,
    pub(super) last_number: u64,
    /// Requests of our own.
    pub(super) own: HashMap<u64, oneshot::Sender<Result<String, Arc<str>>>>,
    pub(super) calls: HashMap<u64, Conversation>,
    pub(super) listening: HashMap<u64, Listening>,
    /// Questions that came while there was no call: the next one has to answer them first.
    pub(super) early: Vec<Question>,
    /// A lease belongs to somebody until its call is over.
    claimed: bool,
    pub(super) last_used: Instant,
    pub(super) answered: bool,
    pub(super) doubt: Doubt,
}

/// One request inside the child, over all the POSTs that it takes.
#[derive(Debug)]
pub(super) struct Conversation {
    method: Box<str>,
    uri: Option<Box<str>>,
    /// The POST that waits, under its number; none while the call is parked.
    pub(super) waiting: Option<(u64, Request)>,
    /// What the client of the latest POST can be asked for.
    pub(super) profile: Profile,
    pub(super) level: Option<Level>,
    binding: Option<Binding>,
    /// Answers that came before their questions.
    pub(super) given: Vec<(String, Box<str>)>,
    pub(super) questions: Vec<Question>,
    /// Counts the questions, so that only the timer of the last one counts.
    generation: u64,
    /// The line of a request that is held back until earlier questions are answered.
    unsent: Option<Vec<u8>>,
    /// The child's answer, when it came while nobody waited.
    pub(super) outcome: Option<Box<str>>,
    parked: Option<(Ticket, Instant)>,
}

impl Conversation {
    /// May its answer be `input_required`? (MCP 2026-07-28, basic/patterns/mrtr, "Supported Requests")
    pub(super) fn can_ask(&self) -> bool {
        can_ask(&self.method)
    }
}

/// May the answer to a method be `input_required`?
#[must_use]
pub fn can_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

impl Legacy {
    /// Around a child that was just started; a lease is claimed from the beginning.
    #[must_use]
    pub fn new(
        span: tracing::Span,
        subject: Subject,
        lease: Option<Profile>,
        home: Home,
        stdin: Arc<Stdin>,
        stop: CancellationToken,
    ) -> Self {
        let state = State {
            ended: None,
            last_number: 0,
            own: HashMap::new(),
            calls: HashMap::new(),
            listening: HashMap::new(),
            early: Vec::new(),
            claimed: true,
            last_used: Instant::now(),
            answered: false,
            doubt: Doubt::default(),
        };
        Self {
            span,
            subject,
            profile: lease.unwrap_or_default(),
            exclusive: lease.is_some(),
            home,
            stdin,
            stop,
            greeting: OnceLock::new(),
            schemas: Cache::default(),
            watched: Mutex::default(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it said of itself; `None` before the handshake.
    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.get()
    }

    pub(super) fn server(&self) -> &str {
        self.greeting().map_or("{}", |greeting| &greeting.server)
    }

    /// The answer to `server/discover`.
    #[must_use]
    pub fn discovered(&self, client_id: &str) -> Vec<u8> {
        self.greeting().map_or_else(
            || error_response(Some(client_id), code::INTERNAL_ERROR, "no handshake", None),
            |greeting| greeting.discovered(client_id),
        )
    }

    /// Does the child log at all?
    #[must_use]
    pub fn logs(&self) -> bool {
        self.greeting().is_some_and(|greeting| greeting.logging)
    }

    /// Sends a request to the child. `binding`: who asked for what; needed where the client can be asked for something.
    pub fn call(
        self: &Arc<Self>,
        message: &Message<'_>,
        inward: &Inward<'_>,
        accepts: Accepts,
        binding: Option<Binding>,
    ) -> Result<InFlight, Refused> {
        let now = Instant::now();
        let (number, reply, line) = {
            let mut state = self.lock();
            state.last_used = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
            if state.calls.len() + state.listening.len() >= self.home.limits.in_flight {
                return Err(Refused::Busy);
            }
            state.last_number += 1;
            let number = state.last_number;
            let (request, reply) = self.request(number, message, accepts);
            let questions = std::mem::take(&mut state.early);
            let line = inward.line(number);
            let (line, unsent) = if questions.is_empty() {
                (Some(line), None)
            } else {
                (None, Some(line))
            };
            let held = unsent.is_some();
            let given = inward
                .responses
                .iter()
                .map(|(key, value)| (key.clone().into_owned(), value.get().into()));
            let conversation = Conversation {
                method: message.method.as_ref().into(),
                uri: inward.param("uri").map(|uri| uri.get().into()),
                waiting: Some((number, request)),
                profile: if self.exclusive {
                    inward.profile
                } else {
                    Profile::default()
                },
                level: inward.level,
                binding,
                given: given.collect(),
                questions,
                generation: 0,
                unsent,
                outcome: None,
                parked: None,
            };
            state.calls.insert(number, conversation);
            if held {
                self.settle_later(&mut state, number);
            }
            (number, reply, line)
        };
        if let Some(line) = line
            && let Err(error) = self.stdin.send(line)
        {
            drop(self.lock().calls.remove(&number));
            return Err(error.into());
        }
        let owner = Arc::clone(self) as Arc<dyn Serving>;
        Ok(InFlight::new(owner, number, reply))
    }

    pub(super) fn request(
        &self,
        number: u64,
        message: &Message<'_>,
        accepts: Accepts,
    ) -> (Request, oneshot::Receiver<crate::calls::Reply>) {
        let (sender, reply) = oneshot::channel();
        let request = Request {
            call: Call::new(number, message, self.home.limits.patience, Instant::now()),
            accepts,
            logs: message.params.meta.log_level.is_some(),
            listens: false,
            listens_for_tools: false,
            answer: Answer::Waiting(sender),
        };
        (request, reply)
    }

    /// Goes on with a parked call: its client has come back.
    pub fn resume(
        self: &Arc<Self>,
        (ticket, number): (Ticket, u64),
        message: &Message<'_>,
        inward: &Inward<'_>,
        accepts: Accepts,
    ) -> Result<InFlight, Refusal> {
        let mut lines = Vec::new();
        let (post, reply) = {
            let mut state = self.lock();
            let state = &mut *state;
            state.last_used = Instant::now();
            let unknown = Refusal::InvalidParams(STATE_UNKNOWN);
            let Some(conversation) = state.calls.get_mut(&number) else {
                return Err(unknown);
            };
            let answer = |question: &Question| {
                let mut responses = inward.responses.iter();
                responses
                    .find(|(key, _)| *key == question.key)
                    .map(|(_, value)| value.get())
            };
            let mut questions = conversation.questions.iter();
            if questions.any(|it| answer(it).is_some_and(|answer| it.check(answer).is_err())) {
                self.home.parked.put_back(ticket, self, number);
                return Err(Refusal::InvalidParams(
                    "an answer in `inputResponses` is none to its question",
                ));
            }
            conversation.parked = None;
            conversation.profile = inward.profile;
            state.last_number += 1;
            let post = state.last_number;
            let (request, reply) = self.request(post, message, accepts);
            conversation.waiting = Some((post, request));
            if conversation.outcome.is_some() {
                self.settle_now(number);
            } else {
                conversation.questions.retain(|question| {
                    let answer = answer(question);
                    lines.extend(answer.map(|answer| question.answered(answer)));
                    answer.is_none()
                });
                if conversation.questions.is_empty() {
                    lines.extend(conversation.unsent.take());
                } else {
                    self.settle_later(state, number);
                }
            }
            (post, reply)
        };
        if !lines.is_empty() {
            self.stdin
                .send(lines.join(&b'\n'))
                .map_err(Refused::Input)?;
        }
        let owner = Arc::clone(self) as Arc<dyn Serving>;
        Ok(InFlight::new(owner, post, reply))
    }

    /// Asks the client once the child has had its time to ask more.
    pub(super) fn settle_later(self: &Arc<Self>, state: &mut State, number: u64) {
        let Some(conversation) = state.calls.get_mut(&number) else {
            return;
        };
        conversation.generation += 1;
        let generation = conversation.generation;
        let child = Arc::clone(self);
        self.home.children.runtime().spawn(async move {
            tokio::time::sleep(SETTLING).await;
            child.settle(number, Some(generation));
        });
    }

    fn settle_now(self: &Arc<Self>, number: u64) {
        let child = Arc::clone(self);
        self.home
            .children
            .runtime()
            .spawn(async move { child.settle(number, None) });
    }

    /// Gives the waiting POST what is there: the answer that came while nobody waited, or the questions.
    fn settle(self: &Arc<Self>, number: u64, generation: Option<u64>) {
        let mut state = self.lock();
        let Some(conversation) = state.calls.get_mut(&number) else {
            return;
        };
        if generation.is_some_and(|generation| generation != conversation.generation) {
            return;
        }
        if let Some(outcome) = conversation.outcome.take() {
            let conversation = self.finish(&mut state, number);
            drop(state);
            if let (Some(conversation), Ok(answer)) = (conversation, Message::parse(&outcome)) {
                self.deliver(conversation, &answer);
            }
            return;
        }
        let profile = conversation.profile;
        let mut questions = conversation.questions.iter();
        if let Some(question) = questions.find(|question| !profile.covers(question.needs)) {
            let needs = question.needs;
            let conversation = self.conclude(&mut state, number);
            drop(state);
            self.refuse(number, conversation, needs);
            return;
        }
        let (Some(binding), false) = (conversation.binding, conversation.questions.is_empty())
        else {
            return;
        };
        let Some((post, request)) = conversation.waiting.take() else {
            return;
        };
        match self.home.parked.park(Arc::downgrade(self), number, binding) {
            Ok((ticket, token, end)) => {
                conversation.parked = Some((ticket, end));
                let id = &request.call.client_id;
                let questions = &conversation.questions;
                let answer = input_required(id, questions, Some(&token), self.server());
                drop(state);
                request.finish(answer, self.home.limits.reader_bytes);
            }
            Err(error) => {
                warn!(parent: &self.span, %error, "the system gave no random bits: a call cannot be parked");
                conversation.waiting = Some((post, request));
                let conversation = self.conclude(&mut state, number);
                drop(state);
                self.fail(conversation, "the client cannot be asked now");
                self.abandon(number, "the client cannot be asked");
            }
        }
    }

    /// Takes a call out that was answered: the lease is free for the next one, before its client can ask for it.
    pub(super) fn finish(&self, state: &mut State, number: u64) -> Option<Conversation> {
        let conversation = self.conclude(state, number);
        state.claimed = false;
        state.last_used = Instant::now();
        conversation
    }

    /// Takes a call out. A lease stays claimed: nobody else may begin on it before [`Self::abandon`] has ended it.
    pub(super) fn conclude(&self, state: &mut State, number: u64) -> Option<Conversation> {
        let conversation = state.calls.remove(&number)?;
        if let Some((ticket, _)) = conversation.parked {
            self.home.parked.remove(ticket);
        }
        Some(conversation)
    }

    /// Gives the child's answer to the POST that waits for it.
    pub(super) fn deliver(&self, conversation: Conversation, message: &Message<'_>) {
        let Some((_, request)) = conversation.waiting else {
            return;
        };
        let client_id = &*request.call.client_id;
        let urls = urls_needed(message).filter(|_| can_ask(&conversation.method));
        let answer = match urls {
            // The next call will find the URLs visited; it needs nothing of this one.
            Some(urls) if conversation.profile.url => {
                let questions: Vec<Question> = urls
                    .into_iter()
                    .enumerate()
                    .map(|(number, elicitation)| Question::visit(number + 1, elicitation))
                    .collect();
                input_required(client_id, &questions, None, self.server())
            }
            Some(_) => missing_capability(
                client_id,
                Profile {
                    url: true,
                    ..Profile::default()
                },
            ),
            None => outward(
                message,
                Context {
                    method: &conversation.method,
                    uri: conversation.uri.as_deref(),
                    server: self.server(),
                    client_id,
                },
            ),
        };
        request.finish(answer, self.home.limits.reader_bytes);
        self.freed();
    }

    /// Refuses a call whose server asks what the client has not declared.
    pub(super) fn refuse(&self, number: u64, conversation: Option<Conversation>, needs: Profile) {
        if let Some(Conversation {
            waiting: Some((_, request)),
            ..
        }) = conversation
        {
            let answer = missing_capability(&request.call.client_id, needs);
            request.finish(answer, self.home.limits.reader_bytes);
        }
        self.abandon(number, "the client cannot be asked for this");
    }

    fn fail(&self, conversation: Option<Conversation>, why: &str) {
        if let Some(Conversation {
            waiting: Some((_, request)),
            ..
        }) = conversation
        {
            let id = Some(&*request.call.client_id);
            let answer = error_response(id, code::INTERNAL_ERROR, why, None);
            request.finish(answer, self.home.limits.reader_bytes);
        }
    }

    /// Tells the child that nobody wants the answer of a call any more. A leased child is ended: what it says of that call from
    /// now on could not be told from what it says of the next.
    pub(super) fn abandon(&self, number: u64, why: &str) {
        // A child that takes no more lines will not miss this one.
        let _ = self.stdin.send(cancellation(number, why));
        if self.exclusive {
            self.close(why);
        }
    }

    fn freed(&self) {
        if let Some(leases) = self.home.leases.upgrade() {
            leases.freed.notify_waiters();
        }
    }

    /// Takes the lease, if it is free.
    #[must_use]
    pub fn claim(&self) -> bool {
        let mut state = self.lock();
        let free = !state.claimed && state.ended.is_none() && self.greeting().is_some();
        state.claimed |= free;
        free
    }

    /// Gives back a lease that was not used.
    pub fn release(&self) {
        {
            let mut state = self.lock();
            state.claimed = false;
            state.last_used = Instant::now();
        }
        self.freed();
    }

    /// Has it ended, or is it about to?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// How many requests are in flight. Parked calls are not: nobody waits.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.lock();
        let calls = state.calls.values();
        calls.filter(|call| call.waiting.is_some()).count() + state.listening.len()
    }

    /// How long nobody has used it; `None` while there is a call. Listening alone is no use.
    #[must_use]
    pub fn unused(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let free = state.calls.is_empty() && !(self.exclusive && state.claimed);
        free.then(|| now.duration_since(state.last_used))
    }

    /// Gives up requests that took too long, and parked calls whose client has not come back.
    pub fn give_up(&self, now: Instant) {
        let mut late = Vec::new();
        let mut hung = false;
        {
            let mut state = self.lock();
            state.own.retain(|_, sender| !sender.is_closed());
            let over = |call: &Conversation| match (&call.waiting, call.parked) {
                (Some((_, request)), _) => request.call.deadline <= now,
                (None, Some((_, end))) => end <= now,
                (None, None) => false,
            };
            let numbers: Vec<u64> = state
                .calls
                .iter()
                .filter(|(_, call)| over(call))
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                let waits = state
                    .calls
                    .get(&number)
                    .is_some_and(|call| call.waiting.is_some());
                hung |= waits && state.doubt.gave_up();
                late.extend(self.conclude(&mut state, number).map(|call| (number, call)));
            }
        }
        for (number, conversation) in late {
            if let Some((_, request)) = conversation.waiting {
                warn!(parent: &self.span, "the MCP server did not answer in time: the request is given up");
                let text = "the MCP server did not answer in time";
                let id = Some(&*request.call.client_id);
                let answer = error_response(id, code::TIMEOUT, text, None);
                request.finish(answer, self.home.limits.reader_bytes);
                self.abandon(number, "the request took too long");
            } else {
                self.abandon(number, "the client did not come back in time");
            }
        }
        if hung {
            warn!(parent: &self.span, "{HUNG}");
            self.close(HUNG);
        }
    }

    /// Ends the requests that would never end by themselves, with their completion.
    pub fn drain(&self) {
        let listening = std::mem::take(&mut self.lock().listening);
        for listening in listening.into_values() {
            let answer = completion(&listening.request.call.client_id, self.server());
            listening
                .request
                .finish(answer, self.home.limits.reader_bytes);
        }
    }

    /// Ends the child: who waits is answered at once.
    pub fn close(&self, why: &str) {
        self.drain();
        self.end(why);
        self.stop.cancel();
    }

    pub(super) fn end(&self, why: &str) {
        let (calls, listening, own, how) = {
            let mut state = self.lock();
            let how = Arc::clone(state.ended.get_or_insert_with(|| why.into()));
            state.early.clear();
            (
                std::mem::take(&mut state.calls),
                std::mem::take(&mut state.listening),
                std::mem::take(&mut state.own),
                how,
            )
        };
        for sender in own.into_values() {
            // Who asked may have given up.
            let _ = sender.send(Err(Arc::clone(&how)));
        }
        let mut requests: Vec<Request> = listening.into_values().map(|it| it.request).collect();
        for call in calls.into_values() {
            if let Some((ticket, _)) = call.parked {
                self.home.parked.remove(ticket);
            }
            requests.extend(call.waiting.map(|(_, request)| request));
        }
        for request in requests {
            let id = Some(&*request.call.client_id);
            let answer = error_response(id, code::INTERNAL_ERROR, why, None);
            request.finish(answer, self.home.limits.reader_bytes);
        }
        self.freed();
    }

    /// The headers that the child's tools want (see [`Cache::get`]).
    pub async fn schemas(
        self: &Arc<Self>,
        tool: &str,
        life: Option<Duration>,
    ) -> Result<Arc<Schemas>, Refused> {
        self.schemas
            .get(tool, life, async |cursor| self.tools(cursor).await)
            .await
    }

    async fn tools(self: &Arc<Self>, cursor: Option<String>) -> Result<Option<Page>, Refused> {
        let params = cursor.map_or_else(
            || serde_json::json!({}),
            |cursor| serde_json::json!({ "cursor": cursor }),
        );
        let answer = self.ask("tools/list", &params).await;
        let answer = answer.map_err(Refused::Ended)?;
        Ok(read_answer(answer.as_bytes()))
    }
}

/// The answer to a request that needs what the client has not declared (MCP 2026-07-28, basic, "Error Codes").
fn missing_capability(client_id: &str, needs: Profile) -> Vec<u8> {
    let data = serde_json::json!({ "requiredCapabilities": needs.as_capabilities() });
    let text = "Missing required client capability";
    error_response(Some(client_id), code::MISSING_CAPABILITY, text, Some(&data))
}

impl Serving for Legacy {
    fn begin_stream(&self, number: u64) {
        let limit = self.home.limits.reader_bytes;
        let mut state = self.lock();
        let State {
            calls, listening, ..
        } = &mut *state;
        let waiting = calls.values_mut().filter_map(|call| call.waiting.as_mut());
        if let Some((_, request)) = waiting.into_iter().find(|(post, _)| *post == number) {
            request.begin_stream(limit);
        } else if let Some(listening) = listening.get_mut(&number) {
            listening.request.begin_stream(limit);
        }
    }

    fn cancel(&self, number: u64) {
        let (called, listening) = {
            let mut state = self.lock();
            let waits = |call: &Conversation| {
                call.waiting
                    .as_ref()
                    .is_some_and(|(post, _)| *post == number)
            };
            let called = state
                .calls
                .iter()
                .find(|(_, call)| waits(call))
                .map(|(called, _)| *called);
            if let Some(called) = called {
                self.conclude(&mut state, called);
            }
            (called, state.listening.remove(&number))
        };
        // Its subscriptions end with it, outside of the lock.
        drop(listening);
        if let Some(called) = called {
            self.abandon(called, "the client closed the connection");
        }
    }
}
