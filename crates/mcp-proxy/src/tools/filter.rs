//! Takes the tools that somebody may not call out of an answer to `tools/list`. What stays passes byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{Edit, Message, code, error_response, splice};
use crate::tools::Access;

/// The members of a result of `tools/list` that are looked at. A member that is there twice is an error: who reads the
/// answer might take the other one.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, rename = "cacheScope")]
    cache_scope: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The answer without the tools that are not allowed. An answer that cannot be understood is replaced by an error, for
/// there may be anything in it.
#[must_use]
pub fn filter(answer: Vec<u8>, access: &Access) -> Vec<u8> {
    if access.is_whole() {
        return answer;
    }
    let Some(message) = std::str::from_utf8(&answer)
        .ok()
        .and_then(|text| Message::parse(text).ok())
    else {
        return unreadable(None);
    };
    if message.failed {
        return answer;
    }
    match narrow(&message, access) {
        Ok(Some(narrowed)) => narrowed,
        Ok(None) => answer,
        Err(_) => unreadable(message.id.map(RawValue::get)),
    }
}

fn unreadable(id: Option<&str>) -> Vec<u8> {
    let text = "the MCP server's list of tools cannot be read";
    error_response(id, code::INTERNAL_ERROR, text, None)
}

/// The narrowed answer; `None` where it stays as it is.
fn narrow(message: &Message<'_>, access: &Access) -> serde_json::Result<Option<Vec<u8>>> {
    let result = message.result.map_or("null", RawValue::get);
    let listed: Listed<'_> = serde_json::from_str(result)?;
    let Some(tools) = listed.tools else {
        return Ok(None);
    };
    let members: Vec<&RawValue> = serde_json::from_str(tools.get())?;
    let allowed = |tool: &&&RawValue| {
        serde_json::from_str::<Tool<'_>>(tool.get()).is_ok_and(|tool| access.allows(&tool.name))
    };
    let kept: Vec<&str> = members
        .iter()
        .filter(allowed)
        .map(|tool| tool.get())
        .collect();
    let fewer = (kept.len() < members.len()).then(|| format!("[{}]", kept.join(",")));
    let mut edits: Vec<Edit<'_>> = Vec::new();
    if let Some(fewer) = &fewer {
        edits.push((message.range(tools), fewer));
    }
    // What is one person's must not be kept for all (MCP 2026-07-28, caching).
    if let Some(range) = public(message, listed.cache_scope) {
        edits.push((range, "\"private\""));
    }
    Ok((!edits.is_empty()).then(|| splice(message.text, &mut edits)))
}

fn public(message: &Message<'_>, scope: Option<&RawValue>) -> Option<Range<usize>> {
    let scope = scope.filter(|scope| scope.get() != "\"private\"")?;
    Some(message.range(scope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Rules;
    use crate::tools::rules::ToolsConfig;

    fn without(deny: &[&str]) -> Access {
        let config = ToolsConfig {
            allow: None,
            deny: deny.iter().map(ToString::to_string).collect(),
        };
        Rules::new(&config, &[]).unwrap().access(None)
    }

    fn filtered(answer: &str, deny: &[&str]) -> String {
        String::from_utf8(filter(answer.as_bytes().to_vec(), &without(deny))).unwrap()
    }

    #[test]
    fn what_stays_passes_byte_for_byte() {
        let one = "{ \"name\":\"a\\u002fb\" , \"x\" : 1.50 }";
        let two = "{\"inputSchema\":{\"é\":\"\\u00e9\"},\"name\":\"b\"}";
        let three = "{\"name\":\"delete\"}";
        let answer = |tools: &str| {
            format!(
                "{{\"result\":{{\"nextCursor\":\"delete\", \"tools\" :{tools},\"z\":[ ]}},\"jsonrpc\":\"2.0\",\"id\":7}}"
            )
        };
        let whole = answer(&format!("[ {one} ,{three}, {two}]"));
        assert_eq!(
            filtered(&whole, &["delete"]),
            answer(&format!("[{one},{two}]"))
        );
        assert_eq!(filtered(&whole, &["other"]), whole);
        assert_eq!(
            filtered(&whole, &["a/b", "delete"]),
            answer(&format!("[{two}]"))
        );
        assert_eq!(filtered(&whole, &["*"]), answer("[]"));
    }

    #[test]
    fn a_list_of_one_person_is_not_kept_for_all() {
        let answer = |scope: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[],"cacheScope":{scope}}}}}"#)
        };
        assert_eq!(
            filtered(&answer("\"public\""), &["x"]),
            answer("\"private\"")
        );
        assert_eq!(
            filtered(&answer("\"private\""), &["x"]),
            answer("\"private\"")
        );
    }

    #[test]
    fn what_cannot_be_understood_is_not_passed_on() {
        for result in [
            r#"{"tools":[],"tools":[{"name":"secret"}]}"#,
            r#"{"tools":{"name":"secret"}}"#,
            r#"["secret"]"#,
        ] {
            let shown = filtered(
                &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#),
                &["secret"],
            );
            assert!(!shown.contains("secret"), "{shown}");
            assert!(shown.contains("\"id\":1"), "{shown}");
        }
        let nameless = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","name":"secret"},{"title":"secret"},"secret"]}}"#;
        assert_eq!(
            filtered(nameless, &["secret"]),
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#
        );
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#;
        assert_eq!(filtered(error, &["x"]), error);
    }

    proptest::proptest! {
        #[test]
        fn exactly_the_allowed_tools_stay_in_their_order(names in proptest::collection::vec("[a-c]{1,3}", 0..12)) {
            let tools: Vec<serde_json::Value> = names.iter().map(|name| serde_json::json!({ "name": name })).collect();
            let answer = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string();
            let shown: serde_json::Value = serde_json::from_str(&filtered(&answer, &["a*"])).unwrap();
            let left: Vec<&str> = shown["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
            let wanted: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.starts_with('a')).collect();
            proptest::prop_assert_eq!(left, wanted);
        }
    }
}
