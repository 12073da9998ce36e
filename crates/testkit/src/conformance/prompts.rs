//! Prompts and completion of their arguments.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Rounds};
use super::catalogue::Catalogue;
use super::content;
use super::inputs::Ask;
use super::message::{self, RpcError};

pub(super) fn list(catalogue: &Catalogue) -> Value {
    let argument = |name: &str, description: &str| json!({ "name": name, "description": description, "required": true });
    let mut prompts = vec![
        json!({ "name": "test_simple_prompt", "title": "Simple prompt", "description": "A prompt without arguments" }),
        json!({
            "name": "test_prompt_with_arguments", "description": "A prompt that repeats its arguments",
            "arguments": [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
        }),
        json!({
            "name": "test_prompt_with_embedded_resource", "description": "A prompt that embeds a resource",
            "arguments": [argument("resourceUri", "URI of the resource to embed")],
        }),
        json!({ "name": "test_prompt_with_image", "description": "A prompt with a picture" }),
        json!({ "name": "test_input_required_result_prompt", "description": "A prompt that asks the client for context" }),
    ];
    if catalogue.has_dynamic_prompt() {
        prompts.push(json!({ "name": "test_dynamic_prompt", "description": "Comes and goes with test_trigger_prompt_change" }));
    }
    json!({ "prompts": prompts })
}

pub(super) async fn get(call: &Call, params: &Value) -> Outcome {
    let argument = |name: &str| {
        params
            .pointer(&format!("/arguments/{name}"))
            .and_then(Value::as_str)
            .ok_or_else(|| {
                RpcError::invalid_params(format!("the prompt needs the argument `{name}`"))
            })
    };
    let contents = match call.name.as_str() {
        "test_simple_prompt" => vec![content::text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let text = format!(
                "Prompt with arguments: arg1='{}', arg2='{}'",
                argument("arg1")?,
                argument("arg2")?
            );
            vec![content::text(text)]
        }
        "test_prompt_with_embedded_resource" => vec![
            content::resource(
                argument("resourceUri")?,
                "text/plain",
                "Embedded resource content for testing.",
            ),
            content::text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![
            content::image(),
            content::text("Please analyze the image above."),
        ],
        "test_dynamic_prompt" => vec![content::text("This prompt comes and goes.")],
        "test_input_required_result_prompt" => {
            let properties = json!({ "context": { "type": "string" } });
            let ask = Ask::elicitation(
                "user_context",
                "What context should the prompt use?",
                &properties,
                &["context"],
            );
            let answers = call.ask(&[ask], Rounds::One).await?;
            let context = answers
                .get("user_context")
                .and_then(|answer| answer.pointer("/content/context"))
                .and_then(Value::as_str);
            vec![content::text(format!(
                "Use this context: {}",
                context.unwrap_or("none")
            ))]
        }
        unknown => {
            return Err(RpcError::invalid_params(format!("Unknown prompt: {unknown}")).into());
        }
    };
    let messages: Vec<Value> = contents
        .into_iter()
        .map(|content| json!({ "role": "user", "content": content }))
        .collect();
    Ok(json!({ "description": "A prompt of the conformance suite", "messages": messages }))
}

/// Completes the argument of a prompt or of a resource template.
pub(super) fn complete(params: &Value) -> Result<Value, RpcError> {
    let argument = params.get("argument").cloned().unwrap_or_default();
    let typed = message::text(&argument, "value")?;
    let values: Vec<&str> = ["paris", "park", "party", "testValue1", "testValue2"]
        .into_iter()
        .filter(|value| value.starts_with(typed))
        .collect();
    Ok(json!({ "completion": { "total": values.len(), "values": values, "hasMore": false } }))
}
