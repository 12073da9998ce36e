use serde_json::{Value, json};

use super::timing::{self, LONGEST_MS, MOST_STEPS};

/// The answer to `tools/list`, always in the same order.
pub(crate) fn list() -> Value {
    let nothing = json!({"type": "object", "properties": {}});
    let tools = [
        (
            "echo",
            "Echo",
            "Returns the message as it came.",
            json!({
                "type": "object",
                "properties": {"message": {"type": "string", "description": "The text to return."}},
                "required": ["message"],
            }),
        ),
        (
            "replay_last",
            "Replay the last echo",
            "Returns the last message that this process echoed: shows whether two calls reached the same process.",
            nothing.clone(),
        ),
        (
            "stats",
            "Statistics",
            "Counts of requests, refusals, cancellations and calls per tool since this process started.",
            nothing.clone(),
        ),
        (
            timing::NAME,
            "Timing",
            "Waits, with progress notifications on the way, and tells how long it took. Can be cancelled.",
            json!({
                "type": "object",
                "properties": {
                    "milliseconds": {
                        "type": "integer", "minimum": 0, "maximum": LONGEST_MS, "default": 1000,
                        "description": "How long to wait.",
                    },
                    "steps": {
                        "type": "integer", "minimum": 1, "maximum": MOST_STEPS, "default": 10,
                        "description": "How many progress notifications to send.",
                    },
                },
            }),
        ),
        (
            "whoami",
            "Who am I",
            "What this server knows: its process, its arguments, the protocol revision, the client that asks.",
            nothing.clone(),
        ),
        (
            "environment",
            "Environment",
            "Names of the environment variables of this server, and the values of harmless ones. Secrets are never shown.",
            nothing.clone(),
        ),
        (
            "health",
            "Health",
            "Answers if the server is well.",
            nothing,
        ),
    ];
    tools
        .into_iter()
        .map(|(name, title, description, input)| {
            json!({
                "name": name,
                "title": title,
                "description": description,
                "inputSchema": input,
                "annotations": {"readOnlyHint": true, "openWorldHint": false},
            })
        })
        .collect()
}
