//! The official conformance suite against the authorization server, through the real Traefik.

use anyhow::{Context as _, Result};
use serde_json::json;
use testkit::gateway::Gateway;
use testkit::process::{Command, Logs};
use testkit::wait::{self, PATIENCE};
use testkit::{binaries, network};

#[tokio::test]
async fn metadata_and_code_grant_are_conformant() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let port = network::free_port()?;
    let callback = format!("http://127.0.0.1:{port}/callback");
    // The suite cannot register itself.
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register_with(json!({
            "client_name": "conformance",
            "redirect_uris": [callback],
            "token_endpoint_auth_method": "none",
        }))
        .await?;

    let logs = Logs::default();
    let hook = binaries::workspace().join("tests/clients/localhost.mjs");
    let mut suite = Command::new("suite", binaries::tool("mcp-conformance"))
        .args(["authorization", "--url", &gateway.issuer()])
        .args(["--client-id", registered.client_id()?])
        .args(["--resource", gateway.mcp_url("mcp-echo")?.as_str()])
        .args(["--port", &port.to_string()])
        .env("NODE_OPTIONS", format!("--import={}", hook.display()))
        .start(&logs)?;
    // It prints an address and waits for a person to come back from there.
    let url = wait::until("the suite's address", PATIENCE, || {
        let text = logs.text();
        let mut words = text.split_ascii_whitespace();
        let found = words
            .find(|word| word.contains("/authorize?"))
            .map(str::to_owned);
        async move { found }
    })
    .await?;
    let back = gateway
        .person()?
        .approve(&url.parse()?, &callback.parse()?)
        .await?;
    network::http_client()?.get(back).send().await?;
    let status = suite.wait(PATIENCE).await?;
    assert!(status.success(), "{status}");
    let text = logs.text();
    let summary = text
        .lines()
        .find(|line| line.contains("Total:"))
        .context("a total")?;
    assert!(
        summary.contains(" 0 failed") && !summary.contains(": 0 passed"),
        "{summary}"
    );
    Ok(())
}
