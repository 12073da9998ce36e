//! A language model without a mind, for programs that ask one what to do: it has them call one MCP tool, and then says what came
//! of it.
//!
//! It speaks the streaming answers of two APIs: Messages of Anthropic, Responses of `OpenAI`.

use actix_web::{HttpResponse, web};
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::served::Served;

/// A key for it. It takes any.
pub const KEY: &str = "sk-testkit-0123456789";

/// A running model; it stops when it is dropped.
#[derive(Debug)]
pub struct Model {
    served: Served,
}

/// The call that it wants made.
#[derive(Debug, Clone)]
struct Wanted {
    server: String,
    tool: String,
    arguments: Value,
}

impl Model {
    /// Starts on a free port. `server`: how the program under test knows the MCP server; `tool`, `arguments`: what is to be called.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start(server: &str, tool: &str, arguments: Value) -> Result<Self> {
        let wanted = web::Data::new(Wanted {
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments,
        });
        let listening = Served::start("the model", |_| {
            move |config: &mut web::ServiceConfig| {
                config
                    .app_data(wanted.clone())
                    .app_data(web::JsonConfig::default().limit(4 << 20))
                    .route("/v1/messages", web::post().to(messages))
                    .route("/v1/responses", web::post().to(responses));
            }
        });
        Ok(Self { served: listening? })
    }

    /// Its address, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.served.address)
    }
}

/// What both APIs are asked with, as far as it matters here. Programs ask for other things than the conversation, too, and then
/// offer no tools.
#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    tools: Vec<Offered>,
    /// The conversation at Anthropic.
    #[serde(default)]
    messages: Vec<Message>,
    /// The conversation at `OpenAI`.
    #[serde(default)]
    input: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Offered {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Parts(Vec<Item>),
    #[expect(dead_code, reason = "what a person said does not matter")]
    Text(String),
}

/// A part of a message, or an item of an input. A result has one of the two.
#[derive(Debug, Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    output: Value,
}

impl Request {
    fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|offered| offered.name == tool)
    }

    /// What is said in the end: the result, or that there is none.
    fn conclusion(&self, result: Option<&Value>) -> String {
        result.map_or_else(
            || format!("no tool was called; offered were {:?}", self.tools),
            Value::to_string,
        )
    }
}

/// Events as both APIs send them: the type stands before the data and in them.
fn stream<const N: usize>(events: [(&str, Value); N]) -> HttpResponse {
    let events = events.map(|(kind, mut event)| {
        if let Some(members) = event.as_object_mut() {
            members.insert("type".to_owned(), kind.into());
        }
        format!("event: {kind}\ndata: {event}\n\n")
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .body(events.concat())
}

/// Anthropic's API reference, "Messages" and "Streaming messages". Claude Code puts the server into the tool's name.
async fn messages(request: web::Json<Request>, wanted: web::Data<Wanted>) -> HttpResponse {
    let tool = format!("mcp__{}__{}", wanted.server, wanted.tool);
    let parts = request
        .messages
        .iter()
        .flat_map(|message| match &message.content {
            Content::Parts(parts) => parts.as_slice(),
            Content::Text(_) => &[],
        });
    let mut results = parts.filter(|part| part.kind == "tool_result");
    let (block, delta, stop) = match results.next_back() {
        None if request.offers(&tool) => (
            json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": wanted.arguments.to_string()}),
            "tool_use",
        ),
        result => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": request.conclusion(result.map(|part| &part.content))}),
            "end_turn",
        ),
    };
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    stream([
        (
            "message_start",
            json!({"message": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": request.model, "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": usage,
            }}),
        ),
        (
            "content_block_start",
            json!({"index": 0, "content_block": block}),
        ),
        ("content_block_delta", json!({"index": 0, "delta": delta})),
        ("content_block_stop", json!({"index": 0})),
        (
            "message_delta",
            json!({"delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage}),
        ),
        ("message_stop", json!({})),
    ])
}

/// `OpenAI`'s API reference, "Responses" and "Streaming events". Codex makes a namespace of the server.
async fn responses(request: web::Json<Request>, wanted: web::Data<Wanted>) -> HttpResponse {
    let namespace = format!("mcp__{}", wanted.server);
    let mut results = request
        .input
        .iter()
        .filter(|item| item.kind == "function_call_output");
    let item = match results.next_back() {
        None if request.offers(&namespace) => json!({
            "type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed",
            "namespace": namespace, "name": wanted.tool, "arguments": wanted.arguments.to_string(),
        }),
        result => json!({
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{
                "type": "output_text", "text": request.conclusion(result.map(|item| &item.output)), "annotations": [],
            }],
        }),
    };
    let response = |status: &str, output: &[&Value]| {
        json!({"response": {
            "id": "resp_1", "object": "response", "status": status, "model": request.model, "output": output,
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
        }})
    };
    stream([
        ("response.created", response("in_progress", &[])),
        (
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
        ),
        ("response.completed", response("completed", &[&item])),
    ])
}
