//! Providers, and people between us and them, that do what they must not: no code comes of it.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::oidc::{go, outcome, person};
use crate::openid::{CLIENT_ID, OpenId, REMOTE_TEXT, Signature, Trouble};

async fn start() -> (Gateway, OpenId) {
    Gateway::openid(&[("ALLOWED_OIDC_USERS", "*")]).await
}

/// With these claims nobody comes in, and it is because of them.
async fn refused_with(claims: Value) {
    let (gateway, provider) = start().await;
    provider.state().claims = claims.clone();
    assert_eq!(outcome(&gateway).await, "access_denied", "{claims}");
    provider.state().claims = json!({});
    assert_eq!(outcome(&gateway).await, "code", "{claims}");
    assert!(provider.state().complaints.is_empty());
}

async fn refused_signed(signature: Signature) {
    let (gateway, provider) = start().await;
    provider.state().signature = signature;
    assert_eq!(outcome(&gateway).await, "access_denied", "{signature:?}");
    provider.state().signature = Signature::Right;
    assert_eq!(outcome(&gateway).await, "code");
}

/// Nobody is sent to this provider, or comes back from it, with a code.
async fn out_of_order(prepare: impl Fn(&OpenId)) {
    let (gateway, provider) = start().await;
    prepare(&provider);
    let client = gateway.web_client().await;
    let page = go(&gateway, &person(), &client).await.page().unwrap();
    assert_eq!(page.status, 503, "{}", page.text());
    assert!(!page.body.contains(REMOTE_TEXT), "{}", page.body);
    assert_eq!(provider.state().count("authorize"), 0);
}

#[tokio::test]
async fn an_id_token_of_another_issuer_lets_nobody_in() {
    refused_with(json!({"iss": "https://other.example"})).await;
    refused_with(json!({"iss": null})).await;
}

#[tokio::test]
async fn an_id_token_for_another_client_lets_nobody_in() {
    refused_with(json!({"aud": "another"})).await;
    refused_with(json!({"aud": []})).await;
    refused_with(json!({"aud": null})).await;
}

