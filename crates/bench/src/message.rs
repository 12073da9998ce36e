//! The messages that are sent, and the check of what comes back.

use std::borrow::Cow;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// Which of the two a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `initialize`, then calls in a session.
    Legacy,
    /// Each call by itself.
    Modern,
}

/// `initialize`.
#[must_use]
pub fn initialize() -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" },
    }})
    .to_string()
    .into_bytes()
}

/// `notifications/initialized`.
pub const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A call of a tool.
#[must_use]
pub fn call(era: Era, id: u64, tool: &str, arguments: &Value) -> Vec<u8> {
    let mut params = json!({ "name": tool, "arguments": arguments });
    if let (Era::Modern, Some(params)) = (era, params.as_object_mut()) {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        params.insert("_meta".to_owned(), meta);
    }
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
        .to_string()
        .into_bytes()
}

#[derive(Deserialize)]
struct Response<'a> {
    id: u64,
    #[serde(borrow)]
    result: ToolResult<'a>,
}

#[derive(Deserialize)]
struct ToolResult<'a> {
    #[serde(borrow)]
    content: [Content<'a>; 1],
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Is this the answer to call `id`, with this text?
///
/// # Errors
///
/// If it is another's, or says something else.
pub fn check(answer: &[u8], id: u64, text: &str) -> Result<()> {
    let shown = || String::from_utf8_lossy(answer.get(..200).unwrap_or(answer)).into_owned();
    let response: Response<'_> =
        serde_json::from_slice(answer).with_context(|| format!("not an answer: {}", shown()))?;
    let [content] = &response.result.content;
    ensure!(
        response.id == id,
        "the answer to {} came for {id}",
        response.id
    );
    ensure!(content.text == text, "wrong answer: {}", shown());
    Ok(())
}
