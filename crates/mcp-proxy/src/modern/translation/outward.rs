//! The answer of an older server as a modern client understands it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{Edit, Message, code, error_response, splice};

/// Until 2025-11-25: resource not found. Modern servers must not send it (MCP 2026-07-28, basic, "Error Codes").
const RESOURCE_NOT_FOUND: i64 = -32002;
/// In 2025-11-25: the client has to visit a URL first. Modern servers must not send it.
pub const URL_NEEDED: i64 = -32042;
/// Codes that only the specification gives out since 2026-07-28; what an older server means by them is its own affair.
const RESERVED: std::ops::RangeInclusive<i64> = -32099..=-32020;

/// Results that say how long they may be kept (MCP 2026-07-28, server/utilities/caching). What an older server answers may
/// be another thing the next moment, and may be meant for one person.
const CACHEABLE: [&str; 5] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// What the answer is to, and who gives it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// The `uri` of `resources/read`, as it was written.
    pub uri: Option<&'a str>,
    /// The server's `serverInfo`, as it was written.
    pub server: &'a str,
    /// The client's id of the request, as it was written.
    pub client_id: &'a str,
}

/// The child's response with what this revision adds; everything else stays byte for byte.
#[must_use]
pub fn outward(message: &Message<'_>, context: Context<'_>) -> Vec<u8> {
    let answer = match message.result {
        Some(result) => completed(message, result, context),
        None => failed(message, context),
    };
    answer.unwrap_or_else(|| {
        let text = "the MCP server's answer is not one that MCP knows";
        error_response(Some(context.client_id), code::INTERNAL_ERROR, text, None)
    })
}

