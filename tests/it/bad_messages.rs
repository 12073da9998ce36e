//! Nonsense at the MCP endpoint, and MCP servers that fail: exact answers, nothing lost, nothing hung.

use anyhow::Result;
use insta::assert_snapshot;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;
use testkit::gateway::Gateway;
use testkit::process::{Command, Logs};
use testkit::wait::PATIENCE;
use testkit::{binaries, network};

use crate::answer;

#[tokio::test]
async fn the_mcp_endpoint_answers_nonsense_from_a_signed_in_person() -> Result<()> {
    let gateway = Gateway::start()
        .with_proxy_setting("MAX_MESSAGE_BYTES", "10000")
        .with_echo()
        .await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let registered = gateway.register("mcp-echo").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let session = granted.session().await?;
    let send = |kind: &str, body: &str| -> Result<RequestBuilder> {
        let request = http
            .post(gateway.mcp_url("mcp-echo")?)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", kind)
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", session.id().unwrap_or_default())
            .bearer_auth(&granted.tokens.access);
        Ok(request.body(body.to_owned()))
    };
    assert_snapshot!(answer::of(send("application/json", "{\"jsonrpc\": ")?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the text is not valid JSON: EOF while parsing a value at line 1 column 12"}}
    "#);
    assert_snapshot!(answer::of(send("application/json", "42")?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"not a JSON-RPC 2.0 message: it is not an object"}}
    "#);
    assert_snapshot!(answer::of(send("text/plain", "{}")?, port).await?, @r#"
    415 Unsupported Media Type
    content-type: application/json
    cache-control: no-store

    {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"unsupported media type: the body must be application/json in UTF-8"}}
    "#);
    let huge = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(20_000)}).to_string();
    assert_snapshot!(answer::of(send("application/json", &huge)?, port).await?, @r#"
    413 Payload Too Large
    content-type: application/json
    cache-control: no-store

    {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the body is larger than 10000 bytes"}}
    "#);
    let unknown = http
        .post(gateway.mcp_url("mcp-echo")?)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .header("mcp-session-id", "made-up")
        .bearer_auth(&granted.tokens.access)
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_snapshot!(answer::of(unknown, port).await?, @r#"
    404 Not Found
    content-type: application/json
    cache-control: no-store

    {"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"session not found: begin a new one with initialize"}}
    "#);
    let put = http
        .put(gateway.mcp_url("mcp-echo")?)
        .bearer_auth(&granted.tokens.access);
    assert_snapshot!(answer::of(put, port).await?, @r#"
    404 Not Found
    content-type: text/plain; charset=utf-8

    404 page not found
    "#);
    let nobody = http.post(format!("http://mcp-nobody.localhost:{port}/mcp"));
    assert_snapshot!(answer::of(nobody, port).await?, @r#"
    404 Not Found
    content-type: text/plain; charset=utf-8

    404 page not found
    "#);

    // The session is none the worse for it.
    let reply = session.request("tools/list", json!({})).await?;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.message);
    Ok(())
}

#[tokio::test]
async fn a_child_that_dies_fails_its_call_at_once_and_the_next_session_has_a_new_one() -> Result<()>
{
    let scripted = binaries::built("scripted-server").display().to_string();
    let gateway = Gateway::start().with_service("mcp-bad", [scripted]).await?;
    let registered = gateway.register("mcp-bad").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let session = granted.session().await?;
    let reply = session
        .request(
            "tools/call",
            json!({"name": "exit", "arguments": {"status": 7}}),
        )
        .await?;
    assert_snapshot!(reply.message.get("error").unwrap_or(&reply.message), @r#"{"code":-32603,"message":"the MCP server process ended with exit status 7"}"#);
    let again = granted.session().await?;
    let echo = again.call_tool("echo", json!({"hello": "there"})).await?;
    assert!(echo.contains("there"), "{echo}");
    Ok(())
}

#[tokio::test]
async fn a_missing_command_is_one_clear_line() -> Result<()> {
    assert_snapshot!(what_a_proxy_says_at_its_end(&["--"]).await?, @r#"
    proxy: mcp-proxy: MCP_COMMAND (proxy.command in gateway.toml) is not set. Write it after `--`: mcp-proxy -- mcp-server-fetch.
    exit status: 1
    "#);
    assert_snapshot!(what_a_proxy_says_at_its_end(&["--", "no-such-mcp-server"]).await?, @r#"
    proxy: mcp-proxy: the command `no-such-mcp-server` was not found on the PATH given to MCP servers (/usr/bin:/bin): install it or give its full path
    exit status: 1
    "#);
    Ok(())
}

async fn what_a_proxy_says_at_its_end(words: &[&str]) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let logs = Logs::default();
    let mut proxy = Command::new("proxy", binaries::mcp_proxy())
        .current_dir(directory.path())
        .env("PATH", "/usr/bin:/bin")
        .env("PRIVATE_PORT", "0")
        .args(["--port", "0"])
        .args(words)
        .start(&logs)?;
    let status = proxy.wait(PATIENCE).await?;
    logs.wait_for("proxy").await?;
    Ok(format!("{}\n{status}", logs.text()))
}
