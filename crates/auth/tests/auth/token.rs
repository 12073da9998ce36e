//! `/token` with a code, and what holds for every grant.

use futures_util::future::join_all;
use insta::assert_snapshot;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, FETCH, OTHER_RESOURCE, RESOURCE};
use crate::sign_in::{
    Client, REDIRECT, Tokens, code, code_with, public_client, redemption, register_with,
};

/// The form that redeems a code, with changes: an empty value takes a parameter away.
pub(crate) fn changed<'a>(
    client: &'a Client,
    code: &'a str,
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut form = redemption(client, code);
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if !value.is_empty() {
            form.push((name, value));
        }
    }
    form
}

/// Redeems a code with such a form.
pub(crate) async fn redeem(
    auth: &Auth,
    client: &Client,
    code: &str,
    changes: &[(&str, &str)],
) -> Answer {
    auth.post("/token", &changed(client, code, changes)).await
}

#[tokio::test]
async fn a_code_becomes_tokens() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let answer = redeem(&auth, &client, &code, &[]).await;
    let tokens = Tokens::of(&answer);
    assert_snapshot!(answer.shown(&[(&tokens.access, "[access]"), (&tokens.refresh, "[refresh]")]), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "access_token": "[access]",
      "expires_in": 3600,
      "refresh_token": "[refresh]",
      "scope": "mcp offline_access",
      "token_type": "Bearer"
    }
    "#);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn the_token_endpoint_of_a_service_host_is_the_same() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let request = auth
        .request("POST", FETCH, "/token")
        .form(&redemption(&client, &code));
    assert_eq!(answer(request).await.status, 200);
}

#[tokio::test]
async fn the_lifetime_is_the_configured_one() {
    let auth = Auth::start_with(&[("ACCESS_TOKEN_LIFETIME", "77")]).await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let answer = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(answer.json().get("expires_in"), Some(&json!(77)));
}

#[tokio::test]
async fn a_client_without_the_refresh_grant_gets_no_refresh_token() {
    let auth = Auth::start().await;
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"]});
    let client = register_with(&auth, &metadata).await;
    let code = code(&auth, &client.id).await;
    let answer = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().get("refresh_token"), None);
}

/// A fault of the Python gateway: a code was redeemed by another client.
#[tokio::test]
async fn wrong_unknown_and_foreign_codes_get_the_same_answer() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let other = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let foreign = redeem(&auth, &other, &code, &[]).await;
    assert_snapshot!(foreign.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_grant",
      "error_description": "the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier"
    }
    "#);
    let (secret, session) = code.split_once('.').unwrap();
    let tampered = format!("mcp_ac_{}.{session}", "A".repeat(43));
    let elsewhere = format!("{secret}.{}", "A".repeat(22));
    for wrong in [&tampered, &elsewhere, "x", "mcp_ac_.", "ä\u{0}."] {
        let refused = redeem(&auth, &client, wrong, &[]).await;
        assert_eq!(refused.shown(&[]), foreign.shown(&[]), "{wrong}");
    }
    // Neither does a resource make a difference for somebody who does not hold the code.
    for (who, wrong) in [(&other, &code), (&client, &tampered)] {
        let refused = redeem(&auth, who, wrong, &[("resource", OTHER_RESOURCE)]).await;
        assert_eq!(refused.shown(&[]), foreign.shown(&[]), "{wrong}");
    }
}

#[tokio::test]
async fn a_wrong_redirect_is_refused_and_a_missing_one_is_not() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code_with(
        &auth,
        &client.id,
        &[("redirect_uri", "http://localhost:50123/callback")],
    )
    .await;
    // The registered one is not the one that was used: at this endpoint the port counts.
    let refused = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    let taken = redeem(&auth, &client, &code, &[("redirect_uri", "")]).await;
    assert_eq!(taken.status, 200);
}

