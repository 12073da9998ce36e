//! `Mcp-Param-*`: arguments of a tool that its schema wants to see in headers, too (MCP 2026-07-28, streamable HTTP,
//! "Custom Headers from Tool Parameters").

use std::collections::HashMap;

use actix_web::http::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::error::Refusal;
use crate::http::headers::{PARAM_PREFIX, decode};
use crate::http::origin::single;

/// Schemas nested deeper than this are not searched.
const MAX_DEPTH: usize = 32;

/// One argument that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The header, `mcp-param-…`.
    header: HeaderName,
    /// The keys that lead to the argument.
    path: Vec<String>,
}

/// The mirrored arguments of every tool.
pub type Schemas = HashMap<String, Vec<Mirrored>>;

/// One page of a tool list.
#[derive(Debug, Default)]
pub struct Page {
    /// Its tools.
    pub schemas: Schemas,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// Reads the `result` of `tools/list`.
#[must_use]
pub fn read_page(result: &str) -> Option<Page> {
    #[derive(Deserialize)]
    struct Tools {
        tools: Vec<Tool>,
        #[serde(rename = "nextCursor")]
        next_cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Tool {
        name: String,
        #[serde(rename = "inputSchema", default)]
        input_schema: Value,
    }
    let page: Tools = serde_json::from_str(result).ok()?;
    let schemas = page
        .tools
        .into_iter()
        .map(|tool| (tool.name, mirrored(&tool.input_schema)))
        .collect();
    Some(Page {
        schemas,
        next_cursor: page.next_cursor,
    })
}

/// The mirrored arguments of one input schema: only those reached through `properties` alone count.
fn mirrored(schema: &Value) -> Vec<Mirrored> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::<String>::new(), schema)];
    while let Some((path, schema)) = open.pop() {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            continue;
        };
        for (key, property) in properties {
            let path: Vec<String> = path.iter().chain([key]).cloned().collect();
            let header = property
                .get("x-mcp-header")
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty())
                .and_then(|name| HeaderName::try_from(format!("{PARAM_PREFIX}{name}")).ok());
            if let Some(header) = header {
                found.push(Mirrored {
                    header,
                    path: path.clone(),
                });
            }
            if path.len() < MAX_DEPTH {
                open.push((path, property));
            }
        }
    }
    found
}

/// Compares the headers of a call with its arguments.
pub fn check(
    mirrored: &[Mirrored],
    headers: &HeaderMap,
    arguments: Option<&str>,
) -> Result<(), Refusal> {
    if mirrored.is_empty() {
        return Ok(());
    }
    let arguments: Map<String, Value> = match arguments {
        None => Map::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|_| Refusal::InvalidParams("`arguments` must be an object"))?,
    };
    let arguments = Value::Object(arguments);
    for parameter in mirrored {
        let argument = parameter
            .path
            .iter()
            .try_fold(&arguments, |value, key| value.get(key));
        compare(
            &parameter.header,
            headers,
            argument.filter(|value| !value.is_null()),
        )?;
    }
    Ok(())
}

fn compare(
    header: &HeaderName,
    headers: &HeaderMap,
    argument: Option<&Value>,
) -> Result<(), Refusal> {
    let mismatch = |what: &str| {
        Err(Refusal::HeaderMismatch(format!(
            "the {header} header {what}"
        )))
    };
    let Ok(value) = single(headers, header) else {
        return mismatch("must be there at most once and be plain text");
    };
    let (value, argument) = match (value, argument) {
        (None, None) => return Ok(()),
        (Some(_), None) => return mismatch("is there although the body has no such argument"),
        (None, Some(_)) => return mismatch("is missing although the body has its argument"),
        (Some(value), Some(argument)) => (value, argument),
    };
    let Ok(value) = decode(value) else {
        return mismatch("cannot be decoded");
    };
    let equal = match argument {
        Value::String(text) => *text == value,
        Value::Bool(truth) => value == if *truth { "true" } else { "false" },
        Value::Number(number) => same_number(&value, &number.to_string()),
        _ => false,
    };
    if equal {
        Ok(())
    } else {
        mismatch("does not match the argument in the body")
    }
}

/// Integers are compared as numbers: `42.0` is `42`.
fn same_number(header: &str, body: &str) -> bool {
    let plain = header
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    if header == body {
        return true;
    }
    match (header.parse::<i128>(), body.parse::<i128>()) {
        (Ok(header), Ok(body)) => header == body,
        _ => match (header.parse::<f64>(), body.parse::<f64>()) {
            // Both are read the same way, so equal numbers are equal bits but for the sign of zero.
            (Ok(header), Ok(body)) => plain && (header - body).abs() <= 0.0,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> Schemas {
        let page = read_page(
            r#"{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{
                "region":{"type":"string","x-mcp-header":"Region"},
                "n":{"type":"integer","x-mcp-header":"N"},
                "o":{"type":"object","properties":{"deep":{"type":"boolean","x-mcp-header":"Deep"}}},
                "list":{"type":"array","items":{"properties":{"no":{"x-mcp-header":"No"}}}},
                "bad":{"type":"string","x-mcp-header":"a b"}}}},{"name":"plain"}],"nextCursor":"2"}"#,
        )
        .unwrap();
        assert_eq!(page.next_cursor.as_deref(), Some("2"));
        page.schemas
    }

    fn check_one(headers: &[(&'static str, &'static str)], arguments: &str) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        check(&schemas()["t"], &map, Some(arguments)).is_ok()
    }

    #[test]
    fn only_statically_reachable_arguments_are_mirrored() {
        let mut names: Vec<String> = schemas()["t"]
            .iter()
            .map(|one| one.header.to_string())
            .collect();
        names.sort();
        assert_eq!(names, ["mcp-param-deep", "mcp-param-n", "mcp-param-region"]);
        assert!(schemas()["plain"].is_empty());
    }

    #[test]
    fn headers_must_match_the_arguments() {
        let region = ("mcp-param-region", "us-west1");
        assert!(check_one(&[region], r#"{"region":"us-west1"}"#));
        assert!(check_one(
            &[("mcp-param-region", "=?base64?dXMtd2VzdDE=?=")],
            r#"{"region":"us-west1"}"#
        ));
        assert!(check_one(&[], "{}"));
        assert!(check_one(&[], r#"{"region":null}"#));
        assert!(check_one(&[("mcp-param-n", "42.0")], r#"{"n":42}"#));
        assert!(check_one(
            &[("mcp-param-deep", "true")],
            r#"{"o":{"deep":true}}"#
        ));
        assert!(!check_one(&[], r#"{"region":"us-west1"}"#), "missing");
        assert!(!check_one(&[region], "{}"), "without an argument");
        assert!(
            !check_one(&[region, region], r#"{"region":"us-west1"}"#),
            "twice"
        );
        assert!(
            !check_one(
                &[("mcp-param-region", "US-west1")],
                r#"{"region":"us-west1"}"#
            ),
            "case"
        );
        assert!(
            !check_one(
                &[("mcp-param-region", "=?base64?!?=")],
                r#"{"region":"us-west1"}"#
            ),
            "not base64"
        );
        assert!(!check_one(&[("mcp-param-n", "43")], r#"{"n":42}"#));
        assert!(!check_one(
            &[("mcp-param-n", "9007199254740993")],
            r#"{"n":9007199254740992}"#
        ));
        assert!(!check_one(&[("mcp-param-n", "inf")], r#"{"n":42}"#));
        assert!(!check_one(
            &[("mcp-param-deep", "True")],
            r#"{"o":{"deep":true}}"#
        ));
    }
}
