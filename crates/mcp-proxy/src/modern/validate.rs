//! Headers and body of a modern request must say the same (MCP 2026-07-28, streamable HTTP, "Server Validation"): what
//! stands before this service may have decided by the headers.

use actix_web::http::header::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

use crate::http::error::Refusal;
use crate::http::headers::{METHOD, NAME, PROTOCOL_VERSION, decode};
use crate::http::origin::single;
use crate::jsonrpc::{Message, as_text};
use crate::version::Version;

/// Methods of the older revisions that modern requests must not reach the child with.
const REMOVED: [&str; 5] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];

/// Is the request one of the modern era? Either side of it may say so.
#[must_use]
pub fn is_modern(headers: &HeaderMap, message: &Message<'_>) -> bool {
    message.params.meta.protocol_version.is_some()
        || matches!(single(headers, &PROTOCOL_VERSION), Ok(Some(version)) if Version::parse(version).is_some_and(Version::is_modern))
}

/// Checks what every modern request must have. `supported`: what is told to a client of another version.
pub fn request(
    headers: &HeaderMap,
    message: &Message<'_>,
    supported: impl FnOnce() -> Vec<Version>,
) -> Result<(), Refusal> {
    let meta = &message.params.meta;
    let version = meta
        .protocol_version
        .and_then(as_text)
        .ok_or(Refusal::InvalidParams(
            "`_meta` must have io.modelcontextprotocol/protocolVersion, a string",
        ))?;
    if !meta
        .client_capabilities
        .is_some_and(|capabilities| capabilities.get().starts_with('{'))
    {
        return Err(Refusal::InvalidParams(
            "`_meta` must have io.modelcontextprotocol/clientCapabilities, an object",
        ));
    }
    equal(
        headers,
        &PROTOCOL_VERSION,
        "MCP-Protocol-Version",
        &version,
        false,
    )?;
    if !Version::parse(&version).is_some_and(Version::is_modern) {
        return Err(Refusal::UnsupportedVersion {
            requested: version.into_owned(),
            supported: supported(),
        });
    }
    equal(headers, &METHOD, "Mcp-Method", &message.method, false)?;
    if let Some(name) = name(message) {
        let name =
            as_text(name).ok_or(Refusal::InvalidParams("`name` or `uri` must be a string"))?;
        equal(headers, &NAME, "Mcp-Name", &name, true)?;
    } else if needs_name(&message.method) {
        return Err(Refusal::InvalidParams(
            "`params` must have the `name` or `uri` that this method needs",
        ));
    }
    if REMOVED.contains(&&*message.method) {
        return Err(Refusal::UnknownMethod(message.method.clone().into_owned()));
    }
    Ok(())
}

fn needs_name(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

fn name<'a>(message: &Message<'a>) -> Option<&'a RawValue> {
    match &*message.method {
        "tools/call" | "prompts/get" => message.params.name,
        "resources/read" => message.params.uri,
        _ => None,
    }
}

fn equal(
    headers: &HeaderMap,
    header: &HeaderName,
    shown: &'static str,
    body: &str,
    encoded: bool,
) -> Result<(), Refusal> {
    let mismatch = |text: String| Err(Refusal::HeaderMismatch(text));
    let Ok(value) = single(headers, header) else {
        return mismatch(format!(
            "{shown} must be there exactly once and be plain text"
        ));
    };
    let Some(value) = value else {
        return mismatch(format!("the {shown} header is missing"));
    };
    let decoded = if encoded {
        decode(value)
    } else {
        Ok(value.into())
    };
    match decoded {
        Ok(value) if value == body => Ok(()),
        Ok(_) => mismatch(format!("the {shown} header does not match the body")),
        Err(_) => mismatch(format!("the {shown} header cannot be decoded")),
    }
}
