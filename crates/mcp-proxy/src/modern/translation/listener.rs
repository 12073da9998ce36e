//! What an older child says, and the requests that are our own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::child::{Ended, Listener};
use crate::doubt::{UNREADABLE, client_info};
use crate::jsonrpc::{Kind, Message, as_text, code, error_response, is_batch, parse_batch, splice};
use crate::modern::translation::child::conversation::Conversation;
use crate::modern::translation::child::{Legacy, MAX_QUESTIONS};
use crate::modern::translation::discovery::Greeting;
use crate::modern::translation::log_level::Level;
use crate::modern::translation::questions::Question;
use crate::version::Version;

/// How long a request of our own may take, besides the handshake.
const OWN: Duration = Duration::from_secs(10);
/// How long a server may take to answer the ping after the handshake.
const PING: Duration = Duration::from_secs(1);

/// Hears an older child.
#[derive(Debug)]
pub struct Ear(pub Arc<Legacy>);

impl Listener for Ear {
    fn line(&self, line: Bytes) {
        let span = &self.0.span;
        let Ok(text) = std::str::from_utf8(&line) else {
            warn!(parent: span, bytes = line.len(), "skipped a line of the MCP server's stdout: it is not UTF-8");
            self.unreadable();
            return;
        };
        if is_batch(text)
            && let Ok(members) = parse_batch(text)
        {
            for member in members {
                self.0.hear(member);
            }
        } else {
            self.0.hear(text);
        }
    }

    fn unreadable(&self) {
        if self.0.lock().doubt.was_unreadable() {
            warn!(parent: &self.0.span, "{UNREADABLE}");
            self.0.close(UNREADABLE);
        }
    }

    fn ended(&self, how: &Ended) {
        let (first, answered) = {
            let state = self.0.lock();
            (state.ended.is_none(), state.answered)
        };
        if first {
            self.0.home.children.note_end(how, answered);
        }
        self.0.end(&how.to_string());
    }
}

impl Legacy {
    fn hear(self: &Arc<Self>, text: &str) {
        match Message::parse(text) {
            Ok(message) => {
                let number = message.number();
                {
                    let doubt = &mut self.lock().doubt;
                    if message.kind == Kind::Response && doubt.is_ping(number) {
                        return;
                    }
                    doubt.spoke();
                }
                match message.kind {
                    Kind::Response => self.hear_answer(&message),
                    Kind::Request => self.hear_request(&message),
                    Kind::Notification => self.hear_notification(&message),
                }
            }
            Err(_) if text.trim().is_empty() => {}
            Err(error) => {
                warn!(parent: &self.span, %error, "skipped a line of the MCP server's stdout");
            }
        }
    }

    fn hear_answer(self: &Arc<Self>, message: &Message<'_>) {
        let number = message.number();
        let mut state = self.lock();
        if let Some(sender) = number.and_then(|number| state.own.remove(&number)) {
            let first = !std::mem::replace(&mut state.answered, true);
            drop(state);
            if first {
                self.home.children.note_answer();
            }
            // Who asked may have given up.
            let _ = sender.send(Ok(message.text.to_owned()));
            return;
        }
        let call = number.and_then(|number| Some((number, state.calls.get_mut(&number)?)));
        let Some((number, conversation)) = call else {
            drop(state);
            debug!(parent: &self.span, "dropped a response of the MCP server to nothing that is in flight");
            return;
        };
        if conversation.waiting.is_none() {
            conversation.questions.clear();
            conversation.outcome = Some(message.text.into());
            return;
        }
        if let Some(conversation) = self.finish(&mut state, number) {
            drop(state);
            self.deliver(conversation, message);
        }
    }

