//! What the services refuse with.

use mcp_proxy::jsonrpc;
use oauth::ErrorCode;

use crate::{code, table};

pub(crate) fn page() -> String {
    format!(
        "# Errors

## mcp-auth

`error` of a JSON answer, of a redirect to the client, or of a `WWW-Authenticate` challenge; `error_description` says what is wrong with which value. The
status is that of a direct answer. What a browser shows is a page with the same words and the id of the request, which is in the log.

{}
`/verify` answers 200, 401, 403 or 503 and nothing else. 429 and 503 carry `Retry-After` in seconds.

## mcp-proxy

`error.code` of a JSON-RPC error. An error of the MCP server itself is passed on as it is.

{}",
        table(
            &["error", "status", "what it means", "specified in"],
            ErrorCode::ALL.iter().map(|error| {
                let (meaning, source) = error.meaning();
                vec![
                    code(error.as_str()),
                    error.status().to_string(),
                    meaning.to_owned(),
                    source.to_owned(),
                ]
            })
        ),
        table(
            &["code", "what it means", "specified in"],
            jsonrpc::code::ALL
                .iter()
                .map(|(number, meaning, source)| vec![
                    code(&number.to_string()),
                    (*meaning).to_owned(),
                    (*source).to_owned(),
                ])
        ),
    )
}
