//! A call inside the child, over all the POSTs that it takes: how it begins and how it goes on.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::calls::{Accepts, Call, Reply};
use crate::http::error::Refusal;
use crate::jsonrpc::Message;
use crate::modern::request::{Answer, InFlight, OfTools, Request, Serving};
use crate::modern::translation::child::Legacy;
use crate::modern::translation::inward::Inward;
use crate::modern::translation::log_level::Level;
use crate::modern::translation::parked::{Binding, Ticket};
use crate::modern::translation::profile::Profile;
use crate::modern::translation::questions::Question;
use crate::session::Refused;

/// What is told to a client whose state is unknown.
pub const STATE_UNKNOWN: &str =
    "`requestState` is not valid for this request, or not any more: call again without it";

/// One request inside the child, over all the POSTs that it takes.
#[derive(Debug)]
pub(in crate::modern::translation) struct Conversation {
    pub(super) method: Box<str>,
    pub(super) uri: Option<Box<str>>,
    /// The POST that waits, under its number; none while the call is parked.
    pub(in crate::modern::translation) waiting: Option<(u64, Request)>,
    /// What the client of the latest POST can be asked for.
    pub(in crate::modern::translation) profile: Profile,
    pub(in crate::modern::translation) level: Option<Level>,
    pub(super) binding: Option<Binding>,
    /// Answers that came before their questions.
    pub(in crate::modern::translation) given: Vec<(String, Box<str>)>,
    pub(in crate::modern::translation) questions: Vec<Question>,
    /// Counts the questions, so that only the timer of the last one counts.
    pub(super) generation: u64,
    /// The line of a request that is held back until earlier questions are answered.
    pub(super) unsent: Option<Vec<u8>>,
    /// The child's answer, when it came while nobody waited.
    pub(in crate::modern::translation) outcome: Option<Box<str>>,
    pub(super) parked: Option<(Ticket, Instant)>,
}

impl Conversation {
    /// May its answer be `input_required`? (MCP 2026-07-28, basic/patterns/mrtr, "Supported Requests")
    pub(in crate::modern::translation) fn can_ask(&self) -> bool {
        can_ask(&self.method)
    }
}

/// May the answer to a method be `input_required`?
#[must_use]
pub fn can_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

impl Legacy {
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

    pub(in crate::modern::translation) fn request(
        &self,
        number: u64,
        message: &Message<'_>,
        accepts: Accepts,
    ) -> (Request, oneshot::Receiver<Reply>) {
        let (sender, reply) = oneshot::channel();
        let request = Request {
            call: Call::new(number, message, self.home.limits.patience, Instant::now()),
            accepts,
            logs: message.params.meta.log_level.is_some(),
            listens: false,
            of_tools: OfTools::Unwanted,
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
}
