//! `requestState`: what the client answered in earlier rounds, authenticated (MCP 2026-07-28, basic/patterns/mrtr).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::message::RpcError;

/// Every process of this server accepts what another one gave out: the retry of a stateless call may reach any of them.
/// It guards nothing but a test.
const KEY: &[u8] = b"testkit conformance server: nothing secret";

/// The answers of the rounds so far, bound to the method and the name that were called.
pub(super) fn seal(method: &str, name: &str, answers: &Map<String, Value>) -> String {
    let payload = json!({ "method": method, "name": name, "answers": answers }).to_string();
    let tag = mac(payload.as_bytes()).finalize().into_bytes();
    format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(payload),
        BASE64_URL_SAFE_NO_PAD.encode(tag)
    )
}

/// Reads a state back. Anything but the unchanged state of the same call is refused with -32602.
pub(super) fn open(state: &str, method: &str, name: &str) -> Result<Map<String, Value>, RpcError> {
    let refused = || RpcError::invalid_params("requestState failed its integrity check");
    let (payload, tag) = state.split_once('.').ok_or_else(refused)?;
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| refused())?;
    let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).map_err(|_| refused())?;
    mac(&payload).verify_slice(&tag).map_err(|_| refused())?;
    let payload: Value = serde_json::from_slice(&payload).map_err(|_| refused())?;
    if payload.get("method").and_then(Value::as_str) != Some(method)
        || payload.get("name").and_then(Value::as_str) != Some(name)
    {
        return Err(RpcError::invalid_params(
            "requestState belongs to another request",
        ));
    }
    payload
        .get("answers")
        .and_then(Value::as_object)
        .cloned()
        .ok_or_else(refused)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(payload: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(KEY)
        .expect("a key of any length")
        .chain_update(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_returns_unchanged_and_only_to_its_call() {
        let answers = json!({ "step1": { "action": "accept" } })
            .as_object()
            .cloned()
            .unwrap();
        let state = seal("tools/call", "a", &answers);
        assert_eq!(open(&state, "tools/call", "a").unwrap(), answers);
        assert_eq!(open(&state, "tools/call", "b").unwrap_err().code, -32602);
        assert_eq!(open(&state, "prompts/get", "a").unwrap_err().code, -32602);
        assert_eq!(
            open(&format!("{state}-TAMPERED"), "tools/call", "a")
                .unwrap_err()
                .code,
            -32602
        );
        assert_eq!(open("", "tools/call", "a").unwrap_err().code, -32602);
    }
}
