//! How a message is changed, and the one kind of message that is our own.

use std::ops::Range;

use serde::Serialize;

/// One replacement of [`splice`].
pub type Edit<'e> = (Range<usize>, &'e str);

/// The text with some ranges replaced, as one line: line breaks, which in JSON can only stand between tokens, become
/// spaces.
#[must_use]
pub fn splice(text: &str, edits: &mut [Edit<'_>]) -> Vec<u8> {
    edits.sort_unstable_by_key(|(range, _)| range.start);
    let growth: usize = edits.iter().map(|(_, new)| new.len()).sum();
    // One byte more for the line feed that a child's line ends with.
    let mut out = Vec::with_capacity(text.len() + growth + 1);
    let mut copied = 0;
    for (range, new) in edits.iter() {
        out.extend_from_slice(text.get(copied..range.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(new.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default().as_bytes());
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        for byte in &mut out {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    out
}

/// A JSON-RPC error response. `id` is the raw id of the request, or `None` for `null`.
#[must_use]
pub fn error_response(
    id: Option<&str>,
    code: i32,
    message: &str,
    data: Option<&serde_json::Value>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct ErrorObject<'a> {
        code: i32,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a serde_json::Value>,
    }
    let object = serde_json::to_string(&ErrorObject {
        code,
        message,
        data,
    })
    .unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":{},"error":{object}}}"#,
        id.unwrap_or("null")
    )
    .into_bytes()
}
