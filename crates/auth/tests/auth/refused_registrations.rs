//! Registrations that are refused (RFC 7591 section 3.2.2), and what is told of them.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::service::{AUTH, Auth};
use crate::sign_in::{REDIRECT, registration};

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