#[tokio::test]
async fn an_id_token_for_several_clients_must_be_authorized_for_us() {
    refused_with(json!({"aud": [CLIENT_ID, "another"]})).await;
    refused_with(json!({"aud": [CLIENT_ID, "another"], "azp": "another"})).await;
    refused_with(json!({"azp": "another"})).await;
    let (gateway, provider) = start().await;
    provider.state().claims = json!({"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn an_id_token_of_another_sign_in_lets_nobody_in() {
    refused_with(json!({"nonce": "of-another-sign-in"})).await;
    refused_with(json!({"nonce": null})).await;
}

#[tokio::test]
async fn an_id_token_that_has_expired_lets_nobody_in() {
    let now = 1_800_000_000;
    refused_with(json!({"exp": now - 30})).await;
    refused_with(json!({"exp": null})).await;
    refused_with(json!({"exp": "2027"})).await;
    // Half a minute is granted to clocks that differ.
    let (gateway, provider) = start().await;
    provider.state().claims = json!({"exp": now - 29, "iat": now + 30});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn an_id_token_from_another_time_lets_nobody_in() {
    let now = 1_800_000_000;
    refused_with(json!({"iat": now + 31})).await;
    refused_with(json!({"iat": now - 631})).await;
    refused_with(json!({"iat": null})).await;
    refused_with(json!({"nbf": now + 31})).await;
}

#[tokio::test]
async fn an_id_token_with_another_access_token_lets_nobody_in() {
    refused_with(json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})).await;
    refused_with(json!({"at_hash": 5})).await;
    let (gateway, provider) = start().await;
    provider.state().claims = json!({"at_hash": null});
    assert_eq!(outcome(&gateway).await, "code", "it need not be there");
}

#[tokio::test]
async fn an_id_token_without_a_subject_lets_nobody_in() {
    refused_with(json!({"sub": null})).await;
    refused_with(json!({"sub": ""})).await;
    refused_with(json!({"sub": 1})).await;
}

#[tokio::test]
async fn an_unsigned_id_token_lets_nobody_in() {
    refused_signed(Signature::Unsigned).await;
}

#[tokio::test]
async fn an_id_token_signed_with_the_public_key_as_a_secret_lets_nobody_in() {
    refused_signed(Signature::PublicKeyAsSecret).await;
}

#[tokio::test]
async fn an_id_token_signed_by_somebody_else_under_a_known_name_lets_nobody_in() {
    refused_signed(Signature::ForeignKey).await;
}

#[tokio::test]
async fn an_unknown_key_lets_nobody_in_and_is_not_looked_for_without_end() {
    let (gateway, provider) = start().await;
    provider.state().signature = Signature::UnknownKey;
    for _ in 0..5 {
        assert_eq!(outcome(&gateway).await, "access_denied");
    }
    assert_eq!(provider.state().count("jwks"), 1);
    gateway.clock.advance(10);
    for _ in 0..5 {
        assert_eq!(outcome(&gateway).await, "access_denied");
    }
    assert_eq!(provider.state().count("jwks"), 2);
}

#[tokio::test]
async fn after_a_rotation_the_new_key_counts_at_once_and_the_old_one_no_more() {
    let (gateway, provider) = start().await;
    assert_eq!(outcome(&gateway).await, "code");
    gateway.clock.advance(60);
    provider.state().rotate();
    assert_eq!(outcome(&gateway).await, "code");
    assert_eq!(provider.state().count("jwks"), 2);
    assert_eq!(outcome(&gateway).await, "code");
    assert_eq!(provider.state().count("jwks"), 2);
}

#[tokio::test]
async fn a_browser_that_another_issuer_sent_back_brings_no_code() {
    let (gateway, provider) = start().await;
    for way_back in [
        json!({"iss": "https://other.example"}),
        json!({"iss": null}),
        json!({"iss": "https://other.example", "code": null, "error": "server_error"}),
    ] {
        provider.state().way_back = way_back.clone();
        assert_eq!(outcome(&gateway).await, "access_denied", "{way_back}");
    }
    assert_eq!(provider.state().count("token"), 0, "the code went nowhere");
    // One that does not promise it need not name itself.
    let (gateway, provider) = start().await;
    provider.state().document = json!({"authorization_response_iss_parameter_supported": null});
    provider.state().way_back = json!({"iss": null});
    assert_eq!(outcome(&gateway).await, "code");
    provider.state().way_back = json!({"iss": "https://other.example"});
    assert_eq!(outcome(&gateway).await, "access_denied");
}

#[tokio::test]
async fn userinfo_about_somebody_else_lets_nobody_in() {
    let (gateway, provider) = start().await;
    provider.state().person = json!({"sub": "1"});
    for userinfo in [
        json!({"sub": "2", "preferred_username": "root"}),
        json!({"preferred_username": "root"}),
    ] {
        provider.state().userinfo = userinfo;
        assert_eq!(outcome(&gateway).await, "access_denied");
    }
    provider.state().userinfo = json!({"sub": "1", "preferred_username": "ann"});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn answers_that_are_too_long_or_no_json_let_nobody_in() {
    for (endpoint, trouble) in [
        ("token", Trouble::Huge),
        ("token", Trouble::NotJson),
        ("token", Trouble::Redirecting),
        ("token", Trouble::Status(400)),
        ("jwks", Trouble::Huge),
        ("jwks", Trouble::Redirecting),
    ] {
        let (gateway, provider) = start().await;
        provider.state().trouble = [(endpoint, trouble)].into();
        assert_eq!(
            outcome(&gateway).await,
            "access_denied",
            "{endpoint} {trouble:?}"
        );
    }
}

#[tokio::test]
async fn a_discovery_that_redirects_is_not_followed() {
    out_of_order(|provider| {
        provider.state().trouble = [("discovery", Trouble::Redirecting)].into();
    })
    .await;
}

#[tokio::test]
async fn a_huge_discovery_is_not_read() {
    out_of_order(|provider| provider.state().trouble = [("discovery", Trouble::Huge)].into()).await;
}

#[tokio::test]
async fn nobody_is_sent_to_a_provider_that_calls_itself_otherwise() {
    out_of_order(|provider| {
        let with_slash = format!("{}/", provider.issuer);
        provider.state().document = json!({"issuer": with_slash});
    })
    .await;
}

#[tokio::test]
async fn nobody_is_sent_to_a_provider_that_cannot_do_what_is_needed() {
    for document in [
        json!({"token_endpoint": "http://id.example.com/token"}),
        json!({"authorization_endpoint": "javascript:alert(1)"}),
        json!({"jwks_uri": "ftp://id.example.com/jwks"}),
        json!({"response_types_supported": ["id_token"]}),
        json!({"code_challenge_methods_supported": ["plain"]}),
        json!({"id_token_signing_alg_values_supported": ["HS256", "none"]}),
        json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}),
    ] {
        out_of_order(|provider| provider.state().document = document.clone()).await;
    }
}
