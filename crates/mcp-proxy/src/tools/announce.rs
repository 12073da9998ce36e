//! Telling clients that their list of tools is another one now.
//!
//! Where rules narrow the list, it can change although the MCP server's own never does, so clients are told beforehand that they
//! will be told (MCP, server/tools, "Capabilities"). Without rules nothing is said that the server does not say.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{Edit, Message, splice};
use crate::modern::translation::members::Members;

const METHOD: &str = "notifications/tools/list_changed";

/// The notification; `subscription` is the raw id of the request to listen that it answers (MCP 2026-07-28).
#[must_use]
pub fn list_changed(subscription: Option<&str>) -> Vec<u8> {
    match subscription {
        None => format!(r#"{{"jsonrpc":"2.0","method":"{METHOD}"}}"#),
        Some(id) => format!(
            r#"{{"jsonrpc":"2.0","method":"{METHOD}","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        ),
    }
    .into_bytes()
}

/// What makes an answer to `initialize` or `server/discover` declare `tools.listChanged`: a place in it and what goes there. `None`
/// where there are no tools, or it declares so already.
#[must_use]
pub fn declaration(answer: &Message<'_>) -> Option<(Range<usize>, String)> {
    let capabilities = Members::parse(answer.result?.get())?.get("capabilities")?;
    let tools = Members::parse(capabilities.get())?.get("tools")?;
    made_true(answer, tools, "listChanged")
}

/// The answer with its [`declaration`]; `None` where it stays as it is.
#[must_use]
pub fn declare(answer: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(std::str::from_utf8(answer).ok()?).ok()?;
    let (place, text) = declaration(&message)?;
    let mut edits: [Edit<'_>; 1] = [(place, &text)];
    Some(splice(message.text, &mut edits))
}

/// What makes an acknowledgement say that changes of the tools are told (MCP 2026-07-28, subscriptions), like [`declaration`].
#[must_use]
pub fn honoured(acknowledged: &Message<'_>) -> Option<(Range<usize>, String)> {
    made_true(acknowledged, promises(acknowledged)?, "toolsListChanged")
}

/// Does an acknowledgement say so by itself?
#[must_use]
pub fn is_honoured(acknowledged: &Message<'_>) -> bool {
    promises(acknowledged)
        .and_then(|promises| Members::parse(promises.get())?.get("toolsListChanged"))
        .is_some_and(|value| value.get() == "true")
}

fn promises<'a>(acknowledged: &Message<'a>) -> Option<&'a RawValue> {
    let params = Members::parse(acknowledged.text)?.get("params")?;
    Members::parse(params.get())?.get("notifications")
}

fn made_true(
    message: &Message<'_>,
    object: &RawValue,
    name: &str,
) -> Option<(Range<usize>, String)> {
    let members = Members::parse(object.get())?;
    match members.get(name) {
        Some(value) if value.get() == "true" => None,
        Some(value) => Some((message.range(value), "true".to_owned())),
        None => {
            let start = message.range(object).start + 1;
            let comma = if members.0.is_empty() { "" } else { "," };
            Some((start..start, format!("\"{name}\":true{comma}")))
        }
    }
}

/// Does a request to listen ask for changes of the tools? (MCP 2026-07-28, subscriptions)
#[must_use]
pub fn is_wanted(listen: &str) -> bool {
    #[derive(Deserialize)]
    struct Listen {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        notifications: Wanted,
    }
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(rename = "toolsListChanged", default)]
        tools_list_changed: bool,
    }
    serde_json::from_str::<Listen>(listen)
        .is_ok_and(|listen| listen.params.notifications.tools_list_changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_declares_that_its_tools_may_change_and_is_otherwise_as_it_was() {
        let declared = |capabilities: &str| {
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":1.50,"capabilities":{capabilities},"y":"\u00e9"}}}}"#
            );
            let declared = declare(answer.as_bytes())?;
            let text = String::from_utf8(declared).unwrap();
            let rest =
                text.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":{"x":1.50,"capabilities":"#);
            let rest = rest.unwrap().strip_suffix(r#","y":"\u00e9"}}"#);
            Some(rest.unwrap().to_owned())
        };
        for (before, after) in [
            (r#"{"tools":{}}"#, r#"{"tools":{"listChanged":true}}"#),
            (
                r#"{"logging":{},"tools":{ "a": 1}}"#,
                r#"{"logging":{},"tools":{"listChanged":true, "a": 1}}"#,
            ),
            (
                r#"{"tools":{"listChanged":false}}"#,
                r#"{"tools":{"listChanged":true}}"#,
            ),
            (
                r#"{"tools":{"listChanged":null}}"#,
                r#"{"tools":{"listChanged":true}}"#,
            ),
        ] {
            assert_eq!(declared(before).as_deref(), Some(after));
        }
        for same in [
            "{}",
            r#"{"tools":{"listChanged":true}}"#,
            r#"{"tools":null}"#,
            "[]",
        ] {
            assert_eq!(declared(same), None, "{same}");
        }
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#;
        assert_eq!(declare(error.as_bytes()), None);
    }
}
