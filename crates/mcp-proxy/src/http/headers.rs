//! The headers of MCP over HTTP.

use std::borrow::Cow;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::calls::Accepts;

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Session-Id`.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Last-Event-ID`.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// `Mcp-Method`.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The beginning of `Mcp-Param-…`.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// `X-Accel-Buffering: no` keeps reverse proxies from gathering events.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Which kinds of answer `Accept` allows. No header at all allows any.
#[must_use]
pub fn accepts(headers: &HeaderMap) -> Accepts {
    let mut accepts = Accepts {
        json: false,
        sse: false,
    };
    let mut any = false;
    for value in headers.get_all(ACCEPT) {
        any = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
            if parameters
                .split(';')
                .any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            {
                continue;
            }
            let range = range.trim();
            let is = |name: &str| range.eq_ignore_ascii_case(name);
            accepts.json |= is("application/json") || is("application/*") || is("*/*");
            accepts.sse |= is("text/event-stream") || is("text/*") || is("*/*");
        }
    }
    if any {
        accepts
    } else {
        Accepts {
            json: true,
            sse: true,
        }
    }
}

/// Is the body JSON in UTF-8?
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE);
    let (Some(Ok(value)), None) = (values.next().map(|value| value.to_str()), values.next()) else {
        return false;
    };
    let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
    let utf8 =
        parameters
            .split(';')
            .map(str::trim)
            .all(|parameter| match parameter.split_once('=') {
                Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                    charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
                }
                _ => true,
            });
    media_type.trim().eq_ignore_ascii_case("application/json") && utf8
}

/// A header value that cannot stand for what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDecodable;

/// Undoes `=?base64?…?=` (MCP 2026-07-28, streamable HTTP, "Value Encoding"). The marks are case-sensitive.
pub fn decode(value: &str) -> Result<Cow<'_, str>, NotDecodable> {
    let encoded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match encoded {
        None if value
            .bytes()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~')) =>
        {
            Ok(Cow::Borrowed(value))
        }
        None => Err(NotDecodable),
        Some(encoded) => {
            let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| NotDecodable)?;
            String::from_utf8(bytes)
                .map(Cow::Owned)
                .map_err(|_| NotDecodable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        assert_eq!(decode("us-west1").unwrap(), "us-west1");
        assert_eq!(
            decode("=?base64?SGVsbG8sIOS4lueVjA==?=").unwrap(),
            "Hello, 世界"
        );
        assert_eq!(decode("=?base64?IHBhZGRlZCA=?=").unwrap(), " padded ");
        assert_eq!(
            decode("=?base64?bGluZTEKbGluZTI=?=").unwrap(),
            "line1\nline2"
        );
        assert_eq!(
            decode("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=").unwrap(),
            "=?base64?literal?="
        );
        assert_eq!(
            decode("=?BASE64?eA==?=").unwrap(),
            "=?BASE64?eA==?=",
            "the mark is case-sensitive"
        );
        for wrong in [
            "=?base64?eA=?=",
            "=?base64?!!!!?=",
            "=?base64?/w==?=",
            "=?base64?eA?=",
            "caf\u{e9}",
        ] {
            assert_eq!(decode(wrong), Err(NotDecodable), "{wrong}");
        }
    }

    #[test]
    fn accept_is_read_like_a_list() {
        let read = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(ACCEPT, value.parse().unwrap());
            }
            let accepts = accepts(&headers);
            (accepts.json, accepts.sse)
        };
        assert_eq!(read(None), (true, true));
        assert_eq!(
            read(Some("application/json, text/event-stream")),
            (true, true)
        );
        assert_eq!(read(Some("*/*")), (true, true));
        assert_eq!(read(Some("Application/JSON; q=0.9")), (true, false));
        assert_eq!(read(Some("text/event-stream")), (false, true));
        assert_eq!(
            read(Some("application/json, text/event-stream;q=0")),
            (true, false)
        );
        assert_eq!(read(Some("text/html")), (false, false));
    }
}
