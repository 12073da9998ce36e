//! The programs that people connect, as they are released, from the first line of our guide to the answer of a real MCP server: a
//! person signs in once, and the program finds everything else by itself.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::application::{Application, said, sign_in};
use testkit::gateway::Gateway;
use testkit::model::{KEY, Model};
use testkit::network;
use testkit::process::Logs;
use testkit::site::{SENTENCE, Site};

/// With registration: the documents by which some of them name themselves are on the internet.
async fn gateway() -> Result<Gateway> {
    Gateway::start()
        .with_auth_setting("CLIENT_DOCUMENTS", "off")
        .with_fetch()
        .await
}

#[tokio::test]
async fn claude_code() -> Result<()> {
    let site = Site::start()?;
    let model = Model::start("fetch", "fetch", json!({"url": site.note()?}))?;
    let gateway = gateway().await?;
    let claude = Application::new("claude", &gateway)?
        .with("ANTHROPIC_BASE_URL", &model.url())
        .with("ANTHROPIC_API_KEY", KEY)
        .with("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .with("ENABLE_TOOL_SEARCH", "false");

    let url = gateway.mcp_url("mcp-fetch")?;
    let added = claude
        .run(&["mcp", "add", "--transport", "http", "fetch", url.as_str()])
        .await?;
    assert!(added.status.success(), "{added:?}");
    let listed = claude.run(&["mcp", "list"]).await?;
    assert!(listed.text.contains("Needs authentication"), "{listed:?}");

    let logs = Logs::default();
    let mut login = claude
        .at_terminal(&["mcp", "login", "--no-browser", "fetch"])
        .start(&logs)?;
    sign_in(&logs, &gateway.person()?).await?;
    let signed_in = said(&mut login, &logs).await?;
    assert!(signed_in.status.success(), "{signed_in:?}");
    let listed = claude.run(&["mcp", "list"]).await?;
    assert!(listed.text.contains("Connected"), "{listed:?}");

    let ask = [
        "-p",
        "What does the page say?",
        "--allowedTools",
        "mcp__fetch__fetch",
    ];
    let asked = claude.run(&ask).await?;
    assert!(asked.text.contains(SENTENCE), "{asked:?}");

    // Some days later: the access token has expired, and nobody is asked for that.
    let file = claude.file(".claude/.credentials.json");
    let first = kept(&file, |tokens| tokens["expiresAt"] = json!(0))?;
    let asked = claude.run(&ask).await?;
    assert!(asked.text.contains(SENTENCE), "{asked:?}");
    let second = kept(&file, |_| ())?;
    assert_ne!(first["refreshToken"], second["refreshToken"]);

    // Revoked: it knows what to do.
    let form = [
        ("token", &second["refreshToken"]),
        ("client_id", &second["clientId"]),
    ];
    let form = form.map(|(name, value)| (name, value.as_str().unwrap_or_default()));
    let revocation = network::http_client()?
        .post(gateway.auth_url("/revoke")?)
        .form(&form);
    assert_eq!(revocation.send().await?.status(), 200);
    let listed = claude.run(&["mcp", "list"]).await?;
    assert!(listed.text.contains("Needs authentication"), "{listed:?}");
    Ok(())
}

/// What Claude Code keeps for its only server, before the change.
fn kept(file: &Path, change: impl FnOnce(&mut Value)) -> Result<Value> {
    let mut all: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let servers = all.get_mut("mcpOAuth").and_then(Value::as_object_mut);
    let tokens = servers.and_then(|servers| servers.values_mut().next());
    let tokens = tokens.context("no server")?;
    let before = tokens.clone();
    change(tokens);
    std::fs::write(file, all.to_string())?;
    Ok(before)
}

#[tokio::test]
async fn codex() -> Result<()> {
    let site = Site::start()?;
    let model = Model::start("fetch", "fetch", json!({"url": site.note()?}))?;
    let gateway = gateway().await?;
    let codex = Application::new("codex", &gateway)?.with("MODEL_KEY", KEY);

    // To add it is to be sent to the browser.
    let url = gateway.mcp_url("mcp-fetch")?;
    let logs = Logs::default();
    let mut adding = codex
        .command(&["mcp", "add", "fetch", "--url", url.as_str()])
        .start(&logs)?;
    sign_in(&logs, &gateway.person()?).await?;
    let added = said(&mut adding, &logs).await?;
    assert!(added.status.success(), "{added:?}");
    let listed = codex.run(&["mcp", "list"]).await?;
    assert!(listed.text.contains("OAuth"), "{listed:?}");

    let provider = format!(
        "model_providers.test={{name=\"test\",base_url=\"{}/v1\",env_key=\"MODEL_KEY\",wire_api=\"responses\"}}",
        model.url()
    );
    let asked = codex
        .run(&[
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "--model",
            "test",
            // It waits for the server as long as that takes, instead of going on without.
            "-c",
            "mcp_servers.fetch.required=true",
            "-c",
            "mcp_servers.fetch.startup_timeout_sec=60",
            "-c",
            "model_provider=\"test\"",
            "-c",
            &provider,
            "What does the page say?",
        ])
        .await?;
    assert!(asked.text.contains(SENTENCE), "{asked:?}");
    Ok(())
}

/// Stands between the gateway and programs that know stdio alone.
#[tokio::test]
async fn mcp_remote() -> Result<()> {
    let site = Site::start()?;
    let gateway = gateway().await?;
    let remote = Application::new("mcp-remote", &gateway)?;
    let url = gateway.mcp_url("mcp-fetch")?;
    let logs = Logs::default();
    let port = network::free_port()?.to_string();
    let mut bridge = remote
        .command(&[url.as_str(), &port, "--allow-http"])
        .start(&logs)?;
    sign_in(&logs, &gateway.person()?).await?;

    let initialize = json!({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    }});
    bridge.write_line(&initialize.to_string())?;
    logs.wait_for(r#""id":"first""#).await?;
    bridge.write_line(r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#)?;
    let call = json!({"jsonrpc": "2.0", "id": "second", "method": "tools/call", "params": {
        "name": "fetch", "arguments": {"url": site.note()?},
    }});
    bridge.write_line(&call.to_string())?;
    logs.wait_for(SENTENCE).await
}

#[tokio::test]
async fn mcp_inspector() -> Result<()> {
    let site = Site::start()?;
    let gateway = gateway().await?;
    let inspector =
        Application::new("mcp-inspector", &gateway)?.with("MCP_INSPECTOR_SECRET_STORE", "file");
    let url = gateway.mcp_url("mcp-fetch")?;
    let callback = format!("http://127.0.0.1:{}/oauth/callback", network::free_port()?);
    let page = format!("url={}", site.note()?);
    let call = [
        "--cli",
        url.as_str(),
        "--transport",
        "http",
        "--callback-url",
        &callback,
        "--method",
        "tools/call",
        "--tool-name",
        "fetch",
        "--tool-arg",
        &page,
    ];
    let logs = Logs::default();
    let mut calling = inspector.at_terminal(&call).start(&logs)?;
    sign_in(&logs, &gateway.person()?).await?;
    let called = said(&mut calling, &logs).await?;
    assert!(called.status.success(), "{called:?}");
    assert!(called.text.contains(SENTENCE), "{called:?}");
    // It remembers. And in the newest revision there are no sessions.
    let called = inspector
        .run(&[&call[..], &["--protocol-era", "modern"]].concat())
        .await?;
    assert!(called.text.contains(SENTENCE), "{called:?}");
    // What mcp-proxy wrote before it refused this is there with it.
    let nobody = format!("http://{}/mcp", gateway.proxy_address("mcp-fetch")?);
    let last = network::http_client()?
        .get(nobody)
        .header("X-Request-ID", "the-last");
    assert_eq!(last.send().await?.status(), 401);
    gateway.logs.wait_for("the-last").await?;
    let sessions = gateway.logs.text().matches("session opened").count();
    assert_eq!(sessions, 1);
    Ok(())
}
