//! A stdio MCP server of the revisions up to 2025-11-25 that does what each call tells it to, for the tests of translation.
//!
//! Every call of a tool, prompt or resource is a list of steps: in the argument `steps`, or, where there are no arguments, as JSON
//! in `name` or `uri`. `"$ID"` and `"$TOKEN"` in what it sends stand for the id and the progress token of the call.
//!
//! - `{"send": MESSAGE}`: writes a message;
//! - `{"raw": TEXT}`: writes a line as it is, after the same replacements;
//! - `{"await": [ID, …]}`: goes on when responses with these ids have come;
//! - `{"answer": RESULT}`, `{"error": ERROR}`: answers the call;
//! - `{"heard": null}`: answers with the process id and everything that was heard;
//! - `{"exit": STATUS}`: ends.
//!
//! Flags: `--capabilities JSON`; `--greet MESSAGE`, sent after the handshake; `--journal FILE`: appends each line that is
//! heard, behind the process id; `--refuse METHOD`: answers it with an error.

#![expect(clippy::print_stdout, reason = "stdout is the transport")]
#![expect(
    clippy::indexing_slicing,
    reason = "a member that a JSON value does not have is null"
)]

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

struct Call {
    id: Value,
    token: Value,
    steps: VecDeque<Value>,
}

#[derive(Default)]
struct Server {
    capabilities: Value,
    greetings: Vec<Value>,
    refused: Vec<String>,
    journal: Option<File>,
    heard: Vec<Value>,
    /// Ids of the responses that came.
    answered: HashSet<String>,
    calls: Vec<Call>,
}

fn main() -> ExitCode {
    let mut server = Server {
        capabilities: json!({ "tools": {}, "prompts": {}, "resources": {} }),
        ..Server::default()
    };
    let mut arguments = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        match flag.as_str() {
            "--capabilities" => {
                server.capabilities = serde_json::from_str(&value).unwrap_or_default();
            }
            "--greet" => server
                .greetings
                .extend(serde_json::from_str::<Value>(&value)),
            "--refuse" => server.refused.push(value),
            "--journal" => {
                server.journal = File::options().create(true).append(true).open(value).ok();
            }
            _ => return ExitCode::from(2),
        }
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if let Some(journal) = &mut server.journal {
            // A test that waits for the line says so when it does not come.
            let _ = writeln!(journal, "{} {line}", std::process::id());
        }
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        server.heard.push(message.clone());
        server.take(&message);
        if let Some(status) = server.advance() {
            return status;
        }
    }
    ExitCode::SUCCESS
}

fn send(message: &Value) {
    println!("{message}");
}

fn result(id: &Value, result: &Value) {
    send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

impl Server {
    fn take(&mut self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        let Some(method) = message["method"].as_str() else {
            self.answered.insert(id.to_string());
            return;
        };
        let steps = |text: &Value| {
            let steps = text
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok());
            steps.unwrap_or_default()
        };
        let steps: Value = match method {
            _ if self.refused.iter().any(|refused| refused == method) => {
                let error = json!({ "code": -32602, "message": "refused" });
                return send(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            }
            "notifications/initialized" => return self.greetings.iter().for_each(send),
            "notifications/cancelled" => {
                return self.calls.retain(|call| call.id != params["requestId"]);
            }
            "initialize" => {
                return result(
                    id,
                    &json!({ "protocolVersion": params["protocolVersion"], "capabilities": self.capabilities,
                    "serverInfo": { "name": "told-server", "version": "1" }, "instructions": "Tell it." }),
                );
            }
            "tools/list" => {
                let schema = json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
                return result(
                    id,
                    &json!({ "tools": [{ "name": "do", "inputSchema": schema }] }),
                );
            }
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                return result(id, &json!({}));
            }
            "tools/call" => params["arguments"]["steps"].clone(),
            "prompts/get" => steps(&params["name"]),
            "resources/read" => steps(&params["uri"]),
            _ if id.is_null() => return,
            _ => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                return send(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            }
        };
        self.calls.push(Call {
            id: id.clone(),
            token: params["_meta"]["progressToken"].clone(),
            steps: steps.as_array().cloned().unwrap_or_default().into(),
        });
    }

    /// Takes the steps of all calls as far as they go.
    fn advance(&mut self) -> Option<ExitCode> {
        let mut calls = std::mem::take(&mut self.calls);
        for call in &mut calls {
            while let Some(step) = call.steps.front() {
                let awaited = step["await"].as_array();
                if awaited.is_some_and(|ids| {
                    !ids.iter().all(|id| self.answered.contains(&id.to_string()))
                }) {
                    break;
                }
                let filled = step
                    .to_string()
                    .replace("\"$ID\"", &call.id.to_string())
                    .replace("\"$TOKEN\"", &call.token.to_string());
                let step: Value = serde_json::from_str(&filled).unwrap_or_default();
                if let Some(message) = step.get("send") {
                    if message["method"].is_string() {
                        // What is asked again waits for a new answer.
                        self.answered.remove(&message["id"].to_string());
                    }
                    send(message);
                } else if let Some(text) = step["raw"].as_str() {
                    println!("{}", text.replace("$ID", &call.id.to_string()));
                } else if let Some(answer) = step.get("answer") {
                    result(&call.id, answer);
                } else if let Some(error) = step.get("error") {
                    send(&json!({ "jsonrpc": "2.0", "id": call.id, "error": error }));
                } else if step.get("heard").is_some() {
                    result(
                        &call.id,
                        &json!({ "pid": std::process::id(), "heard": self.heard }),
                    );
                } else if let Some(status) = step["exit"].as_u64() {
                    return Some(ExitCode::from(u8::try_from(status).unwrap_or(1)));
                }
                call.steps.pop_front();
            }
        }
        calls.retain(|call| !call.steps.is_empty());
        self.calls = calls;
        None
    }
}
