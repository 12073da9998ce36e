//! `/verify`: what opens a service, and what does not.

use std::sync::Arc;

use insta::assert_snapshot;
use oauth::{Clock as _, ManualClock, SystemClock};

use crate::answer::{Answer, answer};
use crate::service::{Auth, OTHER_RESOURCE};
use crate::sign_in::{Tokens, code_with, public_client, redemption, refreshing, signed_in};

#[tokio::test]
async fn a_good_token_is_200_with_each_identity_header_once() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let first = auth.verify(&tokens.access).await;
    assert_snapshot!(first.shown(&[(&client.id, "[client_id]")]), @r#"
    200
    x-auth-client: [client_id]
    x-auth-login: ada
    x-auth-scope: mcp offline_access
    x-auth-subject: local:ada
    "#);
    for name in [
        "x-auth-subject",
        "x-auth-login",
        "x-auth-client",
        "x-auth-scope",
    ] {
        assert_eq!(first.count(name), 1, "{name}");
    }
    // From memory now.
    let again = auth.verify(&tokens.access).await;
    assert_eq!(again.shown(&[]), first.shown(&[]));
}

/// A fault of the Python gateway: the 401 did not tell where to go.
#[tokio::test]
async fn without_a_token_the_answer_tells_where_to_get_one() {
    let auth = Auth::start().await;
    let answer = answer(auth.verification("mcp-fetch")).await;
    assert_snapshot!(answer.shown(&[]), @r#"
    401
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Bearer resource_metadata="http://mcp-fetch.localhost:8080/.well-known/oauth-protected-resource/mcp", scope="mcp"
    x-content-type-options: nosniff

    {
      "error": "invalid_token",
      "error_description": "an access token is needed; resource_metadata tells where to get one"
    }
    "#);
}

#[tokio::test]
async fn a_bad_token_is_told_as_such() {
    let auth = Auth::start().await;
    let answer = auth.verify("x").await;
    assert_snapshot!(answer.shown(&[]), @r#"
    401
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Bearer error="invalid_token", resource_metadata="http://mcp-fetch.localhost:8080/.well-known/oauth-protected-resource/mcp", scope="mcp"
    x-content-type-options: nosniff

    {
      "error": "invalid_token",
      "error_description": "the access token is malformed, expired or revoked, or is for another service"
    }
    "#);
}

async fn with_authorization(auth: &Auth, values: &[&str]) -> Answer {
    let request = values
        .iter()
        .fold(auth.verification("mcp-fetch"), |request, value| {
            request.header("Authorization", *value)
        });
    answer(request).await
}

/// A fault of the Python gateway: `bearer` in lower case was refused.
#[tokio::test]
async fn there_is_one_header_with_one_bearer_token() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let token = &tokens.access;
    for right in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("Bearer  {token}"),
    ] {
        let answer = with_authorization(&auth, &[&right]).await;
        assert_eq!(answer.status, 200, "{right}");
    }
    let good = format!("Bearer {token}");
    let without_error = answer(auth.verification("mcp-fetch")).await;
    for other_scheme in [
        format!("Basic {token}"),
        format!("DPoP {token}"),
        token.clone(),
        format!("Bearer\u{a0}{token}").replace('\u{a0}', "\t"),
    ] {
        let answer = with_authorization(&auth, &[&other_scheme]).await;
        assert_eq!(
            answer.shown(&[]),
            without_error.shown(&[]),
            "{other_scheme}"
        );
    }
    let too_long = format!("Bearer {}", "a".repeat(8193));
    for wrong in [
        vec![good.as_str(), good.as_str()],
        vec![good.as_str(), "Bearer x"],
        vec!["Bearer x", good.as_str()],
        vec!["Basic x", good.as_str()],
        vec![&format!("{good}, {good}")],
        vec![&format!("{good} x")],
        vec![&format!("{good},x")],
        vec!["Bearer"],
        vec!["Bearer "],
        vec![&too_long],
        vec!["Bearer \"quoted\""],
    ] {
        let answer = with_authorization(&auth, &wrong).await;
        assert_eq!(answer.status, 401, "{wrong:?}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"invalid_token\""), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_a_cookie_is_not_looked_at() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let token = &tokens.access;
    let without = answer(auth.verification("mcp-fetch")).await;
    let path = format!("/verify?resource=mcp-fetch&access_token={token}");
    let in_query = answer(
        auth.request("GET", "auth:8000", &path)
            .header("X-Forwarded-Uri", format!("/mcp?access_token={token}")),
    )
    .await;
    assert_eq!(in_query.shown(&[]), without.shown(&[]));
    let in_cookie = auth
        .verification("mcp-fetch")
        .header("Cookie", format!("access_token={token}"))
        .header("X-Auth-Token", token)
        .header("X-Forwarded-Access-Token", token);
    assert_eq!(answer(in_cookie).await.shown(&[]), without.shown(&[]));
}

/// A fault of the Python gateway: one token opened every service.
#[tokio::test]
async fn a_token_for_one_service_opens_no_other() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let fetch = crate::sign_in::tokens(&auth, &client).await;
    let code = code_with(&auth, &client.id, &[("resource", OTHER_RESOURCE)]).await;
    let echo = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    // Twice, because the second decision comes from memory.
    for _ in 0..2 {
        for (service, token, status) in [
            ("mcp-fetch", &fetch.access, 200),
            ("mcp-echo", &fetch.access, 401),
            ("mcp-echo", &echo.access, 200),
            ("mcp-fetch", &echo.access, 401),
        ] {
            let answer = answer(auth.verification(service).bearer_auth(token)).await;
            assert_eq!(answer.status, status, "{service}");
        }
    }
    let refused = answer(auth.verification("mcp-echo").bearer_auth(&fetch.access)).await;
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer error=\"invalid_token\", resource_metadata=\"http://mcp-echo.localhost:8080/.well-known/oauth-protected-resource/mcp\", scope=\"mcp\""
    );
}

