//! Nothing secret is in any log, at the most talkative level: the test knows every secret of its story and looks for each.

use anyhow::{Context as _, Result};
use serde_json::json;
use testkit::gateway::{Gateway, JWT_SECRET, PASSWORD, Provider, Store};
use testkit::redis::RedisServer;

#[tokio::test]
async fn no_log_at_trace_level_contains_a_secret_of_a_whole_story() -> Result<()> {
    let redis = RedisServer::start().await?;
    let provider = Provider::GitHub {
        allowed: "octocat".to_owned(),
    };
    let store = Store::Redis {
        url: format!("redis://{}", redis.address()),
        password: RedisServer::PASSWORD.to_owned(),
    };
    let gateway = Gateway::start()
        .with_provider(provider)
        .with_store(store)
        .with_log_level("trace")
        .with_traefik_setting("TRAEFIK_LOG_LEVEL", "DEBUG")
        .with_echo()
        .await?;
    let github = gateway.github.as_ref().context("GitHub")?;
    let mut secrets = vec![JWT_SECRET.to_owned(), RedisServer::PASSWORD.to_owned()];

    // A confidential client: it has a secret and a registration token.
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register_with(json!({
            "client_name": "A confidential client",
            "redirect_uris": [testkit::mcp_client::REDIRECT_URI],
        }))
        .await?;
    for name in ["client_secret", "registration_access_token"] {
        let secret = registered
            .registration
            .get(name)
            .and_then(|value| value.as_str());
        secrets.push(secret.with_context(|| name.to_owned())?.to_owned());
    }
    let person = gateway.person()?;
    let authorized = registered.clone().authorize(&person).await?;
    secrets.extend([
        authorized.code.clone(),
        authorized.pkce.verifier.clone(),
        authorized.pkce.state.clone(),
    ]);
    secrets.extend(person.browser.cookie_values());
    let mut granted = authorized.token().await?;
    secrets.extend([
        granted.tokens.access.clone(),
        granted.tokens.refresh.clone(),
    ]);
    let session = granted.session().await?;
    session
        .call_tool("echo", json!({"message": "private words of the person"}))
        .await?;
    secrets.push("private words of the person".to_owned());
    granted.refresh().await?;
    secrets.extend([
        granted.tokens.access.clone(),
        granted.tokens.refresh.clone(),
    ]);
    // What goes wrong is logged with more words, so things go wrong, too.
    let forged = format!("{}x", granted.tokens.access);
    granted.status_with(&forged).await?;
    for (name, value) in [
        ("refresh_token", "mistyped-refresh-token"),
        ("code", "mistyped-code"),
    ] {
        let grant = if name == "code" {
            "authorization_code"
        } else {
            "refresh_token"
        };
        let form = [
            ("grant_type", grant),
            (name, value),
            ("code_verifier", "mistyped-verifier"),
        ];
        granted.registered.token_request(&form).await?;
        secrets.extend([value.to_owned(), "mistyped-verifier".to_owned()]);
    }
    granted.revoke().await?;
    secrets.push(manage(&gateway, &granted.registered.registration).await?);
    secrets.extend(github.secrets());

    // It is the right log: it tells the story, to its end.
    for told in ["octocat", "\"level\":\"DEBUG\"", "/token", "client_deleted"] {
        gateway.logs.wait_for(told).await?;
    }
    let logs = gateway.logs.text();
    assert!(secrets.iter().all(|secret| secret.len() > 8), "{secrets:?}");
    // A part of a secret is one, too.
    let found: Vec<&String> = secrets
        .iter()
        .filter(|secret| {
            let length = secret.len().min(24);
            secret
                .get(..length)
                .is_some_and(|start| logs.contains(start))
                || secret
                    .get(secret.len() - length..)
                    .is_some_and(|end| logs.contains(end))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(!logs.contains(PASSWORD));
    Ok(())
}

/// The client reads, changes and ends its registration. Returns the token that the change gave it.
async fn manage(gateway: &Gateway, registration: &serde_json::Value) -> Result<String> {
    let text = |value: &serde_json::Value, name: &str| {
        let text = value.get(name).and_then(|value| value.as_str());
        text.map(str::to_owned).with_context(|| name.to_owned())
    };
    let path = format!("/register/{}", text(registration, "client_id")?);
    let address = gateway.auth_url(&path)?;
    let http = testkit::network::http_client()?;
    let token = text(registration, "registration_access_token")?;
    let read = http.get(address.clone()).bearer_auth(&token).send().await?;
    assert_eq!(read.status(), 200);
    let metadata = json!({
        "client_id": text(registration, "client_id")?,
        "redirect_uris": [testkit::mcp_client::REDIRECT_URI],
    });
    let change = http
        .put(address.clone())
        .bearer_auth(&token)
        .json(&metadata);
    let changed: serde_json::Value = change.send().await?.error_for_status()?.json().await?;
    let token = text(&changed, "registration_access_token")?;
    let deleted = http.delete(address).bearer_auth(&token).send().await?;
    assert_eq!(deleted.status(), 204);
    Ok(token)
}
