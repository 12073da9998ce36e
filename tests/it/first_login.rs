//! The main job, end to end: a client that knows only the address of a service finds its way, a person signs in, a real MCP server
//! answers through the real Traefik.

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::gateway::{Gateway, Provider};
use testkit::site::{SENTENCE, Site};

#[tokio::test]
async fn with_our_own_sign_in_page() -> Result<()> {
    let gateway = Gateway::start().with_fetch().await?;
    finds_its_way_calls_fetch_refreshes_and_is_revoked(&gateway).await
}

#[tokio::test]
async fn with_github() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "octocat".to_owned(),
    };
    let gateway = Gateway::start()
        .with_provider(provider)
        .with_fetch()
        .await?;
    finds_its_way_calls_fetch_refreshes_and_is_revoked(&gateway).await?;
    // Nothing of it would have been refused by GitHub.
    let github = gateway.github.as_ref().context("GitHub")?;
    assert_eq!(github.complaints(), Vec::<String>::new());
    Ok(())
}

async fn finds_its_way_calls_fetch_refreshes_and_is_revoked(gateway: &Gateway) -> Result<()> {
    let site = Site::start()?;
    let person = gateway.person()?;

    let registered = gateway.register("mcp-fetch").await?;
    let mut granted = registered.authorize(&person).await?.token().await?;
    let session = granted.session().await?;
    assert_eq!(
        session.server.pointer("/serverInfo/name"),
        Some(&json!("mcp-fetch"))
    );
    let text = session
        .call_tool("fetch", json!({"url": site.page()?}))
        .await?;
    assert!(text.contains(SENTENCE), "{text}");

    // A refresh gives new tokens, and the session goes on with them.
    let old = granted.tokens.clone();
    granted.refresh().await?;
    assert_ne!(granted.tokens.refresh, old.refresh);
    let mut session = session;
    session.set_access_token(&granted.tokens.access);
    let text = session
        .call_tool("fetch", json!({"url": site.page()?}))
        .await?;
    assert!(text.contains(SENTENCE), "{text}");

    // Revoked: every access token of the grant is refused at once, and so is the session.
    granted.revoke().await?;
    for token in [&old.access, &granted.tokens.access] {
        assert_eq!(granted.status_with(token).await?, StatusCode::UNAUTHORIZED);
    }
    let reply = session.request("tools/list", json!({})).await?;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", granted.tokens.refresh.as_str()),
    ];
    let (status, answer) = granted.registered.token_request(&form).await?;
    assert_eq!(
        (status, answer.get("error")),
        (StatusCode::BAD_REQUEST, Some(&json!("invalid_grant")))
    );
    Ok(())
}

#[tokio::test]
async fn a_token_opens_one_service_only_whatever_the_host_is_spelt_like() -> Result<()> {
    let echo = testkit::binaries::mcp_echo().display().to_string();
    let gateway = Gateway::start()
        .with_service("mcp-one", [echo.clone()])
        .with_service("mcp-two", [echo])
        .await?;
    let registered = gateway.register("mcp-one").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let port = gateway.public_address().port();
    let http = testkit::network::http_client()?;
    for (host, expected) in [
        (format!("mcp-one.localhost:{port}"), 200),
        (format!("MCP-One.LocalHost:{port}"), 200),
        ("mcp-one.localhost".to_owned(), 200),
        (format!("mcp-two.localhost:{port}"), 401),
        (format!("MCP-TWO.localhost:{port}"), 401),
        ("mcp-two.localhost.".to_owned(), 401),
        (format!("mcp-three.localhost:{port}"), 404),
        (format!("auth.localhost:{port}"), 404),
    ] {
        let response = http
            .post(format!("http://{}/mcp", gateway.public_address()))
            .header("host", &host)
            .header("x-forwarded-host", "mcp-one.localhost")
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(&granted.tokens.access)
            .json(&initialize())
            .send()
            .await?;
        assert_eq!(
            response.status(),
            expected,
            "{host}: {}",
            response.text().await?
        );
    }
    // /verify itself, where the named service and the forwarded host disagree.
    let verify = |service: &str, host: &str| {
        http.get(format!(
            "http://{}/verify?resource={service}",
            gateway.auth_address()
        ))
        .header("x-forwarded-host", host)
        .bearer_auth(&granted.tokens.access)
        .send()
    };
    assert_eq!(verify("mcp-one", "mcp-one.localhost").await?.status(), 200);
    assert_eq!(verify("mcp-one", "mcp-two.localhost").await?.status(), 403);
    assert_eq!(
        verify("mcp-three", "mcp-three.localhost").await?.status(),
        403
    );
    Ok(())
}

fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        },
    })
}
