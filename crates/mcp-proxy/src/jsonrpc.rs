//! The JSON-RPC envelope: what a bridge must know of a message, and nothing more.
//!
//! A message is scanned once. What is needed of it (id, method, a few members of `params`) is borrowed from the text as
//! [`RawValue`]; everything else is only checked to be JSON. A message is changed by [`splice`], which replaces exactly
//! the bytes of an id or a token, so payloads cross byte for byte.

mod batch;
pub mod code;
mod members;
mod write;

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub use self::batch::{MAX_BATCH, is_batch, parse_batch};
pub use self::members::{Meta, Params};
pub use self::write::{Edit, error_response, splice};

use self::members::{Envelope, Key};
use crate::request_id::RequestId;

/// Deepest nesting of arrays and objects that is passed to a child.
pub const MAX_DEPTH: usize = 128;

/// Bytes of the longest id or progress token, as it is written: they are remembered, some of them for long.
pub const MAX_ID: usize = 1024;

/// What a message is, read from the members it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has a method and an id: somebody waits for the answer.
    Request,
    /// It has a method and no id.
    Notification,
    /// It has a result or an error.
    Response,
}

/// A message whose text outlives it.
#[derive(Debug)]
pub struct Message<'a> {
    /// The whole text.
    pub text: &'a str,
    /// What it is.
    pub kind: Kind,
    /// The id as it was written; `None` for notifications and for `"id": null`.
    pub id: Option<&'a RawValue>,
    /// The method, unescaped; empty for responses.
    pub method: Cow<'a, str>,
    /// The members of `params` that concern a bridge.
    pub params: Params<'a>,
    /// A member that another one [is like](Self::from_client).
    alike: Option<&'static str>,
    /// Is it a response with an `error`?
    pub failed: bool,
    /// The HTTP request it came with, for the log.
    pub came_with: Option<&'a RequestId>,
    /// `result.protocolVersion` and other members of a result that concern a bridge.
    pub result: Option<&'a RawValue>,
}

/// Why a text is not a message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON at all.
    #[error("the text is not valid JSON: {0}")]
    NotJson(String),
    /// JSON, but nothing JSON-RPC 2.0 knows.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    NotJsonRpc(String),
    /// A member whose name some readers take for that of another one.
    #[error(
        "it has a member that some MCP servers would take for `{0}`: names of members have their case, and no null characters"
    )]
    Alike(&'static str),
    /// Arrays and objects nested deeper than [`MAX_DEPTH`].
    #[error("arrays and objects are nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl Malformed {
    /// The JSON-RPC error code that says so.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotJson(_) => code::PARSE_ERROR,
            Self::NotJsonRpc(_) | Self::Alike(_) | Self::TooDeep => code::INVALID_REQUEST,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads one message.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        // A derived reader would also take `["2.0", 1, …]`.
        if !text.trim_start_matches(WHITESPACE).starts_with('{') {
            serde_json::from_str::<IgnoredAny>(text)
                .map_err(|error| Malformed::NotJson(error.to_string()))?;
            return Err(Malformed::NotJsonRpc("it is not an object".to_owned()));
        }
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                Malformed::NotJsonRpc(without_values(&error))
            } else {
                Malformed::NotJson(error.to_string())
            }
        })?;
        let refuse = |why: &str| Err(Malformed::NotJsonRpc(why.to_owned()));
        if envelope.jsonrpc.and_then(as_text).as_deref() != Some("2.0") {
            return refuse("`jsonrpc` must be \"2.0\"");
        }
        let is_null = envelope.id.is_some_and(|id| id.get() == "null");
        let method = envelope.method.filter(|method| method.get() != "null");
        let method = match method.map(as_text) {
            Some(None) => return refuse("`method` must be a string"),
            Some(method) => method,
            None => None,
        };
        let kind = match (&method, envelope.result, envelope.error) {
            (Some(_), None, None) if is_null => {
                return refuse("`id` must be a string or an integer");
            }
            (Some(_), None, None) if envelope.id.is_some() => Kind::Request,
            (Some(_), None, None) => Kind::Notification,
            (None, Some(_), None) | (None, None, Some(_)) => Kind::Response,
            (None, None, None) => {
                return refuse("it has neither `method` nor `result` nor `error`");
            }
            _ => return refuse("it has more than one of `method`, `result` and `error`"),
        };
        if envelope.id.is_some_and(|id| !is_null && !is_id(id.get())) {
            return refuse("`id` must be a string or an integer");
        }
        let mut params = envelope.params;
        let named = [
            envelope.id,
            params.meta.progress_token,
            params.progress_token,
            params.request_id,
        ];
        if named
            .into_iter()
            .flatten()
            .any(|raw| raw.get().len() > MAX_ID)
        {
            return Err(Malformed::NotJsonRpc(format!(
                "ids and progress tokens must not be longer than {MAX_ID} bytes"
            )));
        }
        let alike = envelope.alike.or(params.alike).or(params.meta.alike);
        params.meta.progress_token = params
            .meta
            .progress_token
            .filter(|token| token.get() != "null");
        Ok(Self {
            text,
            kind,
            id: envelope.id.filter(|_| !is_null),
            method: method.unwrap_or_default(),
            params,
            alike,
            failed: envelope.error.is_some(),
            came_with: None,
            result: envelope.result,
        })
    }

    /// Reads a message of a client. What is decided here of a message must be what the MCP server does with it, also where the
    /// server is less strict: it may take a member such as `Name` for `name`, and run a request that has no id.
    pub fn from_client(text: &'a str) -> Result<Self, Malformed> {
        let message = Self::parse(text)?;
        if let Some(known) = message.alike {
            return Err(Malformed::Alike(known));
        }
        if message.kind == Kind::Notification && is_of_request(&message.method) {
            return Err(Malformed::NotJsonRpc("a request needs an `id`".to_owned()));
        }
        Ok(message)
    }

    /// The same message, of this HTTP request.
    #[must_use]
    pub fn of(self, request: Option<&'a RequestId>) -> Self {
        Self {
            came_with: request,
            ..self
        }
    }

    /// The id, where it is one of ours.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.id.and_then(|id| id.get().parse().ok())
    }

    /// Where a value borrowed from this message stands in its text.
    #[must_use]
    pub fn range(&self, value: &RawValue) -> Range<usize> {
        range_in(self.text, value)
    }
}

