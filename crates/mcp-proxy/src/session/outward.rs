//! What the child says goes to the call it answers, or to a stream (the rules stand at [`super`]).

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::child::{Ended, Listener};
use crate::jsonrpc::{Edit, Kind, Message, code, error_response, is_batch, parse_batch, splice};
use crate::replay::STANDALONE;
use crate::session::Session;
use crate::session::state::State;
use crate::tools::announce;

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

impl Session {
    /// A response of the child.
    fn answer(&self, message: &Message<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        if state.doubt.is_ping(message.number()) {
            return;
        }
        state.doubt.spoke();
        let call = message
            .id
            .zip(message.number())
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
        let mut declaration = None;
        if state.version.is_none() {
            state.negotiated(message);
            let narrow = self.tools.now().narrow();
            declaration = narrow.then(|| announce::declaration(message)).flatten();
        }
        if let Some(token) = call.token {
            if state.late_tokens.len() == MAX_LATE_TOKENS {
                state.late_tokens.pop_front();
            }
            state.late_tokens.push_back((number, token));
        }
        let mut edits: Vec<Edit<'_>> = vec![(message.range(id), &call.client_id)];
        edits.extend(
            declaration
                .as_ref()
                .map(|(place, text)| (place.clone(), &**text)),
        );
        let answer = splice(message.text, &mut edits);
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
