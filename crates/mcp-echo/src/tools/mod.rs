//! The tools and what the process remembers between their calls.

mod schema;
pub(crate) mod timing;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::facts::Facts;
use crate::protocol::{Asker, Refusal};

pub(crate) use schema::list;

/// A call of a tool.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    arguments: Map<String, Value>,
    progress_token: Option<Value>,
}

impl Call {
    /// Reads the parameters of `tools/call`.
    pub(crate) fn parse(params: &Map<String, Value>) -> Result<Self, Refusal> {
        let Some(name) = params.get("name").and_then(Value::as_str) else {
            return Err(Refusal::invalid_params("name must be a string"));
        };
        let arguments = match params.get("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments.clone(),
            Some(_) => return Err(Refusal::invalid_params("arguments must be an object")),
        };
        let progress_token = params
            .get("_meta")
            .and_then(|meta| meta.get("progressToken"))
            .cloned();
        Ok(Self {
            name: name.to_owned(),
            arguments,
            progress_token,
        })
    }
}

/// What a tool does with a call.
pub(crate) enum Outcome {
    /// It is done.
    Result(Value),
    /// It waits first.
    Wait(timing::Plan),
}

/// What this process knows and remembers.
#[derive(Debug)]
pub(crate) struct Memory {
    facts: Facts,
    last_echo: Option<String>,
    calls: BTreeMap<String, u64>,
    /// Requests that came in, refused ones included.
    pub(crate) requests: u64,
    /// Requests and lines that were answered with an error.
    pub(crate) refused: u64,
    /// Calls that were cancelled while they waited.
    pub(crate) cancelled: u64,
}

impl Memory {
    /// Nothing remembered yet.
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            facts,
            last_echo: None,
            calls: BTreeMap::new(),
            requests: 0,
            refused: 0,
            cancelled: 0,
        }
    }

    /// Runs a tool. An unknown tool is an error of the protocol; wrong arguments are a result that says so, because the model that
    /// chose them reads results (MCP 2025-11-25, Tools, Error Handling).
    pub(crate) fn call(&mut self, call: &Call, asker: &Asker) -> Result<Outcome, Refusal> {
        let result = match call.name.as_str() {
            "echo" => match call.arguments.get("message") {
                Some(Value::String(message)) => {
                    self.last_echo = Some(message.clone());
                    success(message)
                }
                _ => failure("message must be a string"),
            },
            "replay_last" => match &self.last_echo {
                Some(message) => success(message),
                None => failure("Nothing was echoed by this process yet: call echo first."),
            },
            timing::NAME => match timing::Plan::parse(&call.arguments, call.progress_token.clone())
            {
                Ok(plan) => {
                    self.count(&call.name);
                    return Ok(Outcome::Wait(plan));
                }
                Err(wrong) => failure(&wrong),
            },
            "health" => structured(
                &json!({"status": "ok", "version": env!("CARGO_PKG_VERSION"), "uptime_ms": self.uptime_ms()}),
                asker,
            ),
            "stats" => {
                // The call that asks counts too.
                self.count(&call.name);
                return Ok(Outcome::Result(structured(&self.stats(), asker)));
            }
            "whoami" => structured(&self.whoami(asker), asker),
            "environment" => structured(&self.environment(), asker),
            unknown => {
                return Err(Refusal::invalid_params(format!("Unknown tool: {unknown}")));
            }
        };
        self.count(&call.name);
        Ok(Outcome::Result(result))
    }

    fn count(&mut self, name: &str) {
        *self.calls.entry(name.to_owned()).or_default() += 1;
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.facts.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn stats(&self) -> Value {
        json!({
            "process": std::process::id(),
            "uptime_ms": self.uptime_ms(),
            "requests": self.requests,
            "refused": self.refused,
            "cancelled": self.cancelled,
            "calls": self.calls,
        })
    }

    fn whoami(&self, asker: &Asker) -> Value {
        json!({
            "process": std::process::id(),
            "parent_process": std::os::unix::process::parent_id(),
            "arguments": self.facts.arguments,
            "directory": self.facts.directory,
            "uptime_ms": self.uptime_ms(),
            "protocol": {
                "version": asker.version,
                "era": if asker.is_modern() { "modern" } else { "legacy" },
            },
            "client": asker.client,
            "client_capabilities": asker.capabilities,
            "identity": "The name of the person comes to the proxy, in headers, and not to a server on stdio. \
                         If a server must know, the proxy's configuration can put {user.id} or {user.login} \
                         into its arguments or environment: look there.",
        })
    }

    fn environment(&self) -> Value {
        let shown: BTreeMap<&str, &str> = self
            .facts
            .environment
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
            .collect();
        let hidden: Vec<&str> = self
            .facts
            .environment
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        json!({
            "shown": shown,
            "hidden": hidden,
            "note": "Values of other variables are never shown. Begin a name with MCP_ECHO_ to see its value.",
        })
    }
}

fn success(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// A result that tells the model what went wrong.
pub(crate) fn failure(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": true})
}

/// The same facts as text and, for clients that read it, as data.
fn structured(facts: &Value, asker: &Asker) -> Value {
    let mut result = success(&format!("{facts:#}"));
    if let (true, Some(members)) = (asker.reads_structured_content(), result.as_object_mut()) {
        members.insert("structuredContent".to_owned(), facts.clone());
    }
    result
}
