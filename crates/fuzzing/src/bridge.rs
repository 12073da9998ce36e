//! The parsers of `mcp-proxy`: of what clients send, and of what children write.

use std::net::IpAddr;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use mcp_proxy::frames::{Line, Lines};
use mcp_proxy::http::headers;
use mcp_proxy::http::origin::Allowed;
use mcp_proxy::jsonrpc::{self, Kind, Message};
use mcp_proxy::replay::EventId;
use mcp_proxy::sse;
use serde_json::value::RawValue;

/// Lines come out the same however the bytes arrive: those within the limit whole, the others counted. The first byte is the limit,
/// the second the size of the pieces.
pub fn framing(data: &[u8]) {
    let [limit, step, stream @ ..] = data else {
        return;
    };
    let (limit, step) = (usize::from(*limit), usize::from(*step).max(1));
    let mut lines = Lines::new(limit);
    let mut found = Vec::new();
    for piece in stream.chunks(step) {
        lines.buffer().extend_from_slice(piece);
        while let Some(line) = lines.next_line() {
            found.push(line);
        }
    }
    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let last = expected.pop().unwrap_or_default();
    assert_eq!(found.len(), expected.len(), "a line is lost or made up");
    for (found, expected) in found.iter().zip(expected) {
        let without_return = expected.strip_suffix(b"\r").unwrap_or(expected);
        match found {
            Line::Whole(line) => {
                assert_eq!(&**line, without_return, "a line is changed");
                assert!(line.len() <= limit, "a line over the limit");
            }
            Line::TooLong(bytes) => {
                // It may be cut while it arrives, then its carriage return counts.
                assert!(expected.len() > limit, "a line within the limit is dropped");
                assert!(*bytes >= without_return.len() && *bytes <= expected.len());
            }
        }
    }
    if let Some(rest) = lines.rest() {
        assert_eq!(&*rest, last, "the rest is changed");
    }
}

/// What is taken for a message is JSON, has exactly one kind, and an id that can be replaced without touching the rest.
pub fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if jsonrpc::check_depth(text).is_err() {
        return;
    }
    if jsonrpc::is_batch(text) {
        for member in jsonrpc::parse_batch(text).unwrap_or_default() {
            one(member);
        }
    } else {
        one(text);
    }
}

/// Is there no other member that is this one to a reader without case, or without null characters?
fn is_clear(object: &serde_json::Value, name: &str) -> bool {
    let members = object
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    members
        .filter(|member| member.trim_end_matches('\0').eq_ignore_ascii_case(name))
        .all(|member| member == name)
}

fn one(text: &str) {
    let Ok(message) = Message::parse(text) else {
        return;
    };
    let _: &RawValue = serde_json::from_str(text).expect("a message that is not JSON was taken");
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        // JSON has numbers of any size; a Value holds none beyond those of a machine.
        return;
    };
    assert!(value.is_object(), "a message that is not an object");
    if Message::from_client(text).is_ok() {
        let params = value.get("params");
        for name in ["jsonrpc", "id", "method", "params", "result", "error"] {
            assert!(is_clear(&value, name), "`{name}` may be another member");
        }
        for name in ["name", "uri", "arguments", "_meta"] {
            assert!(
                params.is_none_or(|params| is_clear(params, name)),
                "`{name}` may be another member of `params`"
            );
        }
    }
    let has_id = value.get("id").is_some_and(|id| !id.is_null());
    match message.kind {
        Kind::Request => assert!(message.id.is_some() && !message.method.is_empty() || has_id),
        Kind::Notification => assert!(value.get("id").is_none(), "a notification with an id"),
        Kind::Response => {
            assert_eq!(value.get("result").is_some(), value.get("error").is_none());
        }
    }
    let Some(id) = message.id else {
        return;
    };
    let line = jsonrpc::splice(text, &mut [(message.range(id), "4711")]);
    assert!(!line.contains(&b'\n'), "a message of more than one line");
    let line = String::from_utf8(line).expect("a message that is no longer UTF-8");
    let inward = Message::parse(&line).expect("a message that is no longer one");
    assert_eq!(inward.kind, message.kind);
    let number = inward.id.expect("an id that is gone");
    assert_eq!(number.get(), "4711");
    let back = jsonrpc::splice(&line, &mut [(inward.range(number), id.get())]);
    let same: serde_json::Value =
        serde_json::from_slice(&back).expect("an answer that is not JSON");
    assert_eq!(same, value, "the way there and back changed the message");
}

/// No header value panics; what is admitted names this service; decoded values are text.
pub fn headers(data: &[u8]) {
    let allowed = Allowed::new(
        &[
            "mcp-fetch.example.com".to_owned(),
            "*.inner.example".to_owned(),
        ],
        &["https://app.example.com".to_owned()],
    );
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let with = |name, value: HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        headers
    };
    let _ = headers::accepts(&with(ACCEPT, value.clone()));
    let _ = headers::is_json(&with(CONTENT_TYPE, value.clone()));
    if let Ok(text) = value.to_str()
        && let Ok(decoded) = headers::decode(text)
    {
        assert!(text.starts_with("=?base64?") || decoded == text);
    }
    if allowed.check(&with(HOST, value.clone()), None).is_ok() {
        let text = value
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let ours = [
            "example.com",
            "inner.example",
            "localhost",
            "127.",
            "[::1]",
            "::1",
        ];
        assert!(
            ours.iter().any(|name| text.contains(name)) || is_loopback(&text),
            "the host {text:?} is not ours"
        );
    }
    let mut with_origin = with(ORIGIN, value.clone());
    with_origin.insert(HOST, HeaderValue::from_static("localhost"));
    if allowed.check(&with_origin, None).is_ok() {
        let origin = url::Url::parse(value.to_str().unwrap_or_default().trim());
        let host = origin.ok().and_then(|url| Some(url.host_str()?.to_owned()));
        let host = host.expect("an origin without a host was admitted");
        let is_ours = host == "app.example.com"
            || host == "localhost"
            || host.ends_with(".localhost")
            || host.starts_with("127.")
            || host == "[::1]";
        assert!(is_ours, "the origin {value:?} is not ours");
    }
}

/// Is the host an address of this machine, in whatever spelling (`::01`), with a port or without?
fn is_loopback(host: &str) -> bool {
    let without_port = host.rsplit_once(':').map_or("", |(name, _)| name);
    [host, without_port].into_iter().any(|name| {
        let name = name.strip_suffix('.').unwrap_or(name);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    })
}

/// An event says its message and nothing else, whatever is in the message; an id is read back as it was written.
pub fn sse(data: &[u8]) {
    let event = sse::event(Some("3-1"), data);
    let body = event
        .strip_prefix(b"id: 3-1\ndata: ")
        .and_then(|rest| rest.strip_suffix(b"\n\n"))
        .expect("an event of another shape");
    assert_eq!(body.len(), data.len());
    for (written, given) in body.iter().zip(data) {
        match given {
            b'\r' | b'\n' => assert_eq!(*written, b' '),
            other => assert_eq!(written, other),
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<EventId>()
    {
        let again: EventId = id.to_string().parse().expect("an id that is no longer one");
        assert_eq!(again, id);
    }
}