    fn hear_request(self: &Arc<Self>, message: &Message<'_>) {
        let Some(id) = message.id.map(serde_json::value::RawValue::get) else {
            return;
        };
        // A child that takes no more lines will not miss an answer.
        let reply = |line: Vec<u8>| {
            let _ = self.stdin.send(line);
        };
        if message.method == "ping" {
            reply(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into_bytes());
            return;
        }
        let refuse = |text: &str| {
            reply(error_response(Some(id), code::METHOD_NOT_FOUND, text, None));
        };
        let Some(mut question) = Question::read(message) else {
            refuse("the client has no such method");
            return;
        };
        let mut state = self.lock();
        let askable = |call: &Conversation| self.exclusive || call.can_ask();
        let mut calls = state.calls.iter().filter(|(_, call)| askable(call));
        let number = match (calls.next(), calls.next()) {
            (Some((number, _)), None) => Some(*number),
            _ => None,
        };
        let Some((number, conversation)) =
            number.and_then(|number| Some((number, state.calls.get_mut(&number)?)))
        else {
            if self.exclusive
                && self.profile.covers(question.needs)
                && state.early.len() < MAX_QUESTIONS
            {
                question.distinguish(&state.early);
                state.early.push(question);
            } else {
                drop(state);
                refuse("the client cannot be asked for this");
            }
            return;
        };
        let may = conversation.can_ask() && conversation.questions.len() < MAX_QUESTIONS;
        if !may || !conversation.profile.covers(question.needs) {
            let refused = may && conversation.waiting.is_some();
            let conversation = refused.then(|| self.conclude(&mut state, number)).flatten();
            drop(state);
            refuse("the client has not declared that it can be asked for this");
            if conversation.is_some() {
                debug!(parent: &self.span, method = %message.method.escape_debug(), "the MCP server asks what the client has not declared");
                self.refuse(number, conversation, question.needs);
            }
            return;
        }
        question.distinguish(&conversation.questions);
        let given = conversation
            .given
            .iter()
            .position(|(key, answer)| *key == question.key && question.check(answer).is_ok());
        if let Some(position) = given {
            let (_, answer) = conversation.given.swap_remove(position);
            drop(state);
            reply(question.answered(&answer));
            return;
        }
        conversation.questions.push(question);
        if conversation.waiting.is_some() {
            self.settle_later(&mut state, number);
        }
    }

    fn hear_notification(self: &Arc<Self>, message: &Message<'_>) {
        match &*message.method {
            "notifications/progress" => self.hear_progress(message),
            "notifications/cancelled" => {
                let Some(id) = message.params.request_id else {
                    return;
                };
                let mut state = self.lock();
                state.early.retain(|question| !question.is(id));
                for conversation in state.calls.values_mut() {
                    conversation.questions.retain(|question| !question.is(id));
                }
            }
            "notifications/message" => self.hear_log(message),
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => {
                if let Some(leases) = self.home.leases.upgrade() {
                    leases.tell(&self.subject, message);
                }
            }
            _ => {
                debug!(parent: &self.span, "dropped a notification of the MCP server that belongs to no request");
            }
        }
    }

    fn hear_progress(&self, message: &Message<'_>) {
        let Some(token) = message.params.progress_token else {
            return;
        };
        let Ok(number) = token.get().parse::<u64>() else {
            return;
        };
        let mut state = self.lock();
        let waiting = state
            .calls
            .get_mut(&number)
            .and_then(|call| call.waiting.as_mut());
        let Some((_, request)) = waiting else {
            return;
        };
        let limits = self.home.limits;
        request.call.progressed(limits.patience, Instant::now());
        let Some(wanted) = request.call.token.clone() else {
            return;
        };
        let outward = splice(message.text, &mut [(message.range(token), &wanted)]);
        if !request.emit(&outward, limits.reader_bytes) {
            let lost = self.conclude(&mut state, number);
            drop(state);
            self.too_slow(number, lost);
        }
    }

