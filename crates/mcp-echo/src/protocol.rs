//! What MCP fixes: revisions, error codes, the shape of requests and results.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// The latest revision that begins with `initialize`.
const LATEST_LEGACY: &str = "2025-11-25";

/// The first revision of all.
const OLDEST_LEGACY: &str = "2024-11-05";

/// Revisions that begin with `initialize`.
const LEGACY: [&str; 4] = [LATEST_LEGACY, "2025-06-18", WITH_BATCHES, OLDEST_LEGACY];

/// The revision in which each request names its own version (MCP 2026-07-28, Versioning).
pub(crate) const MODERN: &str = "2026-07-28";

/// The one revision in which several messages may stand in one array.
pub(crate) const WITH_BATCHES: &str = "2025-03-26";

/// The first revision with `structuredContent`.
const WITH_STRUCTURED_CONTENT: &str = "2025-06-18";

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT_INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// For how long a client may keep a list: it changes only with the version of this program.
const LIST_TTL_MS: u64 = 300_000;

/// Which revisions the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Eras {
    /// Up to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
    /// Whatever the client speaks.
    Both,
}

/// An error answer of JSON-RPC.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl Refusal {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// -32700: not JSON.
    pub(crate) fn parse_error(message: impl Into<String>) -> Self {
        Self::new(-32700, message)
    }

    /// -32600: JSON, but no message.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    /// -32601: a method this server does not have.
    pub(crate) fn unknown_method(method: &str) -> Self {
        Self::new(-32601, format!("Method not found: {method}"))
    }

    /// -32602: wrong parameters.
    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    /// -32022: a revision this server does not speak (MCP 2026-07-28, Versioning).
    fn unsupported_version(requested: &str) -> Self {
        Self {
            code: -32022,
            message: format!("Unsupported protocol version: {requested}"),
            data: Some(json!({"supported": [MODERN], "requested": requested})),
        }
    }

    /// The whole message.
    pub(crate) fn answer(self, id: &Value) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(data), Some(members)) = (self.data, error.as_object_mut()) {
            members.insert("data".to_owned(), data);
        }
        json!({"jsonrpc": "2.0", "id": id, "error": error})
    }
}

/// A message that came in.
#[derive(Debug)]
pub(crate) enum Message {
    /// Wants an answer.
    Request {
        /// A text or a whole number.
        id: Value,
        method: String,
        params: Map<String, Value>,
    },
    /// Wants none.
    Notification {
        method: String,
        params: Map<String, Value>,
    },
    /// An answer to a request: this server asks nothing, so there is nothing to do.
    Answer,
}

impl Message {
    /// Reads a message; the error answer is for the id that could be read, or `null`.
    pub(crate) fn parse(value: Value) -> Result<Self, Value> {
        let Value::Object(mut members) = value else {
            return Err(Refusal::invalid_request("A message is a JSON object").answer(&Value::Null));
        };
        let id = members.remove("id");
        let readable_id = id.clone().filter(is_id).unwrap_or(Value::Null);
        let refuse = |message: &str| Refusal::invalid_request(message).answer(&readable_id);
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(refuse("\"jsonrpc\" must be \"2.0\""));
        }
        let method = match members.remove("method") {
            Some(Value::String(method)) => method,
            None if members.contains_key("result") || members.contains_key("error") => {
                return Ok(Self::Answer);
            }
            _ => return Err(refuse("\"method\" must be a string")),
        };
        let params = match members.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(refuse("\"params\" must be an object")),
        };
        match id {
            None => Ok(Self::Notification { method, params }),
            Some(id) if is_id(&id) => Ok(Self::Request { id, method, params }),
            Some(_) => Err(refuse("\"id\" must be a string or a whole number")),
        }
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

/// Under which revision a request is to be answered, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) version: String,
    pub(crate) client: Value,
    pub(crate) capabilities: Value,
}

impl Asker {
    /// What a modern request says of itself in `_meta`; `None` if it is not a modern one.
    pub(crate) fn of_modern(
        method: &str,
        params: &Map<String, Value>,
    ) -> Result<Option<Self>, Refusal> {
        let meta = params.get("_meta").and_then(Value::as_object);
        let version = meta.and_then(|meta| meta.get(VERSION_KEY));
        let version = match version {
            Some(Value::String(version)) => version,
            Some(_) => {
                return Err(Refusal::invalid_params(format!(
                    "_meta: {VERSION_KEY} must be a string"
                )));
            }
            None if method == "server/discover" => {
                return Err(Refusal::invalid_params(format!(
                    "_meta: {VERSION_KEY} is missing"
                )));
            }
            None => return Ok(None),
        };
        if version != MODERN {
            return Err(Refusal::unsupported_version(version));
        }
        let member = |key| meta.and_then(|meta| meta.get(key));
        let Some(capabilities) = member(CAPABILITIES_KEY).filter(|value| value.is_object()) else {
            return Err(Refusal::invalid_params(format!(
                "_meta: {CAPABILITIES_KEY} must be an object"
            )));
        };
        Ok(Some(Self {
            version: version.clone(),
            client: member(CLIENT_INFO_KEY).cloned().unwrap_or_default(),
            capabilities: capabilities.clone(),
        }))
    }

    /// What `initialize` says: the asked revision if this server speaks it, else the latest (MCP 2025-11-25, Lifecycle).
    pub(crate) fn of_initialize(params: &Map<String, Value>) -> Result<Self, Refusal> {
        let Some(asked) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(Refusal::invalid_params("protocolVersion must be a string"));
        };
        let version = LEGACY
            .into_iter()
            .find(|version| *version == asked)
            .unwrap_or(LATEST_LEGACY);
        Ok(Self {
            version: version.to_owned(),
            client: params.get("clientInfo").cloned().unwrap_or_default(),
            capabilities: params.get("capabilities").cloned().unwrap_or_default(),
        })
    }

    /// Somebody who sends requests without having said anything: answered as the oldest revision.
    pub(crate) fn unknown() -> Self {
        Self {
            version: OLDEST_LEGACY.to_owned(),
            client: Value::Null,
            capabilities: Value::Null,
        }
    }

    /// Whether the request is of the revision without a handshake.
    pub(crate) fn is_modern(&self) -> bool {
        self.version == MODERN
    }

    /// Whether a result may have `structuredContent`.
    pub(crate) fn reads_structured_content(&self) -> bool {
        self.version.as_str() >= WITH_STRUCTURED_CONTENT
    }

    /// Adds what every result has in this revision.
    pub(crate) fn finish(&self, result: Value) -> Value {
        let Value::Object(mut result) = result else {
            return result;
        };
        if self.is_modern() {
            result.insert("resultType".to_owned(), json!("complete"));
            result.insert("_meta".to_owned(), json!({SERVER_INFO_KEY: server_info()}));
        }
        Value::Object(result)
    }

    /// The same for a result that may be kept for a while.
    ///
    /// `private`, although the list is the same for everybody: a gateway in front may show each person another part of it.
    pub(crate) fn finish_list(&self, mut result: Value) -> Value {
        if let (true, Some(members)) = (self.is_modern(), result.as_object_mut()) {
            members.insert("ttlMs".to_owned(), json!(LIST_TTL_MS));
            members.insert("cacheScope".to_owned(), json!("private"));
        }
        self.finish(result)
    }
}

/// Name and version of this server.
pub(crate) fn server_info() -> Value {
    json!({"name": "mcp-echo", "title": "MCP echo", "version": env!("CARGO_PKG_VERSION")})
}

/// What this server can do: it has tools, and their list never changes.
pub(crate) fn capabilities() -> Value {
    json!({"tools": {"listChanged": false}})
}