#[tokio::test]
async fn the_service_is_named_by_the_operator_and_agrees_with_the_host() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let send = async |query: &str, hosts: &[&str]| {
        let request = auth
            .request("GET", "auth:8000", &format!("/verify{query}"))
            .bearer_auth(&tokens.access);
        let request = hosts.iter().fold(request, |request, host| {
            request.header("X-Forwarded-Host", *host)
        });
        answer(request).await
    };
    for (query, hosts) in [
        ("?resource=mcp-fetch", &["mcp-fetch.localhost:8080"][..]),
        ("?resource=mcp-fetch", &["MCP-FETCH.LOCALHOST"]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost."]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost:443"]),
        ("?resource=mcp-fetch", &[]),
        ("", &["mcp-fetch.localhost"]),
    ] {
        let answer = send(query, hosts).await;
        assert_eq!(answer.status, 200, "{query} {hosts:?}");
    }
    let unknown = send("?resource=mcp-unknown", &[]).await;
    assert_snapshot!(unknown.shown(&[]), @r#"
    403
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "access_denied",
      "error_description": "no service of this gateway has this address"
    }
    "#);
    for (query, hosts) in [
        ("", &[][..]),
        ("?resource=", &[]),
        ("?resource=auth", &[]),
        ("?resource=MCP-FETCH", &[]),
        ("?resource=mcp-fetch&resource=mcp-fetch", &[]),
        ("?resource=mcp-fetch&resource=mcp-echo", &[]),
        ("?resource=mcp-fetch", &["mcp-echo.localhost"]),
        ("?resource=mcp-fetch", &["auth.localhost"]),
        ("?resource=mcp-fetch", &["localhost"]),
        ("?resource=mcp-fetch", &["evil.example"]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost.evil.example"]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost.."]),
        ("?resource=mcp-fetch", &["xmcp-fetch.localhost"]),
        (
            "?resource=mcp-fetch",
            &["mcp-fetch.localhost", "mcp-fetch.localhost"],
        ),
        (
            "?resource=mcp-fetch",
            &["mcp-fetch.localhost, evil.example"],
        ),
        ("?resource=mcp-fetch", &[""]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost:80:80"]),
        ("?resource=mcp-fetch", &["mcp-fetch.localhost:x"]),
        ("?resource=mcp-fetch", &["user@mcp-fetch.localhost"]),
        ("", &["auth.localhost"]),
        ("", &["mcp-unknown.localhost"]),
    ] {
        let answer = send(query, hosts).await;
        assert_eq!(answer.shown(&[]), unknown.shown(&[]), "{query} {hosts:?}");
    }
}

