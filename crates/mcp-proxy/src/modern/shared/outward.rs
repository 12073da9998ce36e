//! What the child says goes to the request it answers or names (the rules stand at [`super`]).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::calls::cancellation;
use crate::child::{Ended, Listener};
use crate::jsonrpc::{Edit, Kind, Message, code, error_response, splice};
use crate::modern::request::OfTools;
use crate::modern::shared::Shared;
use crate::tools::announce;

impl Shared {
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
        let mut honoured = None;
        if message.method == "notifications/subscriptions/acknowledged"
            && request.of_tools == OfTools::Wanted
        {
            let narrow = self.tools.now().narrow();
            honoured = narrow.then(|| announce::honoured(message)).flatten();
            if honoured.is_some() || announce::is_honoured(message) {
                request.of_tools = OfTools::Promised;
            }
        }
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
