//! What strangers send, and the exact answer to each: nothing is lost, nothing hangs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::gateway::Gateway;
use testkit::process::{Command, Logs};
use testkit::wait::{self, PATIENCE};
use testkit::{binaries, network};

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
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register()
        .await?;
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
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register()
        .await?;
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

    {"error":"unsupported_grant_type","error_description":"grant_type must be authorization_code or refresh_token"}
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

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused_alike() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register()
        .await?;
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
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register()
        .await?;
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

#[tokio::test]
async fn the_mcp_endpoint_answers_nonsense_from_a_signed_in_person() -> Result<()> {
    let gateway = Gateway::start()
        .with_proxy_setting("MAX_MESSAGE_BYTES", "10000")
        .with_echo()
        .await?;
    let http = network::http_client()?;
    let port = gateway.public_address().port();
    let registered = gateway
        .client("mcp-echo")?
        .discover()
        .await?
        .register()
        .await?;
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
    let registered = gateway
        .client("mcp-bad")?
        .discover()
        .await?
        .register()
        .await?;
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
    let directory = tempfile::tempdir()?;
    for (words, expected) in [
        (&["--"][..], "COMMAND"),
        (&["--", "no-such-mcp-server"][..], "no-such-mcp-server"),
    ] {
        let logs = Logs::default();
        let mut proxy = Command::new("proxy", binaries::mcp_proxy())
            .current_dir(directory.path())
            .env("PRIVATE_PORT", "0")
            .args(["--port", "0"])
            .args(words)
            .start(&logs)?;
        let status = proxy.wait(PATIENCE).await?;
        assert!(!status.success(), "{status}");
        logs.wait_for(expected).await?;
    }
    Ok(())
}
