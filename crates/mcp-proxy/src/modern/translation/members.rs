//! The members of an object in their order, their values as they were written.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jsonrpc::splice;

/// The members of one object. Duplicates are kept: which of them counts is for the one who reads them.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// An object's key, borrowed unless it was escaped.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'a> Members<'a> {
    /// Reads an object; `None` when it is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The first member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }

    /// Without the keys of `_meta` that MCP 2026-07-28 keeps for itself, which mean nothing to an older side.
    pub fn drop_reserved(&mut self) {
        self.0.retain(|(key, _)| !is_reserved(key));
    }
}

/// Is a key of `_meta` reserved? Its prefix is, when the second label is `modelcontextprotocol` or `mcp`
/// (MCP 2026-07-28, basic, "`_meta`").
fn is_reserved(key: &str) -> bool {
    key.split_once('/')
        .and_then(|(prefix, _)| prefix.split('.').nth(1))
        .is_some_and(|label| matches!(label, "modelcontextprotocol" | "mcp"))
}

/// Writes one object.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// Nothing in it yet.
    #[must_use]
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a member whose value is JSON text already.
    pub fn raw(&mut self, key: &str, value: &str) -> &mut Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    /// Adds members as they are.
    pub fn members(&mut self, members: &Members<'_>) -> &mut Self {
        for (key, value) in &members.0 {
            self.raw(key, value.get());
        }
        self
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    /// Its text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

/// A text as a JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A response with this result, as one line. Both are JSON text.
#[must_use]
pub fn response(id: &str, result: &str) -> Vec<u8> {
    let mut response = Object::new();
    response
        .raw("jsonrpc", r#""2.0""#)
        .raw("id", id)
        .raw("result", result);
    line(&response.finish())
}

/// A text as one line for a child.
#[must_use]
pub fn line(text: &str) -> Vec<u8> {
    splice(text, &mut [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_keys_are_those_of_the_specification() {
        for reserved in [
            "io.modelcontextprotocol/logLevel",
            "dev.mcp/",
            "org.modelcontextprotocol.api/x",
            "com.mcp.tools/x",
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in [
            "com.example.mcp/x",
            "progressToken",
            "traceparent",
            "mcp/x",
            "a/io.mcp",
        ] {
            assert!(!is_reserved(free), "{free}");
        }
    }

    #[test]
    fn an_object_is_written_with_its_values_as_they_were() {
        let text = r#"{"a\"b":1.50,"c":{"d" : "\u00e9"},"io.modelcontextprotocol/x":1}"#;
        let mut members = Members::parse(text).unwrap();
        members.drop_reserved();
        let mut object = Object::new();
        object.members(&members);
        assert_eq!(object.finish(), r#"{"a\"b":1.50,"c":{"d" : "\u00e9"}}"#);
        assert_eq!(Object::new().finish(), "{}");
        assert!(Members::parse("[1]").is_none());
    }
}
