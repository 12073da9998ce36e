//! What the POST that waits for a call is given: the child's answer, its questions, or a refusal.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::jsonrpc::{Message, code, error_response};
use crate::modern::translation::child::conversation::{Conversation, can_ask};
use crate::modern::translation::child::{Legacy, State};
use crate::modern::translation::outward::{Context, outward, urls_needed};
use crate::modern::translation::profile::Profile;
use crate::modern::translation::questions::{Question, input_required};

/// After its last question a server gets this long to ask more, so that what it asks at once is asked at once.
const SETTLING: Duration = Duration::from_millis(50);

impl Legacy {
    /// Asks the client once the child has had its time to ask more.
    pub(in crate::modern::translation) fn settle_later(
        self: &Arc<Self>,
        state: &mut State,
        number: u64,
    ) {
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

    pub(super) fn settle_now(self: &Arc<Self>, number: u64) {
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
    pub(in crate::modern::translation) fn finish(
        &self,
        state: &mut State,
        number: u64,
    ) -> Option<Conversation> {
        let conversation = self.conclude(state, number);
        state.claimed = false;
        state.last_used = Instant::now();
        conversation
    }

    /// Takes a call out. A lease stays claimed: nobody else may begin on it before [`Self::abandon`] has ended it.
    pub(in crate::modern::translation) fn conclude(
        &self,
        state: &mut State,
        number: u64,
    ) -> Option<Conversation> {
        let conversation = state.calls.remove(&number)?;
        if let Some((ticket, _)) = conversation.parked {
            self.home.parked.remove(ticket);
        }
        Some(conversation)
    }

    /// Gives the child's answer to the POST that waits for it.
    pub(in crate::modern::translation) fn deliver(
        &self,
        conversation: Conversation,
        message: &Message<'_>,
    ) {
        let Some((_, request)) = conversation.waiting else {
            return;
        };
        let calls = &self.home.calls;
        if message.failed {
            calls.failed.inc();
        } else {
            calls.answered.inc();
        }
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
    pub(in crate::modern::translation) fn refuse(
        &self,
        number: u64,
        conversation: Option<Conversation>,
        needs: Profile,
    ) {
        if let Some(Conversation {
            waiting: Some((_, request)),
            ..
        }) = conversation
        {
            self.home.calls.failed.inc();
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
            self.home.calls.lost.inc();
            let id = Some(&*request.call.client_id);
            let answer = error_response(id, code::INTERNAL_ERROR, why, None);
            request.finish(answer, self.home.limits.reader_bytes);
        }
    }
}

/// The answer to a request that needs what the client has not declared (MCP 2026-07-28, basic, "Error Codes").
fn missing_capability(client_id: &str, needs: Profile) -> Vec<u8> {
    let data = serde_json::json!({ "requiredCapabilities": needs.as_capabilities() });
    let text = "Missing required client capability";
    error_response(Some(client_id), code::MISSING_CAPABILITY, text, Some(&data))
}
