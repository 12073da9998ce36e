//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, FETCH};
use crate::sign_in::{
    Client, REDIRECT, public_client, redemption, register_with, registration, signed_in, tokens,
};

fn shown(answer: &Answer) -> String {
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

/// Clients that parse strictly refuse `null` and missing members (upstream fault 14).
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

/// Upstream fault 13: public clients got secrets, and `none` was not offered.
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

/// Upstream fault 7: look-alikes of loopback, `javascript:`, `data:` and fragments were accepted.
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
    assert_snapshot!(refused("grant_types", json!(["implicit"])).await, @"grant_types must contain authorization_code");
    assert_snapshot!(refused("response_types", json!(["token"])).await, @"response_types must contain code");
    // Upstream fault 11: a part of a word passed.
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

async fn managed(auth: &Auth, method: &str, id: &str, token: Option<&str>) -> Answer {
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

/// Upstream fault 4: refresh tokens survived the deletion of their client.
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
    let refreshed = auth
        .post(
            "/token",
            &crate::sign_in::refreshing(&client, &tokens_of_client.refresh),
        )
        .await;
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

async fn replaced(auth: &Auth, client: &Client, token: &str, metadata: Value) -> Answer {
    let path = format!("/register/{}", client.id);
    let request = auth.request("PUT", AUTH, &path).bearer_auth(token);
    answer(request.json(&metadata)).await
}

/// Upstream fault 17: an update reset the lifetime, took any grant and gave no registration token back.
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
    let form = crate::sign_in::refreshing(&client, &tokens.refresh);
    let refused = auth.post("/token", &form).await;
    assert_eq!(refused.refusal(), "401 invalid_client");
    let confidential = Client {
        secret: Some(secret),
        ..client
    };
    let form = crate::sign_in::refreshing(&confidential, &tokens.refresh);
    assert_eq!(auth.post("/token", &form).await.status, 200);
}
