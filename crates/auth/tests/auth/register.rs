//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, FETCH};
use crate::sign_in::{Client, REDIRECT, register_with, registration, tokens};

/// An answer with a client's information, with what is new each time replaced.
pub(crate) fn shown(answer: &Answer) -> String {
    let json = answer.json();
    let text = |name: &str| {
        json.get(name).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let mut replacements = vec![];
    for (name, shown) in [
        ("client_id", "[client_id]"),
        ("client_secret", "[client_secret]"),
        ("registration_access_token", "[registration_access_token]"),
        ("client_id_issued_at", "[now]"),
    ] {
        if let Some(text) = text(name) {
            replacements.push((text, shown));
        }
    }
    let replacements: Vec<(&str, &str)> = replacements
        .iter()
        .map(|(found, shown)| (found.as_str(), *shown))
        .collect();
    answer.shown(&replacements)
}

/// Clients that parse strictly refuse `null` and missing members, a fault of the Python gateway.
#[tokio::test]
async fn every_default_is_filled_in_and_nothing_is_null() {
    let auth = Auth::start().await;
    let answer = registration(
        &auth,
        &json!({
            "redirect_uris": [REDIRECT],
            "client_name": null,
            "scope": null,
            "grant_types": null,
            "response_types": null,
            "client_uri": "",
            "contacts": null,
            "software_statement": "ignored",
        }),
    )
    .await;
    assert_snapshot!(shown(&answer), @r#"
    201
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "client_id": "[client_id]",
      "client_id_issued_at": [now],
      "client_name": "Unnamed client",
      "client_secret": "[client_secret]",
      "client_secret_expires_at": 0,
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "http://localhost:7777/callback"
      ],
      "registration_access_token": "[registration_access_token]",
      "registration_client_uri": "http://auth.localhost:8080/register/[client_id]",
      "response_types": [
        "code"
      ],
      "scope": "mcp offline_access",
      "token_endpoint_auth_method": "client_secret_basic"
    }
    "#);
}

/// A fault of the Python gateway: public clients got secrets, and `none` was not offered.
#[tokio::test]
async fn a_public_client_gets_no_secret() {
    let auth = Auth::start().await;
    let answer = registration(
        &auth,
        &json!({
            "redirect_uris": ["https://app.example/callback"],
            "token_endpoint_auth_method": "none",
            "client_name": "Claude Code (my plugin)",
            "application_type": "native",
            "client_uri": "https://app.example/",
            "software_version": "1.2",
        }),
    )
    .await;
    assert_snapshot!(shown(&answer), @r#"
    201
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "application_type": "native",
      "client_id": "[client_id]",
      "client_id_issued_at": [now],
      "client_name": "Claude Code (my plugin)",
      "client_uri": "https://app.example/",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "https://app.example/callback"
      ],
      "registration_access_token": "[registration_access_token]",
      "registration_client_uri": "http://auth.localhost:8080/register/[client_id]",
      "response_types": [
        "code"
      ],
      "scope": "mcp offline_access",
      "software_version": "1.2",
      "token_endpoint_auth_method": "none"
    }
    "#);
}

/// A registration of the service's own host lands at the authorization server: some clients look nowhere else.
#[tokio::test]
async fn registration_works_on_a_service_host_too() {
    let auth = Auth::start().await;
    let request = auth
        .request("POST", FETCH, "/register")
        .json(&json!({"redirect_uris": [REDIRECT]}));
    let answer = answer(request).await;
    assert_eq!(answer.status, 201);
    assert!(
        answer
            .text("registration_client_uri")
            .starts_with("http://auth.localhost:8080/register/mcp-")
    );
}

/// Cursor sends three, and fails whole if one is refused.
#[tokio::test]
async fn the_three_redirects_of_cursor_are_taken_in_one_registration() {
    let auth = Auth::start().await;
    let redirects = json!([
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ]);
    let answer = registration(
        &auth,
        &json!({"redirect_uris": redirects, "token_endpoint_auth_method": "none"}),
    )
    .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json().get("redirect_uris"), Some(&redirects));
}

#[tokio::test]
async fn foreign_scopes_and_grants_are_narrowed_and_not_refused() {
    let auth = Auth::start().await;
    let answer = registration(
        &auth,
        &json!({
            "redirect_uris": [REDIRECT],
            "scope": "claudeai mcp",
            "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        }),
    )
    .await;
    assert_eq!(answer.status, 201);
    let json = answer.json();
    assert_eq!(json.get("scope"), Some(&json!("mcp")));
    assert_eq!(
        json.get("grant_types"),
        Some(&json!(["authorization_code"]))
    );
    let answer = registration(
        &auth,
        &json!({"redirect_uris": [REDIRECT], "scope": "claudeai"}),
    )
    .await;
    assert_eq!(answer.text("scope"), "mcp offline_access");
    // Without `mcp` a token would open nothing.
    let answer = registration(
        &auth,
        &json!({"redirect_uris": [REDIRECT], "scope": "openid offline_access"}),
    )
    .await;
    assert_eq!(answer.text("scope"), "mcp offline_access");
}

/// RFC 7591 section 3: the operator may close registration.
#[tokio::test]
async fn a_closed_registration_needs_the_initial_access_token() {
    let token = "an-initial-access-token-of-the-operator";
    let auth = Auth::start_with(&[
        ("CLIENT_REGISTRATION", "token"),
        ("CLIENT_REGISTRATION_TOKEN", token),
    ])
    .await;
    let metadata = json!({"redirect_uris": [REDIRECT]});
    let send = |token: Option<&str>| {
        let request = auth.request("POST", AUTH, "/register").json(&metadata);
        answer(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    };
    for wrong in [None, Some("x"), Some(&token[1..])] {
        let refused = send(wrong).await;
        assert_eq!(refused.refusal(), "401 invalid_token", "{wrong:?}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
    }
    assert_eq!(send(Some(token)).await.status, 201);
    let off = Auth::start_with(&[("CLIENT_REGISTRATION", "off")]).await;
    let refused = registration(&off, &metadata).await;
    assert_eq!(refused.refusal(), "403 access_denied");
    let found = off
        .get(AUTH, "/.well-known/oauth-authorization-server")
        .await;
    assert_eq!(found.json().get("registration_endpoint"), None);
}

/// A name with an emoji in its coloured form was refused.
#[tokio::test]
async fn a_name_with_emoji_is_taken() {
    let auth = Auth::start().await;
    let name = "Weather \u{2600}\u{fe0f}";
    let metadata = json!({"redirect_uris": [REDIRECT], "client_name": name});
    let registered = registration(&auth, &metadata).await;
    assert_eq!(
        (registered.status, registered.text("client_name")),
        (201, name.to_owned())
    );
}

#[tokio::test]
async fn a_registration_that_sends_a_client_id_gets_another_one() {
    let auth = Auth::start().await;
    let client: Client = register_with(
        &auth,
        &json!({"redirect_uris": [REDIRECT], "client_id": "chosen", "client_secret": "chosen"}),
    )
    .await;
    assert_ne!(client.id, "chosen");
    assert_ne!(client.secret.as_deref(), Some("chosen"));
    tokens(&auth, &client).await;
}
