//! The official clients, each driven through its own OAuth code: 401 → metadata → registration → sign-in → token → session →
//! `fetch` → expired token, refreshed by the client itself → revoked → back at the browser.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::gateway::Gateway;
use testkit::network;
use testkit::sdk::{Driver, Sdk};
use testkit::site::{SENTENCE, Site};

#[tokio::test]
async fn pypi_mcp_2_3_0_asking_for_the_newest_revision() -> Result<()> {
    signs_in_fetches_refreshes_and_is_revoked(Sdk::PythonAuto, "2026-07-28").await
}

#[tokio::test]
async fn pypi_mcp_2_3_0_with_the_handshake() -> Result<()> {
    signs_in_fetches_refreshes_and_is_revoked(Sdk::PythonLegacy, "2025-11-25").await
}

#[tokio::test]
async fn npm_sdk_1_32_2() -> Result<()> {
    signs_in_fetches_refreshes_and_is_revoked(Sdk::TypeScript1, "2025-11-25").await
}

#[tokio::test]
async fn npm_client_2_4_0() -> Result<()> {
    signs_in_fetches_refreshes_and_is_revoked(Sdk::TypeScript2, "2025-11-25").await
}

#[tokio::test]
async fn npm_client_2_4_0_asking_for_the_newest_revision() -> Result<()> {
    signs_in_fetches_refreshes_and_is_revoked(Sdk::TypeScript2Auto, "2026-07-28").await
}

async fn signs_in_fetches_refreshes_and_is_revoked(sdk: Sdk, version: &str) -> Result<()> {
    let site = Site::start()?;
    let gateway = Gateway::start().with_fetch().await?;
    let person = gateway.person()?;
    let mcp_url = gateway.mcp_url("mcp-fetch")?;
    let mut driver = Driver::start(sdk, &mcp_url, &site.note()?, &gateway.logs)?;

    driver.sign_in(&person).await?;
    let fetched = driver.expect("fetched").await?;
    assert!(text(&fetched, "text")?.contains(SENTENCE), "{fetched}");
    assert_eq!(
        fetched.pointer("/server/name"),
        Some(&json!("mcp-fetch")),
        "{fetched}"
    );
    assert_eq!(fetched.get("version"), Some(&json!(version)), "{fetched}");

    let refreshed = driver.expect("refreshed").await?;
    assert!(text(&refreshed, "text")?.contains(SENTENCE), "{refreshed}");
    assert_eq!(refreshed.get("rotated"), Some(&json!(true)), "{refreshed}");

    let tokens = driver.expect("tokens").await?;
    let form = [
        ("token", text(&tokens, "refresh_token")?),
        ("client_id", text(&tokens, "client_id")?),
    ];
    let revocation = network::http_client()?
        .post(gateway.auth_url("/revoke")?)
        .form(&form);
    assert_eq!(revocation.send().await?.status(), 200);
    driver.tell(&json!({"revoked": true}))?;

    // The client meets a 401, cannot refresh, and sends its person to the browser again: to the same service, with success.
    driver.sign_in(&person).await?;
    driver.expect("fetched again").await?;
    Ok(())
}

fn text<'a>(event: &'a Value, name: &str) -> Result<&'a str> {
    let value = event.get(name).and_then(Value::as_str);
    value.with_context(|| format!("no {name} in {event}"))
}