/// A fault of the Python gateway: PKCE was optional.
#[tokio::test]
async fn a_wrong_verifier_does_not_cost_the_code_until_the_third_time() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let wrong = "wrong-verifier-wrong-verifier-wrong-verifier-";
    let code = code(&auth, &client.id).await;
    for verifier in ["", "short", &"x".repeat(129), &"ä".repeat(50)] {
        let refused = redeem(&auth, &client, &code, &[("code_verifier", verifier)]).await;
        assert_eq!(refused.refusal(), "400 invalid_request", "{verifier}");
    }
    for _ in 0..2 {
        let refused = redeem(&auth, &client, &code, &[("code_verifier", wrong)]).await;
        assert_eq!(refused.refusal(), "400 invalid_grant");
    }
    assert_eq!(redeem(&auth, &client, &code, &[]).await.status, 200);

    let code = crate::sign_in::code(&auth, &client.id).await;
    for _ in 0..3 {
        let refused = redeem(&auth, &client, &code, &[("code_verifier", wrong)]).await;
        assert_eq!(refused.refusal(), "400 invalid_grant");
    }
    let refused = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

/// The answer was lost on the way: the same client asks again at once and gets the same refresh token.
#[tokio::test]
async fn a_code_repeated_at_once_by_its_client_gives_the_same_refresh_token() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let first = Tokens::of(&redeem(&auth, &client, &code, &[]).await);
    let second = Tokens::of(&redeem(&auth, &client, &code, &[]).await);
    assert_eq!(first.refresh, second.refresh);
    assert_eq!(auth.verify(&first.access).await.status, 200);
    assert_eq!(auth.verify(&second.access).await.status, 200);
}

#[tokio::test]
async fn a_spent_code_in_other_hands_ends_what_it_gave() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let other = public_client(&auth).await;
    for changes in [
        &[("client_id", other.id.as_str())][..],
        &[(
            "code_verifier",
            "wrong-verifier-wrong-verifier-wrong-verifier-",
        )],
        &[("redirect_uri", "http://localhost:1/callback")],
    ] {
        let code = code(&auth, &client.id).await;
        let tokens = Tokens::of(&redeem(&auth, &client, &code, &[]).await);
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
        let replayed = redeem(&auth, &client, &code, changes).await;
        assert_eq!(replayed.refusal(), "400 invalid_grant", "{changes:?}");
        assert_eq!(auth.verify(&tokens.access).await.status, 401, "{changes:?}");
        let refused = auth.refresh(&client, &tokens.refresh).await;
        assert_eq!(refused.refusal(), "400 invalid_grant", "{changes:?}");
    }
}

#[tokio::test]
async fn a_code_comes_back_too_late_once_its_refresh_token_was_used() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let tokens = Tokens::of(&redeem(&auth, &client, &code, &[]).await);
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
    let replayed = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(replayed.refusal(), "400 invalid_grant");
    assert_eq!(
        auth.verify(&refreshed.text("access_token")).await.status,
        401
    );
}

#[tokio::test]
async fn another_resource_than_the_granted_one_is_refused() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    for resource in [OTHER_RESOURCE, "https://evil.example/mcp", "x"] {
        let refused = redeem(&auth, &client, &code, &[("resource", resource)]).await;
        assert_eq!(refused.refusal(), "400 invalid_target", "{resource}");
    }
    let mut form = redemption(&client, &code);
    form.extend([("resource", RESOURCE), ("resource", OTHER_RESOURCE)]);
    let refused = auth.post("/token", &form).await;
    assert_eq!(refused.refusal(), "400 invalid_target");
    let slash = format!("{RESOURCE}/");
    let taken = redeem(&auth, &client, &code, &[("resource", &slash)]).await;
    assert_eq!(taken.status, 200, "{taken:?}");
}

