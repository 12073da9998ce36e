//! Tokens that open nothing: forged, foreign, expired, or in the wrong place.

use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::gateway::Gateway;
use testkit::network;
use testkit::wait;

use crate::answer;

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused_alike() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let registered = gateway.register("mcp-echo").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let with = |token: &str| -> Result<RequestBuilder> {
        Ok(http.post(gateway.mcp_url("mcp-echo")?).bearer_auth(token))
    };
    let refused = answer::of(with("garbage")?, port).await?;
    assert_snapshot!(refused, @r#"
    401 Unauthorized
    content-type: application/json
    www-authenticate: Bearer error="invalid_token", resource_metadata="http://mcp-echo.localhost:PORT/.well-known/oauth-protected-resource/mcp", scope="mcp"
    cache-control: no-store

    {"error":"invalid_token","error_description":"the access token is malformed, expired or revoked, or is for another service"}
    "#);
    // Without a token there is no error in the challenge (RFC 6750 section 3.1).
    assert_snapshot!(answer::of(http.post(gateway.mcp_url("mcp-echo")?), port).await?, @r#"
    401 Unauthorized
    content-type: application/json
    www-authenticate: Bearer resource_metadata="http://mcp-echo.localhost:PORT/.well-known/oauth-protected-resource/mcp", scope="mcp"
    cache-control: no-store

    {"error":"invalid_token","error_description":"an access token is needed; resource_metadata tells where to get one"}
    "#);

    let good = granted.tokens.access.as_str();
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        anyhow::bail!("{good} is not a JWT")
    };
    let decoded: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut longer = decoded.clone();
    longer["exp"] = json!(4_102_444_800_u64);
    let mut other = decoded.clone();
    other["sub"] = json!("local:root");
    let none = encode(&json!({"alg": "none", "typ": "at+jwt"}));
    for forged in [
        format!("{header}.{}.{signature}", encode(&longer)),
        format!("{header}.{}.{signature}", encode(&other)),
        format!("{header}.{claims}."),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!(
            "{header}.{claims}.{}",
            signature.chars().rev().collect::<String>()
        ),
        format!("{good}."),
        granted.tokens.refresh.clone(),
        granted.registered.client_id()?.to_owned(),
        "x".repeat(9000),
    ] {
        assert_eq!(answer::of(with(&forged)?, port).await?, refused, "{forged}");
    }
    assert_eq!(granted.status_with(good).await?, StatusCode::OK);
    // Two headers, a token in the URL, another scheme: nothing is let in by accident.
    let twice = with(good)?.header("authorization", format!("Bearer {good}"));
    assert_eq!(twice.send().await?.status(), StatusCode::UNAUTHORIZED);
    let mut url = gateway.mcp_url("mcp-echo")?;
    url.query_pairs_mut().append_pair("access_token", good);
    assert_eq!(
        http.post(url).send().await?.status(),
        StatusCode::UNAUTHORIZED
    );
    let basic = http
        .post(gateway.mcp_url("mcp-echo")?)
        .basic_auth(good, Some(""));
    assert_eq!(basic.send().await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_refused_and_the_refresh_token_helps() -> Result<()> {
    let gateway = Gateway::start()
        .with_auth_setting("ACCESS_TOKEN_LIFETIME", "10")
        .with_echo()
        .await?;
    let registered = gateway.register("mcp-echo").await?;
    let mut granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let first = granted.tokens.access.clone();
    // Clocks of other machines may be 30 s off, so the token is honoured that much longer at most.
    let verify = format!("http://{}/verify?resource=mcp-echo", gateway.auth_address());
    let http = network::http_client()?;
    wait::until("the token to expire", Duration::from_secs(60), || {
        let answer = http.get(&verify).bearer_auth(&first).send();
        async move { (answer.await.ok()?.status() == StatusCode::UNAUTHORIZED).then_some(()) }
    })
    .await?;
    assert_eq!(granted.status_with(&first).await?, StatusCode::UNAUTHORIZED);
    granted.refresh().await?;
    assert_eq!(
        granted.status_with(&granted.tokens.access).await?,
        StatusCode::OK
    );
    Ok(())
}
