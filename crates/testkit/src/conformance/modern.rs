//! The revision 2026-07-28: every request carries its `_meta`, and the server never sends requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::call::{Call, Failure, Outcome, Peer};
use super::calls::Calls;
use super::catalogue::{Catalogue, Change};
use super::legacy::LEVELS;
use super::message::{self, RpcError};
use super::transport::Outbox;
use super::{INSTRUCTIONS, capabilities, locked, prompts, resources, server_info, tools};

const REVISION: &str = "2026-07-28";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// How long a client may keep what these methods answer. Not 0, so that a bridge that invents the value is seen.
const TTL_MS: u32 = 1500;
const CACHEABLE: [&str; 6] = [
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// Whether a process that gets this as its first request serves the older revisions.
pub(super) fn opens_legacy(message: &Value) -> bool {
    message.get("method").and_then(Value::as_str) == Some("initialize")
        && message
            .get("params")
            .and_then(|params| params.get("_meta"))
            .and_then(|meta| meta.get(VERSION))
            .is_none()
}

/// What a request says about its sender.
pub(super) struct Meta {
    capabilities: Map<String, Value>,
    /// Index in [`LEVELS`]; without it nothing is logged.
    level: Option<usize>,
}

impl Meta {
    fn read(params: &Value) -> Result<Self, RpcError> {
        let meta = params.get("_meta").and_then(Value::as_object);
        let meta =
            meta.ok_or_else(|| RpcError::invalid_params("`_meta` is missing or not an object"))?;
        let missing = |name: &str| RpcError::invalid_params(format!("`_meta` lacks {name}"));
        let version = meta
            .get(VERSION)
            .and_then(Value::as_str)
            .ok_or_else(|| missing(VERSION))?;
        if version != REVISION {
            return Err(unsupported(version));
        }
        let capabilities = meta
            .get(CLIENT_CAPABILITIES)
            .and_then(Value::as_object)
            .ok_or_else(|| missing(CLIENT_CAPABILITIES))?;
        let level = match meta.get(LOG_LEVEL) {
            None => None,
            Some(level) => {
                let severity = LEVELS
                    .iter()
                    .position(|known| level.as_str() == Some(known));
                Some(severity.ok_or_else(|| {
                    RpcError::invalid_params(format!("unknown log level: {level}"))
                })?)
            }
        };
        Ok(Self {
            capabilities: capabilities.clone(),
            level,
        })
    }

    pub(super) fn declared(&self, capability: &str) -> bool {
        self.capabilities.contains_key(capability)
    }

    pub(super) fn logs(&self, level: &str) -> bool {
        self.level
            .is_some_and(|wanted| LEVELS.iter().position(|known| *known == level) >= Some(wanted))
    }
}

fn unsupported(version: &str) -> RpcError {
    let data = json!({ "supported": [REVISION], "requested": version });
    RpcError::new(-32022, format!("Unsupported protocol version: {version}")).with_data(data)
}

/// An open `subscriptions/listen`.
struct Listen {
    id: Value,
    filter: Value,
}

pub(super) struct Server {
    pub(super) outbox: Outbox,
    calls: Calls,
    catalogue: Catalogue,
    /// By the JSON text of the request's id.
    listens: Mutex<BTreeMap<String, Listen>>,
}

impl Server {
    pub(super) fn new(outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            outbox,
            calls: Calls::default(),
            catalogue: Catalogue::default(),
            listens: Mutex::new(BTreeMap::new()),
        })
    }

    pub(super) async fn receive(self: Arc<Self>, message: Value) {
        let Some(method) = message
            .get("method")
            .and_then(Value::as_str)
            .map(str::to_owned)
        else {
            // This server asks nothing, so a response is not for it.
            return;
        };
        let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
        match message.get("id").cloned() {
            Some(id) if method == "subscriptions/listen" => self.listen(id, &params).await,
            Some(id) => {
                let server = Arc::clone(&self);
                self.calls.spawn(&id.clone(), async move {
                    let answer = match server.answer(&method, &params).await {
                        Ok(result) => message::result(&id, &result),
                        Err(error) => message::error(&id, &error),
                    };
                    server.outbox.send(answer).await;
                });
            }
            None if method == "notifications/cancelled" => {
                let listen = params.get("requestId").map(Value::to_string);
                if listen
                    .and_then(|id| locked(&self.listens).remove(&id))
                    .is_none()
                {
                    self.calls.cancel(&params);
                }
            }
            None => {}
        }
    }

    async fn answer(self: &Arc<Self>, method: &str, params: &Value) -> Result<Value, RpcError> {
        if method == "initialize"
            && params
                .get("_meta")
                .and_then(|meta| meta.get(VERSION))
                .is_none()
        {
            // As servers on the Python `mcp` 2.3 answer: the two eras never share a process.
            let asked = params
                .get("protocolVersion")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(unsupported(asked));
        }
        let meta = Meta::read(params)?;
        let result = match method {
            "server/discover" => json!({
                "supportedVersions": [REVISION],
                "capabilities": capabilities(),
                "instructions": INSTRUCTIONS,
            }),
            "tools/list" => tools::list(&self.catalogue),
            "tools/call" => {
                let call = Call::new(Peer::Modern(Arc::clone(self), meta), "tools/call", params)?;
                or_input_required(tools::call(&call, params).await)?
            }
            "prompts/list" => prompts::list(&self.catalogue),
            "prompts/get" => {
                let call = Call::new(Peer::Modern(Arc::clone(self), meta), "prompts/get", params)?;
                or_input_required(prompts::get(&call, params).await)?
            }
            "completion/complete" => prompts::complete(params)?,
            "resources/list" => resources::list(),
            "resources/templates/list" => resources::templates(),
            "resources/read" => resources::read(params, -32602)?,
            _ => return Err(RpcError::method_not_found(method)),
        };
        Ok(completed(method, result))
    }

    /// Opens a stream of notifications: the acknowledgement first, then what the filter names.
    async fn listen(&self, id: Value, params: &Value) {
        let filter = match Meta::read(params) {
            Ok(_) => params.get("notifications").filter(|it| it.is_object()),
            Err(error) => return self.outbox.send(message::error(&id, &error)).await,
        };
        let Some(filter) = filter else {
            let error = RpcError::invalid_params("`notifications` is missing or not an object");
            return self.outbox.send(message::error(&id, &error)).await;
        };
        let honoured =
            json!({ "_meta": { SUBSCRIPTION_ID: id }, "notifications": honoured(filter) });
        self.outbox
            .send(message::notification(
                "notifications/subscriptions/acknowledged",
                &honoured,
            ))
            .await;
        locked(&self.listens).insert(
            id.to_string(),
            Listen {
                id,
                filter: filter.clone(),
            },
        );
    }

    pub(super) async fn change(&self, change: &Change) {
        self.catalogue.apply(change);
        let ids: Vec<Value> = locked(&self.listens)
            .values()
            .filter(|listen| wants(&listen.filter, change))
            .map(|listen| listen.id.clone())
            .collect();
        for id in ids {
            let mut params = change.params();
            if let Some(params) = params.as_object_mut() {
                params.insert("_meta".to_owned(), json!({ SUBSCRIPTION_ID: id }));
            }
            self.outbox
                .send(message::notification(change.method(), &params))
                .await;
        }
    }
}