/// No skip rule of any kind: method, path, health probes, addresses, preflights.
#[tokio::test]
async fn no_other_header_has_a_say() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let good = auth.verify(&tokens.access).await;
    let without = answer(auth.verification("mcp-fetch")).await;
    for (name, value) in [
        ("X-Forwarded-Uri", "/.well-known/oauth-authorization-server"),
        ("X-Forwarded-Uri", "/health"),
        ("X-Forwarded-Uri", "//evil/%2e%2e/"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Server", "evil"),
        ("X-Real-Ip", "127.0.0.1"),
        ("X-Original-Url", "/health"),
        ("X-Auth-Subject", "local:root"),
        ("X-Auth-Login", "root"),
        ("X-Auth-Client", "root"),
        ("X-Auth-Scope", "root"),
        ("User-Agent", "GoogleHC/1.0"),
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Mcp-Method", "tools/call"),
        ("Forwarded", "host=mcp-echo.localhost"),
    ] {
        let request = auth.verification("mcp-fetch").header(name, value);
        let refused = answer(request.try_clone().unwrap()).await;
        assert_eq!(refused.shown(&[]), without.shown(&[]), "{name}: {value}");
        let granted = answer(request.bearer_auth(&tokens.access)).await;
        assert_eq!(granted.shown(&[]), good.shown(&[]), "{name}: {value}");
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let request = auth.request(method, "auth:8000", "/verify?resource=mcp-fetch");
        let answer = answer(request.bearer_auth(&tokens.access)).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), "GET", "{method}");
    }
}

#[tokio::test]
async fn a_token_without_the_scope_of_the_service_opens_nothing() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let mut form = refreshing(&client, &tokens.refresh);
    form.push(("scope", "offline_access"));
    let narrowed = auth.post("/token", &form).await;
    assert_eq!(narrowed.status, 200);
    assert_eq!(narrowed.text("scope"), "offline_access");
    let answer = auth.verify(&narrowed.text("access_token")).await;
    assert_snapshot!(answer.shown(&[]), @r#"
    403
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Bearer error="insufficient_scope", resource_metadata="http://mcp-fetch.localhost:8080/.well-known/oauth-protected-resource/mcp", scope="mcp"
    x-content-type-options: nosniff

    {
      "error": "insufficient_scope",
      "error_description": "the access token does not have all the scopes that this service needs; ask for those in the challenge"
    }
    "#);
}

/// What is remembered of a token that counts for nothing must not touch a good one, and must not outlive its reason.
#[tokio::test]
async fn a_bad_token_stays_bad_and_an_expired_one_is_good_again_when_the_clock_is_put_back() {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let auth = Auth::start_at(&clock, &[]).await;
    let (_, tokens) = signed_in(&auth).await;
    let (signed, signature) = tokens.access.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    for _ in 0..3 {
        assert_eq!(auth.verify(&forged).await.refusal(), "401 invalid_token");
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    clock.advance(3600 + 30);
    for _ in 0..3 {
        assert_eq!(
            auth.verify(&tokens.access).await.refusal(),
            "401 invalid_token"
        );
    }
    clock.advance(-1);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(auth.verify(&forged).await.refusal(), "401 invalid_token");
}
