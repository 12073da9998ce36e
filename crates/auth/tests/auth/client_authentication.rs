//! `/token`: how a client proves who it is (RFC 6749 sections 2.3 and 5.2).

use insta::assert_snapshot;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;

use crate::answer::answer;
use crate::service::{AUTH, Auth};
use crate::sign_in::{
    REDIRECT, VERIFIER, code, confidential_client, public_client, redemption, register_with,
};
use crate::token::{changed, redeem};

/// A fault of the Python gateway: the secret of a confidential client was not asked for.
#[tokio::test]
async fn a_confidential_client_must_show_its_secret() {
    let auth = Auth::start().await;
    let client = confidential_client(&auth).await;
    let other = confidential_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let missing = redeem(&auth, &client, &code, &[("client_secret", "")]).await;
    assert_snapshot!(missing.shown(&[]), @r#"
    401
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_client",
      "error_description": "the client is not registered here, or its secret is wrong"
    }
    "#);
    let other_secret = other.secret.as_deref().unwrap();
    for secret in [other_secret, "wrong", "mcp_cs_", "ä"] {
        let wrong = redeem(&auth, &client, &code, &[("client_secret", secret)]).await;
        assert_eq!(wrong.shown(&[]), missing.shown(&[]), "{secret}");
    }
    // None of it counted against the code.
    assert_eq!(redeem(&auth, &client, &code, &[]).await.status, 200);
}

/// A fault of the Python gateway: Basic was advertised and answered 422.
#[tokio::test]
async fn a_wrong_secret_in_the_header_is_told_with_a_challenge() {
    let auth = Auth::start().await;
    let client = confidential_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ];
    let send = |id: &str, secret: Option<&str>| {
        let request = auth.request("POST", AUTH, "/token");
        answer(request.basic_auth(id, secret).form(&form))
    };
    let wrong = send(&client.id, Some("wrong")).await;
    assert_snapshot!(wrong.shown(&[]), @r#"
    401
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Basic realm="token"
    x-content-type-options: nosniff

    {
      "error": "invalid_client",
      "error_description": "the client is not registered here, or its secret is wrong"
    }
    "#);
    let unknown = send("mcp-AAAAAAAAAAAAAAAAAAAAAA", client.secret.as_deref()).await;
    assert_eq!(unknown.shown(&[]), wrong.shown(&[]));
    let missing = send(&client.id, None).await;
    assert_eq!(missing.shown(&[]), wrong.shown(&[]));
    let right = send(&client.id, client.secret.as_deref()).await;
    assert_eq!(right.status, 200);
}

/// Clients send a secret otherwise than they registered; it is the same secret.
#[tokio::test]
async fn the_secret_may_come_by_either_way_whatever_was_registered() {
    let auth = Auth::start().await;
    for method in ["client_secret_basic", "client_secret_post"] {
        let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": method});
        let client = register_with(&auth, &metadata).await;
        let by_form = code(&auth, &client.id).await;
        assert_eq!(redeem(&auth, &client, &by_form, &[]).await.status, 200);
        let by_header = code(&auth, &client.id).await;
        let form = changed(&client, &by_header, &[("client_secret", "")]);
        let request = auth
            .request("POST", AUTH, "/token")
            .basic_auth(&client.id, client.secret.as_ref())
            .form(&form);
        assert_eq!(answer(request).await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn a_secret_by_both_ways_is_refused() {
    let auth = Auth::start().await;
    let client = confidential_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let both = auth
        .request("POST", AUTH, "/token")
        .basic_auth(&client.id, client.secret.as_ref())
        .form(&redemption(&client, &code));
    assert_snapshot!(answer(both).await.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "send the client secret in the header or in the form, not in both"
    }
    "#);
    let other = confidential_client(&auth).await;
    let two_clients = auth
        .request("POST", AUTH, "/token")
        .basic_auth(&client.id, client.secret.as_ref())
        .form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &other.id),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ]);
    assert_eq!(answer(two_clients).await.refusal(), "400 invalid_request");
    for header in ["Bearer x", "Basic", "Basic %%%", "Basic eA==", "Digest x"] {
        let request = auth
            .request("POST", AUTH, "/token")
            .header("Authorization", header)
            .form(&redemption(&client, &code));
        let refused = answer(request).await;
        assert_eq!(refused.refusal(), "401 invalid_client", "{header}");
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"token\"");
    }
    assert_eq!(redeem(&auth, &client, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_public_client_must_not_invent_a_secret() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let invented = redeem(&auth, &client, &code, &[("client_secret", "x")]).await;
    assert_eq!(invented.refusal(), "401 invalid_client");
    let empty = auth
        .request("POST", AUTH, "/token")
        .basic_auth(&client.id, Some(""))
        .form(&changed(&client, &code, &[("client_id", "")]));
    assert_eq!(answer(empty).await.status, 200, "an empty secret is none");
}

/// On 401 `invalid_client` clients register anew; anything else leaves them stuck after their registration ended.
#[tokio::test]
async fn an_unknown_client_is_401_invalid_client() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    for id in ["mcp-AAAAAAAAAAAAAAAAAAAAAA", "x", "ä\u{0}", ""] {
        let refused = redeem(&auth, &client, &code, &[("client_id", id)]).await;
        assert_eq!(refused.refusal(), "401 invalid_client", "{id}");
        assert_eq!(refused.count("www-authenticate"), 0);
    }
}

/// A header that cannot be read was told as being there twice.
#[tokio::test]
async fn a_header_that_cannot_be_read_is_told_as_such() {
    let auth = Auth::start().await;
    let unreadable = HeaderValue::from_bytes(b"Basic \xff").unwrap();
    let request = auth
        .request("POST", AUTH, "/token")
        .header(AUTHORIZATION, unreadable)
        .form(&[("grant_type", "refresh_token")]);
    let refused = answer(request).await;
    assert_eq!(refused.refusal(), "400 invalid_request");
    assert_snapshot!(refused.text("error_description"), @"Authorization is repeated, or holds more than ASCII");
}