/// Does MCP give such names to requests? Other messages without an id are nothing that a server could run; some clients say
/// `initialized` for `notifications/initialized`.
fn is_of_request(method: &str) -> bool {
    let parted = method.contains('/') && !method.starts_with("notifications/");
    parted || matches!(method, "initialize" | "ping")
}

/// What is wrong with a member, without the value that stands there: errors are logged, messages are not.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("duplicate field") {
        text
    } else {
        format!("a member has the wrong type (column {})", error.column())
    }
}

/// Strings and integers (MCP 2026-07-28, basic, "Requests").
fn is_id(raw: &str) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    raw.starts_with('"') || digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// JSON's own white space.
const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Refuses text nested deeper than [`MAX_DEPTH`], so that no child's recursive parser is put to the test.
pub fn check_depth(text: &str) -> Result<(), Malformed> {
    let text = text.as_bytes();
    let (mut depth, mut place) = (0_usize, 0);
    while let Some(byte) = text.get(place) {
        place += 1;
        match byte {
            b'"' => place = after_string(text, place),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Malformed::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Where the text goes on after the string whose first character stands at `place`. Most of a large message is strings.
fn after_string(text: &[u8], mut place: usize) -> usize {
    while let Some(rest) = text.get(place..)
        && let Some(found) = memchr::memchr2(b'"', b'\\', rest)
    {
        place += found + 1;
        if rest.get(found) == Some(&b'"') {
            return place;
        }
        // Whatever is escaped ends no string.
        place += 1;
    }
    text.len()
}

fn range_in(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + value.get().len()
}

/// A JSON string's own text; `None` when the value is not a string.
#[must_use]
pub fn as_text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Key<'_>>(value.get())
        .ok()
        .map(|key| key.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_crosses_byte_for_byte() {
        let text = "{ \"params\":{\"x\":1.50,\"_meta\":{\"progressToken\":\"t\"}},\n\"jsonrpc\":\"2.0\", \"id\" : 7 ,\"method\":\"a\\u002fb\",\"z\":\"\\u00e9\"}";
        let message = Message::parse(text).unwrap();
        assert_eq!(message.kind, Kind::Request);
        assert_eq!(message.method, "a/b");
        let token = message.params.meta.progress_token.unwrap();
        let line = splice(
            text,
            &mut [
                (message.range(message.id.unwrap()), "99"),
                (message.range(token), "100"),
            ],
        );
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{ \"params\":{\"x\":1.50,\"_meta\":{\"progressToken\":100}}, \"jsonrpc\":\"2.0\", \"id\" : 99 ,\"method\":\"a\\u002fb\",\"z\":\"\\u00e9\"}"
        );
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |text| Message::parse(text).map(|message| message.kind);
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","method":"m"}"#).unwrap(),
            Kind::Notification
        );
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":"a","result":null}"#).unwrap(),
            Kind::Response
        );
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).unwrap(),
            Kind::Response
        );
        for refused in [
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1e3,"method":"m"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            r#"{"id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"a","name":"b"}}"#,
            r#"["2.0",1,"m"]"#,
            "null",
            "42",
        ] {
            assert!(
                matches!(Message::parse(refused), Err(Malformed::NotJsonRpc(_))),
                "{refused}"
            );
        }
        for not_json in [
            "",
            "{",
            r#"{"jsonrpc":"2.0""#,
            "hello",
            r#"{"jsonrpc":"2.0","method":"m"} x"#,
        ] {
            assert!(
                matches!(Message::parse(not_json), Err(Malformed::NotJson(_))),
                "{not_json}"
            );
        }
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check_depth(&nested(MAX_DEPTH)).is_ok());
        assert!(check_depth(&nested(MAX_DEPTH + 1)).is_err());
        assert!(check_depth(&format!("{:?}", "[\"".repeat(MAX_DEPTH * 2))).is_ok());
        let after = |string: &str| check_depth(&format!("[{string},{}", nested(MAX_DEPTH)));
        for closed in [r#""""#, r#""\\""#, r#""a\"b""#, r#""\u005b""#] {
            assert!(after(closed).is_err(), "{closed}");
        }
        for open in [r#"""#, r#""\"#, r#""\""#, r#""\\\""#] {
            assert!(after(open).is_ok(), "{open}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_id_is_restored(id in "\"[a-z0-9 ]{0,12}\"|-?[1-9][0-9]{0,15}", number: u64, value: i64) {
            let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":{{"v":{value}}}}}"#);
            let message = Message::parse(&request).unwrap();
            let inward = splice(&request, &mut [(message.range(message.id.unwrap()), &number.to_string())]);
            let inward = String::from_utf8(inward).unwrap();
            let seen = Message::parse(&inward).unwrap();
            proptest::prop_assert_eq!(seen.id.unwrap().get(), number.to_string());
            let outward = splice(&inward, &mut [(seen.range(seen.id.unwrap()), &id)]);
            proptest::prop_assert_eq!(String::from_utf8(outward).unwrap(), request);
        }
    }
}
