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

/// A fault of the Python gateway: look-alikes of loopback, `javascript:`, `data:` and fragments were accepted.
#[tokio::test]
async fn dangerous_redirects_are_refused() {
    let auth = Auth::start().await;
    for redirect in [
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil/",
        "http://0.0.0.0/cb",
        "http://0x7f.1/cb",
        "http://example.com/cb",
        "https://user:pw@example.com/cb",
        "https://example.com/cb#fragment",
        "https://*.example.com/cb",
        "https://EXAMPLE.com/cb",
        "HTTPS://example.com/cb",
        "HTTP://localhost/cb",
        "javascript:alert(1)",
        "JavaScript://localhost/%0aalert(1)",
        "data:text/html,hi",
        "file:///etc/passwd",
        "vbscript://x/",
        "blob:https://example.com/x",
        "about:blank",
        "view-source:https://example.com/",
        "myapp:callback",
        "intent://scan/",
        "search-ms://x/",
        "ldap://x/",
        // A code that a person copies by hand can be asked of them by anybody.
        "urn:ietf:wg:oauth:2.0:oob",
        "/relative",
        "",
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://exämple.com/",
        "https://example.com/\"><script>",
    ] {
        let answer = registration(&auth, &json!({"redirect_uris": [redirect]})).await;
        assert_eq!(
            answer.refusal(),
            "400 invalid_redirect_uri",
            "{redirect}: {answer:?}"
        );
    }
    for redirects in [json!([]), json!(vec![REDIRECT; 11]), Value::Null] {
        let answer = registration(&auth, &json!({"redirect_uris": redirects})).await;
        assert_eq!(answer.refusal(), "400 invalid_redirect_uri", "{redirects}");
    }
    let answer = registration(
        &auth,
        &json!({"redirect_uris": [REDIRECT, "javascript:alert(1)"]}),
    )
    .await;
    assert_snapshot!(answer.shown(&[]), @r#"
            400
            cache-control: no-store
            content-type: application/json
            pragma: no-cache
            x-content-type-options: nosniff

            {
              "error": "invalid_redirect_uri",
              "error_description": "javascript:alert(1): the scheme of a redirect URI must be https, loopback http, or an application's own (reverse domain name, or with a host)"
            }
            "#);
}

#[tokio::test]
async fn wrong_metadata_is_refused() {
    let auth = Auth::start().await;
    let refused = async |member: &str, value: Value| {
        let mut metadata = json!({"redirect_uris": [REDIRECT]});
        metadata
            .as_object_mut()
            .unwrap()
            .insert(member.to_owned(), value);
        let answer = registration(&auth, &metadata).await;
        assert_eq!(
            answer.refusal(),
            "400 invalid_client_metadata",
            "{member}: {answer:?}"
        );
        answer.text("error_description")
    };
    assert_snapshot!(
        refused("token_endpoint_auth_method", json!("private_key_jwt")).await,
        @"token_endpoint_auth_method private_key_jwt is not offered; use none, client_secret_basic or client_secret_post"
    );
    assert_snapshot!(refused("grant_types", json!(["implicit"])).await, @"grant_types must contain authorization_code or the device grant of RFC 8628");
    assert_snapshot!(refused("response_types", json!(["token"])).await, @"response_types must contain code");
    // A fault of the Python gateway: a part of a word passed.
    refused("response_types", json!(["c"])).await;
    assert_snapshot!(refused("logo_uri", json!("javascript:alert(1)")).await, @"logo_uri must be an https or http URL");
    assert_snapshot!(refused("client_name", json!("a\u{202e}b")).await, @"client_name must not contain control, invisible or direction-changing characters");
    refused("client_name", json!("zero\u{200b}width")).await;
    refused("client_name", json!("line\nbreak")).await;
    assert_snapshot!(refused("client_name", json!("x".repeat(101))).await, @"client_name may have at most 100 characters");
    assert_snapshot!(refused("application_type", json!("robot")).await, @"application_type must be web or native");
    assert_snapshot!(refused("scope", json!("a\"b")).await, @"scope: a scope consists of visible ASCII characters other than quote and backslash, and scopes are separated by spaces");
    assert_snapshot!(refused("redirect_uris", json!("https://one.example/")).await, @"the body is not the JSON that was expected: invalid type: string 'https://one.example/', expected a sequence at line 1 column 39");
}

#[tokio::test]
async fn what_is_no_registration_is_refused_by_its_shape() {
    let auth = Auth::start().await;
    let send = async |kind: &str, body: String| {
        answer(
            auth.request("POST", AUTH, "/register")
                .header("Content-Type", kind)
                .body(body),
        )
        .await
    };
    let too_long = format!(
        "{{\"redirect_uris\":[\"{REDIRECT}\"],\"x\":\"{}\"}}",
        "x".repeat(16 * 1024)
    );
    assert_snapshot!(send("application/json", too_long).await.shown(&[]), @r#"
    413
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "the body may have at most 16384 bytes"
    }
    "#);
    let right = format!("{{\"redirect_uris\":[\"{REDIRECT}\"]}}");
    assert_snapshot!(send("text/plain", right.clone()).await.shown(&[]), @r#"
    415
    cache-control: no-store
    connection: close
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "Content-Type must be application/json"
    }
    "#);
    assert_snapshot!(send("application/json", "{not json".to_owned()).await.shown(&[]), @r#"
    400
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "invalid_client_metadata",
      "error_description": "the body is not the JSON that was expected: key must be a string at line 1 column 2"
    }
    "#);
    let list = format!("[[\"{REDIRECT}\"]]");
    for body in [
        "",
        "null",
        "[]",
        &list,
        "\"x\"",
        "{",
        "{\"redirect_uris\":{}}",
    ] {
        let answer = send("application/json", body.to_owned()).await;
        assert_eq!(answer.refusal(), "400 invalid_client_metadata", "{body}");
    }
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let answer = send("application/json", nested).await;
    assert_eq!(answer.refusal(), "400 invalid_client_metadata");
    let answer = send("application/json; charset=utf-8", right).await;
    assert_eq!(answer.status, 201);
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
async fn another_method_is_405_with_the_right_one() {
    let auth = Auth::start().await;
    let answer = auth.get(AUTH, "/register").await;
    assert_snapshot!(answer.shown(&[]), @r#"
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
