//! JSON-RPC and MCP error codes this bridge answers with.

/// The body is not JSON (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a request (JSON-RPC 2.0, section 5.1).
pub const INVALID_REQUEST: i32 = -32600;
/// Unknown method (JSON-RPC 2.0, section 5.1).
pub const METHOD_NOT_FOUND: i32 = -32601;
/// Missing or malformed parameters (JSON-RPC 2.0, section 5.1).
pub const INVALID_PARAMS: i32 = -32602;
/// The MCP server failed (JSON-RPC 2.0, section 5.1).
pub const INTERNAL_ERROR: i32 = -32603;
/// A refusal of the transport itself, as the official SDKs answer it.
pub const REFUSED: i32 = -32000;
/// The MCP server did not answer in time, as the official SDKs say it.
pub const TIMEOUT: i32 = -32001;
/// Headers and body disagree (MCP 2026-07-28, streamable HTTP, server validation).
pub const HEADER_MISMATCH: i32 = -32020;
/// The client lacks a capability the request needs (MCP 2026-07-28, error codes).
pub const MISSING_CAPABILITY: i32 = -32021;
/// Unsupported protocol version (MCP 2026-07-28, versioning).
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// Every code with what it means to a client and where it is specified, for tables.
pub const ALL: [(i32, &str, &str); 10] = [
    (
        PARSE_ERROR,
        "The body is not JSON.",
        "JSON-RPC 2.0 section 5.1",
    ),
    (
        INVALID_REQUEST,
        "The JSON is no message that is allowed here.",
        "JSON-RPC 2.0 section 5.1",
    ),
    (
        METHOD_NOT_FOUND,
        "This revision has no such method.",
        "JSON-RPC 2.0 section 5.1",
    ),
    (
        INVALID_PARAMS,
        "Parameters are missing or malformed, or the tool is not allowed for this person.",
        "JSON-RPC 2.0 section 5.1",
    ),
    (
        INTERNAL_ERROR,
        "The MCP server could not be started, ended before its answer, or is not ready; the message says which.",
        "JSON-RPC 2.0 section 5.1",
    ),
    (
        REFUSED,
        "The transport refuses: a header, the host, the origin, or who asks; the message says which.",
        "",
    ),
    (
        TIMEOUT,
        "The MCP server did not answer in time, or (with status 404) there is no such session: begin a new one.",
        "",
    ),
    (
        HEADER_MISMATCH,
        "A header is not what the body says.",
        "MCP 2026-07-28, Streamable HTTP, server validation",
    ),
    (
        MISSING_CAPABILITY,
        "The call needs something that the client did not declare.",
        "MCP 2026-07-28, error codes",
    ),
    (
        UNSUPPORTED_VERSION,
        "The revision is none of ours; `data.supported` lists them.",
        "MCP 2026-07-28, versioning",
    ),
];
