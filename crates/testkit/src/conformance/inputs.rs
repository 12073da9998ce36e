//! What a server may ask its client for: elicitation, sampling, roots.

use serde_json::{Map, Value, json};

use super::message::RpcError;

/// The client's answers by the key of the question.
pub(super) type Answers = Map<String, Value>;

/// One question to the client.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Key in `inputRequests`, and the wished id of the pushed request.
    pub(super) key: &'static str,
    pub(super) method: &'static str,
    pub(super) params: Value,
}

impl Ask {
    pub(super) fn elicitation(
        key: &'static str,
        message: &str,
        properties: &Value,
        required: &[&str],
    ) -> Self {
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        Self {
            key,
            method: "elicitation/create",
            params: json!({ "message": message, "requestedSchema": schema }),
        }
    }

    pub(super) fn sampling(key: &'static str, prompt: &str, max_tokens: u32) -> Self {
        let messages = json!([{ "role": "user", "content": { "type": "text", "text": prompt } }]);
        Self {
            key,
            method: "sampling/createMessage",
            params: json!({ "messages": messages, "maxTokens": max_tokens }),
        }
    }

    pub(super) fn roots(key: &'static str) -> Self {
        Self {
            key,
            method: "roots/list",
            params: json!({}),
        }
    }

    /// The client capability that this question needs.
    pub(super) fn capability(&self) -> &'static str {
        match self.method {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            _ => "roots",
        }
    }

    /// Checks the shape of an answer (schema: `ElicitResult`, `CreateMessageResult`, `ListRootsResult`).
    pub(super) fn check(&self, answer: &Value) -> Result<(), RpcError> {
        let fits = match self.capability() {
            "elicitation" => matches!(
                answer.get("action").and_then(Value::as_str),
                Some("accept" | "decline" | "cancel")
            ),
            "sampling" => answer.get("role").is_some() && answer.get("content").is_some(),
            _ => answer.get("roots").is_some_and(Value::is_array),
        };
        if fits {
            Ok(())
        } else {
            Err(RpcError::invalid_params(format!(
                "the answer to `{}` is no result of {}",
                self.key, self.method
            )))
        }
    }
}