fn completed(message: &Message<'_>, result: &RawValue, context: Context<'_>) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape<'a> {
        #[serde(borrow, default)]
        result_type: Option<&'a RawValue>,
        #[serde(borrow, default)]
        ttl_ms: Option<&'a RawValue>,
        #[serde(borrow, default)]
        cache_scope: Option<&'a RawValue>,
        #[serde(borrow, rename = "_meta", default)]
        meta: Option<&'a RawValue>,
    }
    if !result.get().starts_with('{') {
        return None;
    }
    let shape: Shape<'_> = serde_json::from_str(result.get()).ok()?;
    let mut edits: Vec<Edit<'_>> = Vec::new();
    edits.push((message.range(message.id?), context.client_id));
    let mut added = Vec::new();
    let mut member = |found: Option<&RawValue>, name: &str, value: &'static str| match found {
        Some(found) => edits.push((message.range(found), value)),
        None => added.push(format!("\"{name}\":{value}")),
    };
    member(shape.result_type, "resultType", r#""complete""#);
    if CACHEABLE.contains(&context.method) {
        member(shape.ttl_ms, "ttlMs", "0");
        member(shape.cache_scope, "cacheScope", r#""private""#);
    }
    let info = format!(r#""io.modelcontextprotocol/serverInfo":{}"#, context.server);
    let in_meta;
    match shape.meta.filter(|meta| meta.get().starts_with('{')) {
        Some(meta) => {
            in_meta = first_member(&info, meta);
            let start = message.range(meta).start + 1;
            edits.push((start..start, &in_meta));
        }
        None => added.push(format!("\"_meta\":{{{info}}}")),
    }
    let added = first_member(&added.join(","), result);
    let start = message.range(result).start + 1;
    edits.push((start..start, &added));
    Some(splice(message.text, &mut edits))
}

/// The text of members that become the first of an object.
fn first_member(members: &str, object: &RawValue) -> String {
    let rest = object.get().get(1..).unwrap_or_default().trim_start();
    if members.is_empty() || rest.starts_with('}') {
        members.to_owned()
    } else {
        format!("{members},")
    }
}

/// The `error` of a response.
#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    error: ErrorObject<'a>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    code: &'a RawValue,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn failed(message: &Message<'_>, context: Context<'_>) -> Option<Vec<u8>> {
    let Failure { error } = serde_json::from_str(message.text).ok()?;
    let mut edits: Vec<Edit<'_>> = vec![(message.range(message.id?), context.client_id)];
    let found: i64 = error.code.get().parse().ok()?;
    let place = message.range(error.code);
    let data;
    let invalid = i64::from(code::INVALID_PARAMS);
    if found == RESOURCE_NOT_FOUND {
        edits.push((place.clone(), "-32602"));
    } else if RESERVED.contains(&found) {
        edits.push((place.clone(), "-32603"));
    }
    // A resource that is not there is named (MCP 2026-07-28, server/resources, "Error Handling").
    if (found == RESOURCE_NOT_FOUND || found == invalid)
        && let (Some(uri), None) = (context.uri, error.data)
    {
        data = format!(r#","data":{{"uri":{uri}}}"#);
        edits.push((place.end..place.end, &data));
    }
    Some(splice(message.text, &mut edits))
}

/// The elicitations that a failed request asks for first, as they were written (MCP 2025-11-25, client/elicitation, "URL
/// Elicitation Required Error"); `None` when it failed for another reason.
#[must_use]
pub fn urls_needed<'a>(message: &Message<'a>) -> Option<Vec<&'a RawValue>> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        elicitations: Vec<&'a RawValue>,
    }
    if !message.failed {
        return None;
    }
    let Failure { error } = serde_json::from_str::<Failure<'a>>(message.text).ok()?;
    if error.code.get().parse() != Ok(URL_NEEDED) {
        return None;
    }
    let data: Data<'a> = serde_json::from_str(error.data?.get()).ok()?;
    (!data.elicitations.is_empty()).then_some(data.elicitations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(method: &str, body: &str) -> String {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,{body}}}"#);
        let context = Context {
            method,
            uri: Some(r#""file:///a""#),
            server: r#"{"name":"s"}"#,
            client_id: r#""c""#,
        };
        let answer = outward(&Message::parse(&text).unwrap(), context);
        let answer = String::from_utf8(answer).unwrap();
        answer
            .strip_prefix(r#"{"jsonrpc":"2.0","id":"c","#)
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_result_is_completed_and_otherwise_untouched() {
        assert_eq!(
            translated(
                "tools/call",
                r#""result":{"content":[ 1.50 ],"x":"\u00e9"}"#
            ),
            r#""result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}},"content":[ 1.50 ],"x":"\u00e9"}"#
        );
        assert_eq!(
            translated("tools/list", r#""result":{ }"#),
            r#""result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}} }"#
        );
        assert_eq!(
            translated(
                "tools/list",
                r#""result":{"_meta":{"a":1},"ttlMs":"x","resultType":"y"}"#
            ),
            r#""result":{"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"},"a":1},"ttlMs":0,"resultType":"complete"}"#
        );
        assert_eq!(
            translated("prompts/get", r#""result":{"_meta":{}}"#),
            r#""result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
        );
        assert!(translated("tools/call", r#""result":null"#).contains("-32603"));
    }

    #[test]
    fn error_codes_of_older_revisions_do_not_come_out() {
        assert_eq!(
            translated("resources/read", r#""error":{"code":-32002,"message":"m"}"#),
            r#""error":{"code":-32602,"data":{"uri":"file:///a"},"message":"m"}"#
        );
        assert_eq!(
            translated(
                "resources/read",
                r#""error":{"message":"m","data":{"a":1},"code":-32002}"#
            ),
            r#""error":{"message":"m","data":{"a":1},"code":-32602}"#
        );
        assert_eq!(
            translated("tools/call", r#""error":{"code":-32050,"message":"m"}"#),
            r#""error":{"code":-32603,"message":"m"}"#
        );
        assert_eq!(
            translated("tools/call", r#""error":{"code":-32601,"message":"m"}"#),
            r#""error":{"code":-32601,"message":"m"}"#
        );
    }

    #[test]
    fn a_url_that_must_be_visited_is_found() {
        let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url"}]}}}"#;
        let found = urls_needed(&Message::parse(text).unwrap()).unwrap();
        assert_eq!(found[0].get(), r#"{"mode":"url"}"#);
        let other = text.replace("-32042", "-32000");
        assert!(urls_needed(&Message::parse(&other).unwrap()).is_none());
    }
}
