//! Strangers at the authorization server: what they send, and the exact answer to each.

use anyhow::{Context as _, Result};
use insta::assert_snapshot;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use testkit::gateway::Gateway;
use testkit::network;

use crate::answer;

#[tokio::test]
async fn registration_answers_every_mistake_with_json() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let register = || gateway.auth_url("/register").map(|url| http.post(url));
    let json = |body: &str| -> Result<RequestBuilder> {
        Ok(register()?
            .header("content-type", "application/json")
            .body(body.to_owned()))
    };

    assert_snapshot!(answer::of(json("{\"redirect_uris\": [")?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_client_metadata","error_description":"the body is not the JSON that was expected: EOF while parsing a list at line 1 column 19"}
    "#);
    assert_snapshot!(answer::of(json("[]")?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_client_metadata","error_description":"the body must be a JSON object"}
    "#);
    assert_snapshot!(answer::of(json("{}")?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_redirect_uri","error_description":"redirect_uris must hold 1 to 10 URIs, not 0"}
    "#);
    assert_snapshot!(answer::of(json(r#"{"redirect_uris": ["http://evil.example/callback"]}"#)?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_redirect_uri","error_description":"http://evil.example/callback: http is allowed only for 127.0.0.1, [::1] and localhost; use https"}
    "#);
    assert_snapshot!(answer::of(register()?.header("content-type", "text/plain").body("{}"), port).await?, @r#"
    415 Unsupported Media Type
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_request","error_description":"Content-Type must be application/json"}
    "#);
    let huge = format!(r#"{{"client_name": "{}"}}"#, "x".repeat(20_000));
    assert_snapshot!(answer::of(json(&huge)?, port).await?, @r#"
    413 Payload Too Large
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_request","error_description":"the body may have at most 16384 bytes"}
    "#);
    assert_snapshot!(answer::of(http.get(gateway.auth_url("/register")?), port).await?, @r#"
    405 Method Not Allowed
    content-type: application/json
    cache-control: no-store
    allow: POST

    {"error":"method_not_allowed","error_description":"this address answers POST"}
    "#);
    Ok(())
}

#[tokio::test]
async fn authorize_shows_a_page_for_a_wrong_client_or_redirect_and_redirects_other_errors()
-> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let registered = gateway.register("mcp-echo").await?;
    let person = gateway.person()?;
    person.browser.stop_at(&registered.redirect_uri);
    let (good, _) = registered.authorization_url()?;
    let changed = |name: &str, value: Option<&str>| {
        let mut url = good.clone();
        let pairs: Vec<(String, String)> = good.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        query.extend_pairs(pairs.iter().filter(|(known, _)| known != name));
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        drop(query);
        url
    };

    for (name, value) in [
        ("client_id", Some("mcp-nobody")),
        ("client_id", None),
        ("redirect_uri", Some("http://127.0.0.1:33418/other")),
        ("redirect_uri", Some("http://localhost:33418/callback")),
        ("redirect_uri", Some("https://evil.example/callback")),
    ] {
        let page = person.browser.open(&changed(name, value)).await?.page()?;
        assert_eq!(
            page.status,
            StatusCode::BAD_REQUEST,
            "{name}={value:?}: {}",
            page.text()
        );
        assert_eq!(
            page.chain.len(),
            1,
            "{name}={value:?} was redirected: {:?}",
            page.chain
        );
    }
    for (name, value, error) in [
        ("response_type", Some("token"), "unsupported_response_type"),
        ("code_challenge", None, "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        (
            "resource",
            Some("https://elsewhere.example/mcp"),
            "invalid_target",
        ),
    ] {
        let back = person.browser.open(&changed(name, value)).await?.client()?;
        let query: Vec<(String, String)> = back.query_pairs().into_owned().collect();
        let find = |name: &str| {
            query
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(find("error"), Some(error), "{name}={value:?}: {back}");
        assert_eq!(find("iss"), Some(gateway.issuer().as_str()), "{back}");
        assert!(find("state").is_some(), "{back}");
        assert_eq!(find("code"), None, "{back}");
    }
    Ok(())
}

#[tokio::test]
async fn the_token_endpoint_refuses_with_the_registered_codes_and_a_replay_revokes() -> Result<()> {
    // Strict: a repeated code is a replay at once, not a retry of a network that lost the answer.
    let gateway = Gateway::start()
        .with_auth_setting("REFRESH_GRACE", "0")
        .with_echo()
        .await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let registered = gateway.register("mcp-echo").await?;
    let authorized = registered.authorize(&gateway.person()?).await?;
    let client_id = authorized.registered.client_id()?.to_owned();
    let token = || gateway.auth_url("/token").map(|url| http.post(url));
    let form = |changes: &[(&str, Option<&str>)]| -> Result<RequestBuilder> {
        let mut form = authorized.form();
        form.push(("client_id", &client_id));
        form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let more = changes
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        let form: Vec<(&str, &str)> = form.into_iter().chain(more).collect();
        Ok(token()?.form(&form))
    };

    let body = "{\"grant_type\":\"authorization_code\"}";
    let json = token()?
        .header("content-type", "application/json")
        .body(body);
    assert_snapshot!(answer::of(json, port).await?, @r#"
    415 Unsupported Media Type
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_request","error_description":"Content-Type must be application/x-www-form-urlencoded"}
    "#);
    assert_snapshot!(answer::of(form(&[("grant_type", Some("password"))])?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"unsupported_grant_type","error_description":"grant_type must be authorization_code, refresh_token, client_credentials or the device grant of RFC 8628"}
    "#);
    assert_snapshot!(answer::of(form(&[("client_id", Some("mcp-nobody"))])?, port).await?, @r#"
    401 Unauthorized
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_client","error_description":"the client is not registered here, or its secret is wrong"}
    "#);
    assert_snapshot!(answer::of(form(&[("code", Some("made-up"))])?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_grant","error_description":"the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier"}
    "#);
    assert_snapshot!(answer::of(form(&[("code_verifier", None)])?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_request","error_description":"code_verifier is missing"}
    "#);
    let wrong = Some("wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong");
    assert_snapshot!(answer::of(form(&[("code_verifier", wrong)])?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_grant","error_description":"the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier"}
    "#);
    assert_snapshot!(answer::of(http.get(gateway.auth_url("/token")?), port).await?, @r#"
    405 Method Not Allowed
    content-type: application/json
    cache-control: no-store
    allow: POST

    {"error":"method_not_allowed","error_description":"this address answers POST"}
    "#);

    // After all that, the code still works for its owner: once.
    let response = form(&[])?.send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    let tokens: Value = response.json().await?;
    let access = tokens
        .get("access_token")
        .and_then(Value::as_str)
        .context("access_token")?;
    let call = || -> Result<RequestBuilder> {
        Ok(http.post(gateway.mcp_url("mcp-echo")?).bearer_auth(access))
    };
    assert_ne!(call()?.send().await?.status(), StatusCode::UNAUTHORIZED);
    assert_snapshot!(answer::of(form(&[("code_verifier", wrong)])?, port).await?, @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store

    {"error":"invalid_grant","error_description":"the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier"}
    "#);
    assert_eq!(call()?.send().await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}
