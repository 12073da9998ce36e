//! `/register/{client_id}` (RFC 7592): a client looks at its registration, replaces it, ends it.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::register::shown;
use crate::service::{AUTH, Auth};
use crate::sign_in::{
    Client, REDIRECT, public_client, redemption, register_with, registration, signed_in,
};

pub(crate) async fn managed(auth: &Auth, method: &str, id: &str, token: Option<&str>) -> Answer {
    let request = auth.request(method, AUTH, &format!("/register/{id}"));
    answer(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_client_reads_its_registration_with_its_own_token() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let answer = managed(&auth, "GET", &client.id, Some(&client.registration_token)).await;
    assert_snapshot!(shown(&answer), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "client_id": "[client_id]",
      "client_id_issued_at": [now],
      "client_name": "Test",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "http://localhost:7777/callback"
      ],
      "registration_client_uri": "http://auth.localhost:8080/register/[client_id]",
      "response_types": [
        "code"
      ],
      "scope": "mcp offline_access",
      "token_endpoint_auth_method": "none"
    }
    "#);
}

/// A wrong token and a client that is not there look the same, so that nobody learns which clients there are.
#[tokio::test]
async fn a_wrong_registration_token_and_an_unknown_client_get_the_same_answer() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let other = public_client(&auth).await;
    let wrong = managed(&auth, "GET", &client.id, Some(&other.registration_token)).await;
    assert_snapshot!(wrong.shown(&[]), @r#"
    401
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Bearer error="invalid_token"
    x-content-type-options: nosniff

    {
      "error": "invalid_token",
      "error_description": "the registration access token is missing or wrong, or the client is gone"
    }
    "#);
    for (id, token) in [
        (
            "mcp-AAAAAAAAAAAAAAAAAAAAAA",
            Some(client.registration_token.as_str()),
        ),
        ("mcp-AAAAAAAAAAAAAAAAAAAAAA", None),
        ("%00", Some(&client.registration_token)),
        ("%ff", Some(&client.registration_token)),
        (&client.id, None),
        (&client.id, Some("")),
        (&client.id, Some("mcp_rg_x")),
        (&client.id, Some("ä")),
    ] {
        for method in ["GET", "DELETE"] {
            let answer = managed(&auth, method, id, token).await;
            assert_eq!(
                answer.shown(&[]),
                wrong.shown(&[]),
                "{method} {id} {token:?}"
            );
        }
    }
    assert_eq!(
        managed(&auth, "GET", &client.id, Some(&client.registration_token))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_access_token_or_a_client_secret_manages_no_registration() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let confidential = register_with(&auth, &json!({"redirect_uris": [REDIRECT]})).await;
    for (id, token) in [
        (&client.id, &tokens.access),
        (&client.id, &tokens.refresh),
        (&confidential.id, confidential.secret.as_ref().unwrap()),
    ] {
        assert_eq!(managed(&auth, "DELETE", id, Some(token)).await.status, 401);
    }
}

/// A fault of the Python gateway: refresh tokens survived the deletion of their client.
#[tokio::test]
async fn deleting_a_client_ends_its_tokens_at_once() {
    let auth = Auth::start().await;
    let (client, tokens_of_client) = signed_in(&auth).await;
    let (_, of_another) = signed_in(&auth).await;
    let unredeemed = crate::sign_in::code(&auth, &client.id).await;
    assert_eq!(auth.verify(&tokens_of_client.access).await.status, 200);
    let deleted = managed(
        &auth,
        "DELETE",
        &client.id,
        Some(&client.registration_token),
    )
    .await;
    assert_snapshot!(deleted.shown(&[]), @r#"
    204
    cache-control: no-store
    pragma: no-cache
    x-content-type-options: nosniff
    "#);
    let refused = auth.verify(&tokens_of_client.access).await;
    assert_eq!(refused.refusal(), "401 invalid_token");
    let refreshed = auth.refresh(&client, &tokens_of_client.refresh).await;
    assert_eq!(refreshed.refusal(), "401 invalid_client");
    let redeemed = auth.post("/token", &redemption(&client, &unredeemed)).await;
    assert_eq!(redeemed.refusal(), "401 invalid_client");
    let again = managed(
        &auth,
        "DELETE",
        &client.id,
        Some(&client.registration_token),
    )
    .await;
    assert_eq!(again.status, 401);
    let page = crate::sign_in::ask(&auth, &client.id, &[]).await;
    assert_eq!(page.status, 400);
    assert_eq!(auth.verify(&of_another.access).await.status, 200);
}

#[tokio::test]
async fn there_is_a_bound_of_clients_and_none_is_removed_for_a_new_one() {
    let auth = Auth::start_with(&[("MAX_CLIENTS", "2")]).await;
    let first = public_client(&auth).await;
    public_client(&auth).await;
    let third = registration(&auth, &json!({"redirect_uris": [REDIRECT]})).await;
    assert_snapshot!(third.shown(&[]), @r#"
    503
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    retry-after: 2
    x-content-type-options: nosniff

    {
      "error": "temporarily_unavailable",
      "error_description": "as many clients are registered as there may be; unused ones end within a day"
    }
    "#);
    assert_eq!(
        managed(&auth, "GET", &first.id, Some(&first.registration_token))
            .await
            .status,
        200
    );
    let deleted = managed(&auth, "DELETE", &first.id, Some(&first.registration_token)).await;
    assert_eq!(deleted.status, 204);
    public_client(&auth).await;
}

pub(crate) async fn replaced(auth: &Auth, client: &Client, token: &str, metadata: Value) -> Answer {
    let path = format!("/register/{}", client.id);
    let request = auth.request("PUT", AUTH, &path).bearer_auth(token);
    answer(request.json(&metadata)).await
}

/// A fault of the Python gateway: an update reset the lifetime, took any grant and gave no registration token back.
#[tokio::test]
async fn an_update_replaces_everything_and_renews_the_registration_token() {
    let auth = Auth::start().await;
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        "client_name": "Before", "client_uri": "https://app.example/"});
    let client = register_with(&auth, &metadata).await;
    let token = client.registration_token.clone();
    let metadata = json!({"client_id": client.id, "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "none", "client_name": "After"});
    let changed = replaced(&auth, &client, &token, metadata.clone()).await;
    assert_snapshot!(shown(&changed), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "client_id": "[client_id]",
      "client_id_issued_at": [now],
      "client_name": "After",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "https://app.example/cb"
      ],
      "registration_access_token": "[registration_access_token]",
      "registration_client_uri": "http://auth.localhost:8080/register/[client_id]",
      "response_types": [
        "code"
      ],
      "scope": "mcp offline_access",
      "token_endpoint_auth_method": "none"
    }
    "#);
    let new_token = changed.text("registration_access_token");
    assert_ne!(new_token, token);
    assert_eq!(replaced(&auth, &client, &token, metadata).await.status, 401);
    assert_eq!(
        managed(&auth, "GET", &client.id, Some(&token)).await.status,
        401
    );
    let read = managed(&auth, "GET", &client.id, Some(&new_token)).await;
    assert_eq!(read.text("client_name"), "After");
    let old = crate::sign_in::ask(&auth, &client.id, &[]).await;
    assert_eq!(old.status, 400, "the old redirect is gone");
}

#[tokio::test]
async fn a_wrong_update_changes_nothing() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let token = client.registration_token.clone();
    let right = json!({"client_id": client.id, "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "none"});
    for (member, value, error) in [
        (
            "client_id",
            json!("mcp-AAAAAAAAAAAAAAAAAAAAAA"),
            "invalid_client_metadata",
        ),
        ("client_id", Value::Null, "invalid_client_metadata"),
        ("client_secret", json!("chosen"), "invalid_client_metadata"),
        (
            "registration_access_token",
            json!("x"),
            "invalid_client_metadata",
        ),
        (
            "registration_client_uri",
            json!("https://evil.example/"),
            "invalid_client_metadata",
        ),
        (
            "client_secret_expires_at",
            json!(0),
            "invalid_client_metadata",
        ),
        ("client_id_issued_at", json!(0), "invalid_client_metadata"),
        (
            "redirect_uris",
            json!(["javascript:alert(1)"]),
            "invalid_redirect_uri",
        ),
        (
            "grant_types",
            json!(["password"]),
            "invalid_client_metadata",
        ),
    ] {
        let mut wrong = right.clone();
        wrong
            .as_object_mut()
            .unwrap()
            .insert(member.to_owned(), value);
        let refused = replaced(&auth, &client, &token, wrong).await;
        assert_eq!(refused.refusal(), format!("400 {error}"), "{member}");
    }
    let read = managed(&auth, "GET", &client.id, Some(&token)).await;
    assert_eq!(read.text("client_name"), "Test");
    assert_eq!(
        replaced(&auth, &client, "x", right.clone()).await.status,
        401
    );
    assert_eq!(replaced(&auth, &client, &token, right).await.status, 200);
}

/// Of racing updates one renews the registration token; the others' token is spent.
#[tokio::test]
async fn of_racing_updates_one_counts() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let metadata = json!({"client_id": client.id, "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "none"});
    let updates =
        (0..10).map(|_| replaced(&auth, &client, &client.registration_token, metadata.clone()));
    let answers = futures_util::future::join_all(updates).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 401].contains(&answer.status))
    );
}

/// A client that becomes confidential must show its secret from then on.
#[tokio::test]
async fn an_update_may_make_a_client_confidential() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let metadata = json!({"client_id": client.id, "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "client_secret_post"});
    let changed = replaced(&auth, &client, &client.registration_token, metadata).await;
    let secret = changed.text("client_secret");
    let again = json!({"client_id": client.id, "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "client_secret_post", "client_secret": secret});
    let token = changed.text("registration_access_token");
    let kept = replaced(&auth, &client, &token, again).await;
    assert_eq!(
        kept.status, 200,
        "the current secret may be repeated: {kept:?}"
    );
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "401 invalid_client");
    let confidential = Client {
        secret: Some(secret),
        ..client
    };
    assert_eq!(
        auth.refresh(&confidential, &tokens.refresh).await.status,
        200
    );
}
