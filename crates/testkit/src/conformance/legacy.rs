//! The revisions 2024-11-05 to 2025-11-25: `initialize`, then requests in both directions.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::call::{Call, Failure, Outcome, Peer};
use super::calls::Calls;
use super::catalogue::{Catalogue, Change};
use super::inputs::{Answers, Ask};
use super::message::{self, RpcError};
use super::pending::Pending;
use super::transport::Outbox;
use super::{INSTRUCTIONS, capabilities, locked, prompts, resources, server_info, tools};

/// Newest first: a client that asks for anything else is offered the newest.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Levels of RFC 5424 section 6.2.1, least severe first.
pub(super) const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

pub(super) struct Server {
    pub(super) outbox: Outbox,
    pending: Pending,
    calls: Calls,
    catalogue: Catalogue,
    /// Capabilities of the client; `None` before `initialize`.
    client: Mutex<Option<Value>>,
    level: Mutex<usize>,
    watched: Mutex<HashSet<String>>,
}

impl Server {
    pub(super) fn new(outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            outbox,
            pending: Pending::default(),
            calls: Calls::default(),
            catalogue: Catalogue::default(),
            client: Mutex::new(None),
            level: Mutex::new(0),
            watched: Mutex::new(HashSet::new()),
        })
    }

    #[expect(clippy::unused_async, reason = "the modern server waits here")]
    pub(super) async fn receive(self: Arc<Self>, message: Value) {
        let method = message
            .get("method")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
        match (message.get("id").cloned(), method) {
            (Some(id), Some(method)) => {
                let server = Arc::clone(&self);
                self.calls.spawn(&id.clone(), async move {
                    let answer = match server.answer(&method, &params).await {
                        Ok(result) => message::result(&id, &result),
                        Err(error) => message::error(&id, &error),
                    };
                    server.outbox.send(answer).await;
                });
            }
            (Some(_), None) => self.pending.answer(message),
            (None, Some(method)) if method == "notifications/cancelled" => {
                self.calls.cancel(&params);
            }
            (None, _) => {}
        }
    }

    async fn answer(self: &Arc<Self>, method: &str, params: &Value) -> Result<Value, RpcError> {
        match method {
            "initialize" => return self.initialize(params),
            "ping" => return Ok(json!({})),
            // Also `server/discover`, by which a client finds out that this server is of the older kind.
            _ if !known(method) => return Err(RpcError::method_not_found(method)),
            _ if locked(&self.client).is_none() => {
                return Err(RpcError::invalid_request("`initialize` comes first"));
            }
            _ => {}
        }
        match method {
            "logging/setLevel" => self.set_level(params),
            "tools/list" => Ok(tools::list(&self.catalogue)),
            "tools/call" => {
                let call = Call::new(Peer::Legacy(Arc::clone(self)), "tools/call", params)?;
                rpc(tools::call(&call, params).await)
            }
            "prompts/list" => Ok(prompts::list(&self.catalogue)),
            "prompts/get" => {
                let call = Call::new(Peer::Legacy(Arc::clone(self)), "prompts/get", params)?;
                rpc(prompts::get(&call, params).await)
            }
            "completion/complete" => prompts::complete(params),
            "resources/list" => Ok(resources::list()),
            "resources/templates/list" => Ok(resources::templates()),
            // Until 2025-11-25 an unknown resource is -32002.
            "resources/read" => resources::read(params, -32002),
            "resources/subscribe" => {
                locked(&self.watched).insert(message::text(params, "uri")?.to_owned());
                Ok(json!({}))
            }
            _ => {
                locked(&self.watched).remove(message::text(params, "uri")?);
                Ok(json!({}))
            }
        }
    }

    fn initialize(&self, params: &Value) -> Result<Value, RpcError> {
        let asked = message::text(params, "protocolVersion")?;
        let declared = params.get("capabilities").filter(|it| it.is_object());
        let declared = declared.ok_or_else(|| {
            RpcError::invalid_params("`capabilities` is missing or not an object")
        })?;
        let mut client = locked(&self.client);
        if client.is_some() {
            return Err(RpcError::invalid_request(
                "this connection is initialized already",
            ));
        }
        *client = Some(declared.clone());
        let [newest, ..] = REVISIONS;
        let revision = REVISIONS
            .into_iter()
            .find(|revision| *revision == asked)
            .unwrap_or(newest);
        Ok(json!({
            "protocolVersion": revision,
            "capabilities": capabilities(),
            "serverInfo": server_info(),
            "instructions": INSTRUCTIONS,
        }))
    }

    fn set_level(&self, params: &Value) -> Result<Value, RpcError> {
        let level = message::text(params, "level")?;
        let severity = LEVELS.iter().position(|known| *known == level);
        *locked(&self.level) = severity
            .ok_or_else(|| RpcError::invalid_params(format!("unknown log level: {level}")))?;
        Ok(json!({}))
    }

    /// Everything is logged until the client sets a level: what a client does not want is for it, or its bridge, to drop.
    pub(super) fn logs(&self, level: &str) -> bool {
        LEVELS.iter().position(|known| *known == level) >= Some(*locked(&self.level))
    }

    pub(super) fn declared(&self, capability: &str) -> bool {
        locked(&self.client)
            .as_ref()
            .is_some_and(|client| client.get(capability).is_some())
    }

    pub(super) async fn change(&self, change: &Change) {
        self.catalogue.apply(change);
        if let Change::Resource(uri) = change
            && !locked(&self.watched).contains(uri)
        {
            return;
        }
        self.outbox
            .send(message::notification(change.method(), &change.params()))
            .await;
    }

    /// Pushes all questions at once and waits for all answers.
    pub(super) async fn ask(&self, asks: &[Ask]) -> Result<Answers, Failure> {
        let mut waiters = Vec::new();
        for ask in asks {
            let waiter = self.pending.enter(ask.key);
            self.outbox
                .send(message::request(&waiter.id, ask.method, &ask.params))
                .await;
            waiters.push((ask, waiter));
        }
        let mut answers = Answers::new();
        for (ask, mut waiter) in waiters {
            let response = waiter.response().await.unwrap_or_default();
            let Some(answer) = response.get("result") else {
                let error = response
                    .pointer("/error/message")
                    .and_then(Value::as_str)
                    .unwrap_or("no result");
                return Err(Failure::Work(format!(
                    "the client did not answer {}: {error}",
                    ask.method
                )));
            };
            ask.check(answer)?;
            answers.insert(ask.key.to_owned(), answer.clone());
        }
        Ok(answers)
    }
}

fn known(method: &str) -> bool {
    matches!(
        method,
        "logging/setLevel"
            | "tools/list"
            | "tools/call"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
    )
}

fn rpc(outcome: Outcome) -> Result<Value, RpcError> {
    outcome.map_err(|failure| match failure {
        Failure::Rpc(error) => error,
        Failure::Work(text) => RpcError::new(-32603, text),
        Failure::InputRequired { .. } => RpcError::new(-32603, "input required before 2026-07-28"),
    })
}
