//! The tools that ask the client for something while they work.
//!
//! Before 2026-07-28 the question is a request pushed to the client; since then the call ends with the question and is made again
//! with the answer. Only the keys of the questions are the same in both: the older server wishes them as request ids.

use serde_json::{Value, json};

use super::call::{Call, Failure, Rounds};
use super::inputs::{Answers, Ask};
use super::message;

/// Runs the tool; `None` when no tool here has its name.
pub(super) async fn run(call: &Call, arguments: &Value) -> Result<Option<String>, Failure> {
    match up_to_2025(call, arguments).await? {
        Some(text) => Ok(Some(text)),
        None => since_2026(call).await,
    }
}

/// The tools of the scenarios up to 2025-11-25.
async fn up_to_2025(call: &Call, arguments: &Value) -> Result<Option<String>, Failure> {
    let text = match call.name.as_str() {
        "test_sampling" => {
            let ask = Ask::sampling("sampling", message::text(arguments, "prompt")?, 100);
            let answers = call.ask(&[ask], Rounds::One).await?;
            format!(
                "LLM response: {}",
                answered(&answers, "sampling", "/content/text")
            )
        }
        "test_elicitation" => {
            let properties = json!({
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" },
            });
            let ask = Ask::elicitation(
                "elicitation",
                message::text(arguments, "message")?,
                &properties,
                &["username", "email"],
            );
            format!(
                "User response: {}",
                elicited(&call.ask(&[ask], Rounds::One).await?, "elicitation")
            )
        }
        "test_elicitation_sep1034_defaults" => {
            let ask = Ask::elicitation(
                "defaults",
                "Please review the fields and their defaults",
                &with_defaults(),
                &[],
            );
            format!(
                "Elicitation completed: {}",
                elicited(&call.ask(&[ask], Rounds::One).await?, "defaults")
            )
        }
        "test_elicitation_sep1330_enums" => {
            let ask = Ask::elicitation("enums", "Please choose", &enumerations(), &[]);
            format!(
                "Elicitation completed: {}",
                elicited(&call.ask(&[ask], Rounds::One).await?, "enums")
            )
        }
        _ => return Ok(None),
    };
    Ok(Some(text))
}

/// The tools of the scenarios of 2026-07-28.
async fn since_2026(call: &Call) -> Result<Option<String>, Failure> {
    let text = match call.name.as_str() {
        "test_missing_capability" => missing_capability(call).await?,
        "test_streaming_elicitation" => {
            call.progress(1, 2).await;
            let answers = call
                .ask(&[name_of("user_name", "What is your name?")], Rounds::One)
                .await?;
            call.progress(2, 2).await;
            format!(
                "Hello, {}!",
                answered(&answers, "user_name", "/content/name")
            )
        }
        "test_input_required_result_elicitation" => {
            let answers = call
                .ask(&[name_of("user_name", "What is your name?")], Rounds::One)
                .await?;
            format!(
                "Hello, {}!",
                answered(&answers, "user_name", "/content/name")
            )
        }
        "test_input_required_result_sampling" => {
            let ask = Ask::sampling("capital_question", "What is the capital of France?", 100);
            let answers = call.ask(&[ask], Rounds::One).await?;
            answered(&answers, "capital_question", "/content/text")
        }
        "test_input_required_result_list_roots" => {
            let answers = call.ask(&[Ask::roots("client_roots")], Rounds::One).await?;
            format!(
                "The first root is {}",
                answered(&answers, "client_roots", "/roots/0/uri")
            )
        }
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => {
            let properties = json!({ "ok": { "type": "boolean" } });
            call.ask(
                &[Ask::elicitation(
                    "confirm",
                    "Please confirm",
                    &properties,
                    &["ok"],
                )],
                Rounds::Several,
            )
            .await?;
            "state-ok".to_owned()
        }
        "test_input_required_result_multiple_inputs" => {
            let asks = [
                name_of("user_name", "What is your name?"),
                Ask::sampling("greeting", "Generate a greeting", 50),
                Ask::roots("client_roots"),
            ];
            let answers = call.ask(&asks, Rounds::Several).await?;
            format!(
                "{} {}",
                answered(&answers, "greeting", "/content/text"),
                answered(&answers, "user_name", "/content/name")
            )
        }
        "test_input_required_result_multi_round" => {
            let first = call
                .ask(
                    &[name_of("step1", "Step 1: What is your name?")],
                    Rounds::Several,
                )
                .await?;
            let properties = json!({ "color": { "type": "string" } });
            let ask = Ask::elicitation(
                "step2",
                "Step 2: What is your favorite color?",
                &properties,
                &["color"],
            );
            let second = call.ask(&[ask], Rounds::Several).await?;
            let name = answered(&first, "step1", "/content/name");
            format!(
                "{name} likes {}",
                answered(&second, "step2", "/content/color")
            )
        }
        "test_input_required_result_capabilities" => declared_only(call).await?,
        _ => return Ok(None),
    };
    Ok(Some(text))
}