/// A fault of the Python gateway: 422 in place of OAuth errors, no `Cache-Control`.
#[tokio::test]
async fn malformed_requests_are_refused_by_their_shape() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let form = redemption(&client, &code);
    let json = auth
        .request("POST", AUTH, "/token")
        .json(&json!({"grant_type": "authorization_code"}));
    assert_snapshot!(answer(json).await.shown(&[]), @r#"
    415
    cache-control: no-store
    connection: close
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "Content-Type must be application/x-www-form-urlencoded"
    }
    "#);
    let in_url = auth.request("POST", AUTH, "/token?client_id=x").form(&form);
    assert_snapshot!(answer(in_url).await.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "parameters belong in the body, not in the URL"
    }
    "#);
    for name in ["grant_type", "code", "client_id", "code_verifier"] {
        let mut twice = form.clone();
        twice.push((name, "x"));
        let refused = auth.post("/token", &twice).await;
        assert_eq!(refused.refusal(), "400 invalid_request", "{name} twice");
        assert_eq!(refused.header("cache-control"), "no-store");
        assert_eq!(refused.header("pragma"), "no-cache");
    }
    for name in ["grant_type", "code", "code_verifier"] {
        let refused = redeem(&auth, &client, &code, &[(name, "")]).await;
        assert_eq!(refused.refusal(), "400 invalid_request", "{name} missing");
        assert_eq!(
            refused.text("error_description"),
            format!("{name} is missing")
        );
    }
    let long = "x".repeat(20_000);
    let refused = redeem(&auth, &client, &code, &[("padding", &long)]).await;
    assert_eq!(refused.refusal(), "413 invalid_request");
    let unsupported = auth.post("/token", &[("grant_type", "password")]).await;
    assert_snapshot!(unsupported.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "unsupported_grant_type",
      "error_description": "grant_type must be authorization_code, refresh_token, client_credentials or the device grant of RFC 8628"
    }
    "#);
    let by_get = auth.get(AUTH, "/token").await;
    assert_snapshot!(by_get.shown(&[]), @r#"
    405
    allow: POST
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "method_not_allowed",
      "error_description": "this address answers POST"
    }
    "#);
    assert_eq!(redeem(&auth, &client, &code, &[]).await.status, 200);
}

/// A fault of the Python gateway: two racers both redeemed.
#[tokio::test]
async fn a_hundred_redemptions_at_once_open_one_session() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let answers = join_all((0..100).map(|_| redeem(&auth, &client, &code, &[]))).await;
    let granted: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
    let first = granted.first().unwrap();
    assert!(granted.iter().all(|tokens| tokens.refresh == first.refresh));
    // One family: ending it by its one refresh token ends every access token.
    let revoked = auth
        .post(
            "/revoke",
            &[("token", &first.refresh), ("client_id", &client.id)],
        )
        .await;
    assert_eq!(revoked.status, 200);
    for tokens in granted {
        assert_eq!(auth.verify(&tokens.access).await.status, 401);
    }
}

/// Racing redemptions of which some have a wrong verifier: whatever the order, never more than one family, and no 5xx.
#[tokio::test]
async fn racing_redemptions_with_wrong_proofs_never_open_a_second_session() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let answers = join_all((0..40).map(|number| {
        let changes: &[(&str, &str)] = if number % 2 == 0 {
            &[]
        } else {
            &[(
                "code_verifier",
                "wrong-verifier-wrong-verifier-wrong-verifier-",
            )]
        };
        redeem(&auth, &client, &code, changes)
    }))
    .await;
    let mut families = std::collections::BTreeSet::new();
    for answer in &answers {
        match answer.status {
            200 => {
                families.insert(answer.text("refresh_token"));
            }
            _ => assert_eq!(answer.refusal(), "400 invalid_grant"),
        }
    }
    assert!(families.len() <= 1, "{families:?}");
    // A wrong proof came after the right one, or three came before it: either way the code is worth nothing now.
    for family in families {
        let refused = auth.refresh(&client, &family).await;
        assert_eq!(refused.refusal(), "400 invalid_grant");
    }
}

/// Clients that were taught otherwise would sign in every hour.
#[tokio::test]
async fn a_client_that_asks_for_no_offline_access_gets_a_refresh_token_all_the_same() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code_with(&auth, &client.id, &[("scope", "mcp")]).await;
    let granted = redeem(&auth, &client, &code, &[]).await;
    assert_eq!(granted.text("scope"), "mcp");
    let refresh = Tokens::of(&granted).refresh;
    let refreshed = auth.refresh(&client, &refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}
