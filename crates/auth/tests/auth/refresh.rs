//! `/token` with a refresh token.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use insta::assert_snapshot;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, OTHER_RESOURCE, RESOURCE};
use crate::sign_in::{
    REDIRECT, Tokens, confidential_client, public_client, refreshing, register_with, signed_in,
    tokens,
};

/// A fault of the Python gateway: refresh tokens never rotated.
#[tokio::test]
async fn each_use_gives_a_new_refresh_token() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let answer = auth.refresh(&client, &first.refresh).await;
    let second = Tokens::of(&answer);
    assert_snapshot!(answer.shown(&[(&second.access, "[access]"), (&second.refresh, "[refresh]")]), @r#"
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
    assert_ne!(first.refresh, second.refresh);
    assert_ne!(first.access, second.access);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    let third = Tokens::of(&auth.refresh(&client, &second.refresh).await);
    assert_ne!(second.refresh, third.refresh);
}

/// An answer lost on the way, or a second process with the same token: the same successor again.
#[tokio::test]
async fn a_spent_token_leads_to_the_same_successor_for_a_while() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    let again = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    assert_eq!(again.refresh, second.refresh);
    assert_eq!(auth.verify(&again.access).await.status, 200);
}

#[tokio::test]
async fn without_grace_a_spent_token_ends_the_family() {
    let auth = Auth::start_with(&[("REFRESH_GRACE", "0")]).await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    let replayed = auth.refresh(&client, &first.refresh).await;
    assert_snapshot!(replayed.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_grant",
      "error_description": "the refresh token is wrong, spent or expired, or belongs to another client; sign in again"
    }
    "#);
    for access in [&first.access, &second.access] {
        assert_eq!(auth.verify(access).await.refusal(), "401 invalid_token");
    }
    let successor = auth.refresh(&client, &second.refresh).await;
    assert_eq!(successor.shown(&[]), replayed.shown(&[]));
    auth.logs.wait_for("token_replayed").await.unwrap();
}

#[tokio::test]
async fn fifty_refreshes_at_once_end_with_one_live_refresh_token() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let answers = join_all((0..50).map(|_| auth.refresh(&client, &first.refresh))).await;
    let successors: BTreeSet<String> = answers
        .iter()
        .map(|answer| Tokens::of(answer).refresh)
        .collect();
    assert_eq!(successors.len(), 1);
    let successor = successors.first().unwrap();
    assert_eq!(auth.refresh(&client, successor).await.status, 200);
}

#[tokio::test]
async fn fifty_refreshes_at_once_without_grace_leave_no_live_token() {
    let auth = Auth::start_with(&[("REFRESH_GRACE", "0")]).await;
    let (client, first) = signed_in(&auth).await;
    let answers = join_all((0..50).map(|_| auth.refresh(&client, &first.refresh))).await;
    let granted: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(granted.len(), 1);
    let tokens = Tokens::of(granted[0]);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

/// A fault of the Python gateway: another client used the refresh token.
#[tokio::test]
async fn another_clients_refresh_token_is_refused_and_lives_on() {
    let auth = Auth::start_with(&[("REFRESH_GRACE", "0")]).await;
    let (client, first) = signed_in(&auth).await;
    let other = public_client(&auth).await;
    let foreign = auth.refresh(&other, &first.refresh).await;
    assert_eq!(foreign.refusal(), "400 invalid_grant");
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    // Not even a spent one in foreign hands ends the family: anybody could then end what they have only seen.
    let foreign = auth.refresh(&other, &first.refresh).await;
    assert_eq!(foreign.refusal(), "400 invalid_grant");
    assert_eq!(auth.verify(&second.access).await.status, 200);
}

#[tokio::test]
async fn a_public_client_may_leave_out_its_id() {
    let auth = Auth::start().await;
    let (_, first) = signed_in(&auth).await;
    let answer = auth
        .post(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", &first.refresh),
            ],
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A fault of the Python gateway: a confidential client's tokens were refreshed without its secret.
#[tokio::test]
async fn a_confidential_client_must_show_its_secret() {
    let auth = Auth::start().await;
    let client = confidential_client(&auth).await;
    let first = tokens(&auth, &client).await;
    for form in [
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", &first.refresh),
        ],
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", &first.refresh),
            ("client_id", &client.id),
        ],
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", &first.refresh),
            ("client_id", &client.id),
            ("client_secret", "wrong"),
        ],
    ] {
        let refused = auth.post("/token", &form).await;
        assert_eq!(refused.refusal(), "401 invalid_client", "{form:?}");
    }
    assert_eq!(auth.refresh(&client, &first.refresh).await.status, 200);
    let by_header = auth
        .request("POST", AUTH, "/token")
        .basic_auth(&client.id, client.secret.as_ref())
        .form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &first.refresh),
        ]);
    assert_eq!(answer(by_header).await.status, 200);
}