    fn hear_log(&self, message: &Message<'_>) {
        #[derive(Deserialize)]
        struct Log<'a> {
            #[serde(borrow)]
            params: Params<'a>,
        }
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow)]
            level: &'a serde_json::value::RawValue,
        }
        // On a shared child nobody knows whose log this is.
        if !self.exclusive {
            return;
        }
        let level = serde_json::from_str::<Log<'_>>(message.text)
            .ok()
            .and_then(|log| Level::parse(&as_text(log.params.level)?));
        let mut state = self.lock();
        let Some((number, conversation)) = state.calls.iter_mut().next() else {
            return;
        };
        let (number, wanted) = (*number, conversation.level);
        if wanted.is_none_or(|wanted| level < Some(wanted)) {
            return;
        }
        let Some((_, request)) = conversation.waiting.as_mut() else {
            return;
        };
        let outward = splice(message.text, &mut []);
        if !request.emit(&outward, self.home.limits.reader_bytes) {
            let lost = self.conclude(&mut state, number);
            drop(state);
            self.too_slow(number, lost);
        }
    }

    fn too_slow(&self, number: u64, lost: Option<Conversation>) {
        drop(lost);
        self.home.calls.cancelled.inc();
        warn!(parent: &self.span, "a client reads too slowly: its request is cancelled");
        self.abandon(number, "the client reads too slowly");
    }

    /// Sends a request of our own.
    pub(super) fn send(
        &self,
        method: &str,
        params: &Value,
    ) -> oneshot::Receiver<Result<String, Arc<str>>> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            if let Some(how) = &state.ended {
                let _ = sender.send(Err(Arc::clone(how)));
                return answer;
            }
            state.last_number += 1;
            let number = state.last_number;
            state.own.insert(number, sender);
            number
        };
        let request = json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params });
        if let Err(error) = self.stdin.send(request.to_string().into_bytes())
            && let Some(sender) = self.lock().own.remove(&number)
        {
            let _ = sender.send(Err(error.to_string().into()));
        }
        answer
    }

    async fn wait(
        answer: oneshot::Receiver<Result<String, Arc<str>>>,
        limit: Duration,
    ) -> Result<String, Arc<str>> {
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the MCP server process is gone".into()),
            Err(_) => Err("the MCP server did not answer in time".into()),
        }
    }

    /// The child's answer to a request of our own, result or error; what went wrong when there is none.
    pub(super) async fn ask(&self, method: &str, params: &Value) -> Result<String, Arc<str>> {
        Self::wait(self.send(method, params), OWN).await
    }

    /// Like [`Self::ask`] for a request that was sent; was there a result?
    pub(super) async fn agreed(answer: oneshot::Receiver<Result<String, Arc<str>>>) -> bool {
        let answer = Self::wait(answer, OWN).await;
        answer.is_ok_and(|answer| Message::parse(&answer).is_ok_and(|message| !message.failed))
    }

    /// The handshake (MCP 2025-11-25, basic/lifecycle). Afterwards the child serves.
    pub async fn shake_hands(&self) -> Result<(), Arc<str>> {
        let params = json!({
            "protocolVersion": Version::V20251125.as_str(),
            "capabilities": self.profile.as_capabilities(),
            "clientInfo": client_info(),
        });
        let answer = Self::wait(self.send("initialize", &params), self.home.handshake).await?;
        let greeting = Greeting::read(&answer)
            .ok_or_else(|| Arc::from("the MCP server did not accept the handshake"))?;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.stdin
            .send(initialized.to_string().into_bytes())
            .map_err(|error| Arc::from(error.to_string()))?;
        if self.profile.roots {
            // A server that wants roots asks for them now; what it asks before it answers this is known before the first call.
            let _ = Self::wait(self.send("ping", &json!({})), PING).await;
        }
        let _ = self.greeting.set(greeting);
        Ok(())
    }

    /// From which severity on a leased child is to log.
    pub async fn set_level(&self, level: Level) {
        let params = json!({ "level": level.as_str() });
        if self.ask("logging/setLevel", &params).await.is_err() {
            debug!(parent: &self.span, "the MCP server did not take a log level");
        }
    }
}