/// The part of a filter that this server knows. Its list of resources never changes, so that is no promise it makes.
fn honoured(filter: &Value) -> Value {
    let known = [
        "toolsListChanged",
        "promptsListChanged",
        "resourceSubscriptions",
    ];
    let part: Map<String, Value> = known
        .iter()
        .filter_map(|name| {
            filter
                .get(name)
                .map(|value| ((*name).to_owned(), value.clone()))
        })
        .collect();
    Value::Object(part)
}

fn wants(filter: &Value, change: &Change) -> bool {
    let on = |name: &str| filter.get(name).and_then(Value::as_bool) == Some(true);
    match change {
        Change::Tools => on("toolsListChanged"),
        Change::Prompts => on("promptsListChanged"),
        Change::Resource(uri) => {
            let uris = filter
                .get("resourceSubscriptions")
                .and_then(Value::as_array);
            uris.is_some_and(|uris| uris.iter().any(|it| it.as_str() == Some(uri)))
        }
    }
}

/// An `InputRequiredResult` is a result too.
fn or_input_required(outcome: Outcome) -> Result<Value, RpcError> {
    match outcome {
        Ok(result) => Ok(result),
        Err(Failure::Rpc(error)) => Err(error),
        Err(Failure::Work(text)) => Err(RpcError::new(-32603, text)),
        Err(Failure::InputRequired { requests, state }) => {
            let mut result = json!({ "resultType": "input_required", "inputRequests": requests });
            if let (Some(result), Some(state)) = (result.as_object_mut(), state) {
                result.insert("requestState".to_owned(), Value::String(state));
            }
            Ok(result)
        }
    }
}

/// Adds what every result of this revision says.
fn completed(method: &str, mut result: Value) -> Value {
    if let Some(result) = result.as_object_mut() {
        result
            .entry("resultType")
            .or_insert_with(|| json!("complete"));
        result.insert("_meta".to_owned(), json!({ SERVER_INFO: server_info() }));
        if CACHEABLE.contains(&method) {
            result.insert("ttlMs".to_owned(), json!(TTL_MS));
            result.insert("cacheScope".to_owned(), json!("private"));
        }
    }
    result
}