#[tokio::test]
async fn forged_refresh_tokens_are_refused_with_one_answer() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let wrong = auth.refresh(&client, "mcp_rt_x").await;
    assert_eq!(wrong.refusal(), "400 invalid_grant");
    let next = first.refresh.replacen(".0.", ".1.", 1);
    let half = &first.refresh[..first.refresh.len() / 2];
    for token in [
        forged(&first.refresh, 0),
        forged(&first.refresh, 1),
        forged(&first.refresh, u64::MAX),
        next,
        half.to_owned(),
        format!("{} ", first.refresh),
        first.access.clone(),
        "ä\u{0}".to_owned(),
    ] {
        let refused = auth.refresh(&client, &token).await;
        assert_eq!(refused.shown(&[]), wrong.shown(&[]), "{token}");
        // Who holds no token learns nothing from a resource or a scope either.
        for more in [("resource", OTHER_RESOURCE), ("scope", "other")] {
            let mut form = refreshing(&client, &token);
            form.push(more);
            let refused = auth.post("/token", &form).await;
            assert_eq!(refused.shown(&[]), wrong.shown(&[]), "{token} {more:?}");
        }
    }
    assert_eq!(auth.refresh(&client, &first.refresh).await.status, 200);
}

/// A refresh token of that session with another secret and a right checksum.
fn forged(genuine: &str, generation: u64) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use sha2::{Digest as _, Sha256};
    let session = genuine.split('.').next().unwrap();
    let body = format!("{session}.{generation}.{}", "A".repeat(43));
    let check = URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
    format!("{body}.{}", &check[..6])
}

/// A token that was swept away long ago, sent without a client id: sign in again, but keep the registration.
#[tokio::test]
async fn a_refresh_token_that_is_gone_is_an_invalid_grant_without_a_client_id_too() {
    let auth = Auth::start().await;
    let (_, first) = signed_in(&auth).await;
    let session = first.refresh.split('.').next().unwrap();
    let gone = forged(
        &first
            .refresh
            .replace(session, &format!("mcp_rt_{}", "A".repeat(22))),
        0,
    );
    let refused = auth
        .post(
            "/token",
            &[("grant_type", "refresh_token"), ("refresh_token", &gone)],
        )
        .await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

#[tokio::test]
async fn scopes_shrink_and_never_grow() {
    let auth = Auth::start().await;
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let client = register_with(&auth, &metadata).await;
    let first = tokens(&auth, &client).await;
    let send = async |scope: &str| {
        let mut form = refreshing(&client, &first.refresh);
        form.push(("scope", scope));
        auth.post("/token", &form).await
    };
    assert_eq!(send("mcp").await.text("scope"), "mcp");
    assert_eq!(send("mcp admin").await.text("scope"), "mcp");
    assert_eq!(send("admin").await.refusal(), "400 invalid_scope");
    assert_eq!(send("a\"b").await.refusal(), "400 invalid_scope");
    // The session itself has lost nothing.
    assert_eq!(send("").await.text("scope"), "mcp offline_access");
}

#[tokio::test]
async fn the_resource_stays_the_granted_one() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let send = async |resource: &str| {
        let mut form = refreshing(&client, &first.refresh);
        form.push(("resource", resource));
        auth.post("/token", &form).await
    };
    assert_eq!(send(OTHER_RESOURCE).await.refusal(), "400 invalid_target");
    assert_eq!(send("x").await.refusal(), "400 invalid_target");
    assert_eq!(send(RESOURCE).await.status, 200);
    assert_eq!(send("http://mcp-fetch.localhost:8080/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_gave_up_the_refresh_grant_is_refused() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let metadata = json!({"client_id": client.id, "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]});
    let path = format!("/register/{}", client.id);
    let change = auth.request("PUT", AUTH, &path).json(&metadata);
    let changed = answer(change.bearer_auth(&client.registration_token)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let refused = auth.refresh(&client, &first.refresh).await;
    assert_eq!(refused.refusal(), "400 unauthorized_client");
}
