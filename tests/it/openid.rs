//! A real provider of OpenID Connect behind the whole gateway.

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;
use testkit::binaries;
use testkit::gateway::Gateway;
use testkit::network;
use testkit::openid::{CLIENT_ID, CLIENT_SECRET, Provider};
use testkit::person::{Credentials, Person};
use tokio::process::Command;
use url::Url;

/// A gateway whose provider is not up yet, and the port where it will be.
async fn gateway(lists: &[(&str, &str)]) -> Result<(Gateway, u16)> {
    let port = network::free_port()?;
    let mut setup = Gateway::start()
        .with_echo()
        .with_auth_setting("IDENTITY_PROVIDER", "oidc")
        .with_auth_setting("OIDC_ISSUER", &format!("http://127.0.0.1:{port}"))
        .with_auth_setting("OIDC_CLIENT_ID", CLIENT_ID)
        .with_auth_setting("OIDC_CLIENT_SECRET", CLIENT_SECRET);
    for (variable, value) in lists {
        setup = setup.with_auth_setting(variable, value);
    }
    Ok((setup.await?, port))
}

fn person(login: &str) -> Result<Person> {
    Person::new(Credentials::OpenId {
        login: login.to_owned(),
    })
}

#[tokio::test]
async fn who_is_on_the_list_comes_in_with_each_kind_of_signature() -> Result<()> {
    for (algorithm, list) in [
        ("RS256", ("ALLOWED_OIDC_USERS", "ada")),
        (
            "ES256",
            ("ALLOWED_OIDC_USERS", "ada@example.com,mallory@example.com"),
        ),
        ("EdDSA", ("ALLOWED_OIDC_GROUPS", "staff")),
    ] {
        let scopes = ("OIDC_SCOPES", "openid,profile,email,groups");
        let (gateway, port) = gateway(&[list, scopes]).await?;
        let callback = gateway.auth_url("/callback")?;
        let _provider = Provider::start(port, &callback, algorithm, &gateway.logs).await?;
        let registered = gateway.register("mcp-echo").await?;
        let granted = registered
            .clone()
            .authorize(&person("ada")?)
            .await?
            .token()
            .await
            .with_context(|| format!("{algorithm}, {list:?}"))?;
        let session = granted.session().await?;
        let listed = session.request("tools/list", json!({})).await?;
        assert_eq!(listed.status, StatusCode::OK);
        // Known there, not on the list; nor does an address help that was not verified.
        let (url, _) = registered.authorization_url()?;
        let back = person("mallory")?
            .approve(&url, &registered.redirect_uri)
            .await?;
        assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
        assert_eq!(parameter(&back, "code"), None);
        // What auth wrote before this is there with it.
        let last = gateway.auth_url("/health")?;
        let last = network::http_client()?
            .get(last)
            .header("X-Request-ID", "the-last");
        assert_eq!(last.send().await?.status(), StatusCode::OK);
        gateway.logs.wait_for("the-last").await?;
        for complaint in ["authorization.error", "grant.error", "userinfo.error"] {
            assert!(!gateway.logs.contain(complaint), "{complaint}");
        }
        assert!(!gateway.logs.contain("eyJ"), "a token is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_looks_at_the_provider() -> Result<()> {
    let (gateway, port) = gateway(&[("ALLOWED_OIDC_USERS", "ada")]).await?;
    let issuer = format!("http://127.0.0.1:{port}");
    let line = format!("{issuer} is an issuer of OpenID Connect that can be used");
    let callback = gateway.auth_url("/callback")?;
    let away = doctor(&gateway, &issuer).await?;
    assert!(
        away.contains(&line) && away.contains("it does not answer"),
        "{away}"
    );
    let _provider = Provider::start(port, &callback, "RS256", &gateway.logs).await?;
    let with_slash = doctor(&gateway, &format!("{issuer}/")).await?;
    assert!(with_slash.contains("it calls itself"), "{with_slash}");
    let well = doctor(&gateway, &issuer).await?;
    assert!(
        well.contains(&line) && !well.contains("it does not answer"),
        "{well}"
    );
    Ok(())
}

/// What the doctor prints.
async fn doctor(gateway: &Gateway, issuer: &str) -> Result<String> {
    let place = tempfile::tempdir()?;
    let output = Command::new(binaries::mcp_auth())
        .arg("doctor")
        .env_clear()
        .current_dir(place.path())
        .envs([
            ("DOMAIN", "localhost"),
            ("PUBLIC_SCHEME", "http"),
            ("PUBLIC_PORT", &gateway.public_address().port().to_string()),
            ("MCP_SERVICES", "mcp-echo"),
            ("PRIVATE_PORT", "1"),
            ("GATEWAY_JWT_SECRET", testkit::gateway::JWT_SECRET),
            ("STORE", "memory"),
            ("IDENTITY_PROVIDER", "oidc"),
            ("OIDC_ISSUER", issuer),
            ("OIDC_CLIENT_ID", CLIENT_ID),
            ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
            ("ALLOWED_OIDC_USERS", "ada"),
        ])
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