/// An older server that does not look at what its client declared leaves the refusal to the client, or to the bridge before it.
async fn missing_capability(call: &Call) -> Result<String, Failure> {
    let ask = [Ask::sampling("sampling", "Is anybody there?", 10)];
    let answers = match call.peer {
        super::call::Peer::Legacy(_) => call.ask_undeclared(&ask, Rounds::One).await?,
        super::call::Peer::Modern(..) => call.ask(&ask, Rounds::One).await?,
    };
    Ok(answered(&answers, "sampling", "/content/text"))
}

async fn declared_only(call: &Call) -> Result<String, Failure> {
    let asks = [
        name_of("user_name", "What is your name?"),
        Ask::sampling("greeting", "Generate a greeting", 50),
        Ask::roots("client_roots"),
    ];
    let asks: Vec<Ask> = asks
        .into_iter()
        .filter(|ask| call.declared(ask.capability()))
        .collect();
    let answers = call.ask(&asks, Rounds::One).await?;
    let keys: Vec<&str> = answers.keys().map(String::as_str).collect();
    Ok(format!("Answered: {}", keys.join(", ")))
}

fn name_of(key: &'static str, message: &str) -> Ask {
    Ask::elicitation(
        key,
        message,
        &json!({ "name": { "type": "string" } }),
        &["name"],
    )
}

/// A text of an answer, or "nothing" (a user may decline).
fn answered(answers: &Answers, key: &str, pointer: &str) -> String {
    answers
        .get(key)
        .and_then(|answer| answer.pointer(pointer))
        .and_then(Value::as_str)
        .unwrap_or("nothing")
        .to_owned()
}

fn elicited(answers: &Answers, key: &str) -> String {
    let content = answers
        .get(key)
        .and_then(|answer| answer.get("content"))
        .cloned()
        .unwrap_or_else(|| json!({}));
    format!(
        "action={}, content={content}",
        answered(answers, key, "/action")
    )
}

/// SEP-1034: a default for every primitive type.
fn with_defaults() -> Value {
    json!({
        "name": { "type": "string", "description": "User name", "default": "John Doe" },
        "age": { "type": "integer", "description": "User age", "default": 30 },
        "score": { "type": "number", "description": "User score", "default": 95.5 },
        "status": {
            "type": "string", "description": "User status", "enum": ["active", "inactive", "pending"], "default": "active",
        },
        "verified": { "type": "boolean", "description": "Verification status", "default": true },
    })
}

/// SEP-1330: the five forms of enumeration.
fn enumerations() -> Value {
    let titled = json!([
        { "const": "value1", "title": "First Option" },
        { "const": "value2", "title": "Second Option" },
        { "const": "value3", "title": "Third Option" },
    ]);
    json!({
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled },
        "legacyEnum": {
            "type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
        "titledMulti": { "type": "array", "items": { "anyOf": titled } },
    })
}
