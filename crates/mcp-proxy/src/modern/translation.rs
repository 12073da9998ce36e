//! The place where a modern client of an older MCP server is served. Today it is sent to the older way of speaking.

use crate::http::error::Refusal;
use crate::jsonrpc::Message;
use crate::version::Version;

/// The answer to a modern request when the MCP server is an older one: clients that speak both go on with `initialize`
/// (MCP 2026-07-28, streamable HTTP, "Backward Compatibility").
#[must_use]
pub fn refuse(message: &Message<'_>, supported: Vec<Version>) -> Refusal {
    if message.method == "server/discover" {
        Refusal::UnknownMethod("server/discover".to_owned())
    } else {
        Refusal::UnsupportedVersion {
            requested: Version::V20260728.as_str().to_owned(),
            supported,
        }
    }
}
