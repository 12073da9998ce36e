//! The tools: which there are, and what those do that need nothing from the client.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::call::{Call, Failure, Outcome};
use super::catalogue::{Catalogue, Change};
use super::content;
use super::message::RpcError;
use super::questions;

/// The suite wants pauses between the notifications of one call, so that they are seen to arrive during it.
const PAUSE: Duration = Duration::from_millis(50);

/// Tools without arguments: name and description.
const PLAIN: [(&str, &str); 26] = [
    ("test_simple_text", "Returns a text"),
    ("test_image_content", "Returns a picture"),
    ("test_audio_content", "Returns a sound"),
    ("test_embedded_resource", "Returns an embedded resource"),
    (
        "test_multiple_content_types",
        "Returns text, picture and resource",
    ),
    ("test_error_handling", "Always fails"),
    ("test_tool_with_logging", "Logs three times while it works"),
    (
        "test_tool_with_progress",
        "Reports progress three times while it works",
    ),
    (
        "test_elicitation_sep1034_defaults",
        "Asks the user with a default for every primitive type",
    ),
    (
        "test_elicitation_sep1330_enums",
        "Asks the user with every form of enumeration",
    ),
    (
        "test_missing_capability",
        "Samples without asking whether the client can",
    ),
    (
        "test_streaming_elicitation",
        "Reports progress, then asks the user",
    ),
    ("test_logging_tool", "Logs whatever the client asked for"),
    (
        "test_trigger_tool_change",
        "Adds or removes test_dynamic_tool",
    ),
    (
        "test_trigger_prompt_change",
        "Adds or removes test_dynamic_prompt",
    ),
    (
        "test_trigger_resource_update",
        "Says that test://watched-resource changed",
    ),
    (
        "test_input_required_result_elicitation",
        "Asks the user for a name",
    ),
    (
        "test_input_required_result_sampling",
        "Asks the model for a capital",
    ),
    (
        "test_input_required_result_list_roots",
        "Asks the client for its roots",
    ),
    (
        "test_input_required_result_request_state",
        "Asks for confirmation and keeps state",
    ),
    (
        "test_input_required_result_multiple_inputs",
        "Asks three things at once",
    ),
    (
        "test_input_required_result_multi_round",
        "Asks two things one after the other",
    ),
    (
        "test_input_required_result_tampered_state",
        "Asks for confirmation and guards its state",
    ),
    (
        "test_input_required_result_capabilities",
        "Asks only what the client declared",
    ),
    ("test_wait", "Never answers: for cancellation"),
    ("test_delay", "Answers after 50 ms"),
];

pub(super) fn list(catalogue: &Catalogue) -> Value {
    let plain = json!({ "type": "object", "properties": {} });
    let mut tools: Vec<Value> = PLAIN
        .iter()
        .map(|(name, description)| tool(name, description, &plain))
        .collect();
    tools.push(tool(
        "test_sampling",
        "Asks the model of the client",
        &one_text("prompt", "The prompt to send to the model"),
    ));
    tools.push(tool(
        "test_elicitation",
        "Asks the user of the client",
        &one_text("message", "The message to show to the user"),
    ));
    tools.push(tool(
        "test_custom_headers",
        "Has arguments that travel in headers as well",
        &custom_headers(),
    ));
    tools.push(tool(
        "json_schema_2020_12_tool",
        "Tool with JSON Schema 2020-12 features",
        &json_schema_2020_12(),
    ));
    if catalogue.has_dynamic_tool() {
        tools.push(tool(
            "test_dynamic_tool",
            "Comes and goes with test_trigger_tool_change",
            &plain,
        ));
    }
    json!({ "tools": tools })
}

fn tool(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "description": description, "inputSchema": schema })
}

fn one_text(name: &str, description: &str) -> Value {
    json!({ "type": "object", "properties": { name: { "type": "string", "description": description } }, "required": [name] })
}

/// MCP 2026-07-28, basic/transports/streamable-http: a client repeats these arguments in `Mcp-Param-*` headers.
fn custom_headers() -> Value {
    json!({
        "type": "object",
        "properties": {
            "region": { "type": "string", "description": "Where to run", "x-mcp-header": "Region" },
            "priority": { "type": "integer", "description": "How soon", "x-mcp-header": "Priority" },
            "verbose": { "type": "boolean", "description": "How much to say", "x-mcp-header": "Verbose" },
            "query": { "type": "string", "description": "Not in a header" },
        },
        "required": ["region"],
    })
}

/// Keywords that a bridge must not lose.
fn json_schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

/// Calls a tool. Failed work is a result with `isError`; an unknown tool is an error of the protocol.
pub(super) async fn call(call: &Call, params: &Value) -> Outcome {
    let nothing = json!({});
    let arguments = params.get("arguments").unwrap_or(&nothing);
    match run(call, arguments).await {
        Ok(content) => Ok(json!({ "content": content })),
        Err(Failure::Work(text)) => {
            Ok(json!({ "content": [content::text(text)], "isError": true }))
        }
        Err(failure) => Err(failure),
    }
}

async fn run(call: &Call, arguments: &Value) -> Result<Vec<Value>, Failure> {
    let content = match call.name.as_str() {
        "test_simple_text" => vec![content::text("This is a simple text response for testing.")],
        "test_image_content" => vec![content::image()],
        "test_audio_content" => vec![content::audio()],
        "test_embedded_resource" => {
            vec![content::resource(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content.",
            )]
        }
        "test_multiple_content_types" => vec![
            content::text("Multiple content types test:"),
            content::image(),
            content::resource(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            ),
        ],
        "test_error_handling" => {
            return Err(Failure::Work(
                "This tool intentionally returns an error for testing".to_owned(),
            ));
        }
        "test_tool_with_logging" => {
            call.log("Tool execution started").await;
            sleep(PAUSE).await;
            call.log("Tool processing data").await;
            sleep(PAUSE).await;
            call.log("Tool execution completed").await;
            vec![content::text("Tool with logging executed successfully")]
        }
        "test_tool_with_progress" => {
            call.progress(0, 100).await;
            sleep(PAUSE).await;
            call.progress(50, 100).await;
            sleep(PAUSE).await;
            call.progress(100, 100).await;
            vec![content::text("Tool with progress executed successfully")]
        }
        "test_logging_tool" => {
            call.log("The diagnostic tool logs").await;
            vec![content::text("Logged, if the client asked for it")]
        }
        "test_trigger_tool_change" => changed(call, Change::Tools).await,
        "test_trigger_prompt_change" => changed(call, Change::Prompts).await,
        "test_trigger_resource_update" => {
            changed(call, Change::Resource("test://watched-resource".to_owned())).await
        }
        "test_wait" => std::future::pending().await,
        "test_delay" => {
            sleep(PAUSE).await;
            vec![content::text("Late")]
        }
        "test_custom_headers" | "json_schema_2020_12_tool" => {
            vec![content::text(format!("Called with {arguments}"))]
        }
        "test_dynamic_tool" => vec![content::text("This tool comes and goes.")],
        _ => match questions::run(call, arguments).await? {
            Some(text) => vec![content::text(text)],
            None => {
                return Err(
                    RpcError::invalid_params(format!("Unknown tool: {}", call.name)).into(),
                );
            }
        },
    };
    Ok(content)
}

async fn changed(call: &Call, change: Change) -> Vec<Value> {
    let text = format!("Sent {}", change.method());
    call.change(change).await;
    vec![content::text(text)]
}
