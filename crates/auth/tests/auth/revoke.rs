//! `/revoke` (RFC 7009).

use insta::assert_snapshot;

use crate::answer::Answer;
use crate::service::{AUTH, Auth};
use crate::sign_in::{Client, Tokens, confidential_client, public_client, signed_in, tokens};

async fn revoke(auth: &Auth, client: &Client, token: &str) -> Answer {
    let mut form = vec![("token", token), ("client_id", client.id.as_str())];
    if let Some(secret) = &client.secret {
        form.push(("client_secret", secret));
    }
    auth.post("/revoke", &form).await
}

#[tokio::test]
async fn a_refresh_token_takes_its_whole_family_with_it() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    assert_eq!(auth.verify(&first.access).await.status, 200);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    let answer = revoke(&auth, &client, &second.refresh).await;
    assert_snapshot!(answer.shown(&[]), @r#"
    200
    cache-control: no-store
    pragma: no-cache
    x-content-type-options: nosniff
    "#);
    for access in [&first.access, &second.access] {
        assert_eq!(auth.verify(access).await.refusal(), "401 invalid_token");
    }
    for refresh in [&first.refresh, &second.refresh] {
        let refused = auth.refresh(&client, refresh).await;
        assert_eq!(refused.refusal(), "400 invalid_grant");
    }
}

#[tokio::test]
async fn a_spent_refresh_token_takes_its_family_with_it_too() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    assert_eq!(revoke(&auth, &client, &first.refresh).await.status, 200);
    assert_eq!(auth.verify(&second.access).await.status, 401);
}

#[tokio::test]
async fn an_access_token_ends_alone() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    assert_eq!(auth.verify(&first.access).await.status, 200);
    assert_eq!(revoke(&auth, &client, &first.access).await.status, 200);
    assert_eq!(auth.verify(&first.access).await.status, 401);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    let refreshed = auth.refresh(&client, &second.refresh).await;
    assert_eq!(refreshed.status, 200);
}

/// A client that repeats itself must not lose its session for it.
#[tokio::test]
async fn revoking_the_same_access_token_again_and_again_changes_nothing_more() {
    let auth = Auth::start().await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    for _ in 0..40 {
        assert_eq!(revoke(&auth, &client, &first.access).await.status, 200);
    }
    assert_eq!(auth.verify(&first.access).await.status, 401);
    assert_eq!(auth.verify(&second.access).await.status, 200);
}

/// A fault of the Python gateway: a client revoked another one's token.
#[tokio::test]
async fn another_clients_token_lives_on_and_the_answer_does_not_tell() {
    let auth = Auth::start().await;
    let (client, theirs) = signed_in(&auth).await;
    let other = public_client(&auth).await;
    let right = revoke(&auth, &other, "unknown").await;
    assert_eq!(right.status, 200);
    for token in [&theirs.access, &theirs.refresh] {
        let answer = revoke(&auth, &other, token).await;
        assert_eq!(answer.shown(&[]), right.shown(&[]));
    }
    assert_eq!(auth.verify(&theirs.access).await.status, 200);
    let refreshed = auth.refresh(&client, &theirs.refresh).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn what_is_no_token_is_no_error() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    for token in ["x", "mcp_rt_", "a.b.c", "ä\u{0}", &"x".repeat(10_000)] {
        assert_eq!(revoke(&auth, &client, token).await.status, 200, "{token}");
    }
    let with_hint = [
        ("token", "x"),
        ("token_type_hint", "nonsense"),
        ("client_id", &client.id),
    ];
    assert_eq!(auth.post("/revoke", &with_hint).await.status, 200);
}

/// A fault of the Python gateway: a confidential client's tokens were revoked without its secret.
#[tokio::test]
async fn the_client_is_known_as_at_the_token_endpoint() {
    let auth = Auth::start().await;
    let client = confidential_client(&auth).await;
    let tokens = tokens(&auth, &client).await;
    let bare = Client {
        secret: None,
        ..client.clone()
    };
    let refused = revoke(&auth, &bare, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "401 invalid_client");
    let anonymous = auth.post("/revoke", &[("token", &tokens.refresh)]).await;
    assert_eq!(anonymous.refusal(), "401 invalid_client");
    let nothing = auth.post("/revoke", &[("client_id", &client.id)]).await;
    assert_eq!(nothing.refusal(), "400 invalid_request");
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(revoke(&auth, &client, &tokens.refresh).await.status, 200);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let by_get = auth.get(AUTH, "/revoke").await;
    assert_eq!(by_get.refusal(), "405 method_not_allowed");
}

/// A decision is remembered; a revocation must have reached that memory before it is answered.
#[tokio::test]
async fn no_check_after_the_answer_of_a_revocation_finds_the_token_good() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let mut first = tokens(&auth, &client).await;
    for round in 0..100 {
        assert_eq!(auth.verify(&first.access).await.status, 200);
        assert_eq!(revoke(&auth, &client, &first.access).await.status, 200);
        let checks = (0..4).map(|_| auth.verify(&first.access));
        for check in futures_util::future::join_all(checks).await {
            assert_eq!(check.status, 401, "round {round}");
        }
        if round % 25 == 24 {
            // One session remembers so many ended tokens and is then ended itself.
            first = tokens(&auth, &client).await;
        } else {
            let answer = auth.refresh(&client, &first.refresh).await;
            first = Tokens::of(&answer);
        }
    }
}
