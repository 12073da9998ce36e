//! The documents by which clients find their way: RFC 8414, RFC 9728, RFC 7517.

use insta::assert_snapshot;
use serde_json::Value;

use crate::answer::answer;
use crate::service::{AUTH, Auth, ECHO, FETCH};
use crate::sign_in::{
    REDIRECT, VERIFIER, approved, challenge, consent_page, decide, log_in, register_with,
};

/// Every address at which clients look for the authorization server's metadata.
const SERVER_METADATA: [&str; 6] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/mcp/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/mcp/.well-known/openid-configuration",
];

#[tokio::test]
async fn the_server_metadata_is_exactly_this() {
    let auth = Auth::start().await;
    let answer = auth.get(AUTH, SERVER_METADATA[0]).await;
    assert_snapshot!(answer.shown(&[]), @r#"
    200
    cache-control: public, max-age=300
    content-type: application/json
    x-content-type-options: nosniff

    {
      "authorization_endpoint": "http://auth.localhost:8080/authorize",
      "authorization_response_iss_parameter_supported": true,
      "client_id_metadata_document_supported": true,
      "code_challenge_methods_supported": [
        "S256"
      ],
      "device_authorization_endpoint": "http://auth.localhost:8080/device_authorization",
      "grant_types_supported": [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code"
      ],
      "introspection_endpoint": "http://auth.localhost:8080/introspect",
      "introspection_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post"
      ],
      "issuer": "http://auth.localhost:8080",
      "jwks_uri": "http://auth.localhost:8080/jwks",
      "registration_endpoint": "http://auth.localhost:8080/register",
      "response_modes_supported": [
        "query"
      ],
      "response_types_supported": [
        "code"
      ],
      "revocation_endpoint": "http://auth.localhost:8080/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ],
      "scopes_supported": [
        "mcp",
        "offline_access"
      ],
      "token_endpoint": "http://127.0.0.1:8080/token",
      "token_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ]
    }
    "#);
}

#[tokio::test]
async fn the_server_metadata_is_the_same_on_every_host_and_path() {
    let auth = Auth::start().await;
    let first = auth.get(AUTH, SERVER_METADATA[0]).await;
    let first_openid = auth.get(AUTH, SERVER_METADATA[3]).await;
    for host in [AUTH, FETCH, ECHO] {
        for (index, path) in SERVER_METADATA.into_iter().enumerate() {
            let answer = auth.get(host, path).await;
            let expected = if index < 3 { &first } else { &first_openid };
            assert_eq!(answer.shown(&[]), expected.shown(&[]), "{host}{path}");
            let head = crate::answer::answer(auth.request("HEAD", host, path)).await;
            assert_eq!((head.status, head.body.as_str()), (200, ""), "{host}{path}");
        }
    }
}

/// OpenID Connect Discovery 1.0 section 3: clients that look there insist on its members. What is not given is not promised.
#[tokio::test]
async fn the_openid_configuration_has_its_members_and_promises_no_id_token() {
    let auth = Auth::start().await;
    let server = auth.get(AUTH, SERVER_METADATA[0]).await.json();
    let mut openid = auth.get(AUTH, SERVER_METADATA[3]).await.json();
    let members = openid.as_object_mut().unwrap();
    let subjects = members.remove("subject_types_supported").unwrap();
    assert_eq!(subjects, serde_json::json!(["public"]));
    let algorithms = members.remove("id_token_signing_alg_values_supported");
    assert_eq!(algorithms.unwrap(), serde_json::json!(["ES256"]));
    assert_eq!(openid, server);
    let scopes = server["scopes_supported"].to_string();
    assert!(!scopes.contains("openid"), "{scopes}");
    assert_eq!(
        server["response_types_supported"],
        serde_json::json!(["code"])
    );
    // A client that asks for it all the same is signed in, and gets none.
    let client = crate::sign_in::public_client(&auth).await;
    let changes = [("scope", "openid mcp")];
    let code = crate::sign_in::code_with(&auth, &client.id, &changes).await;
    let answer = auth
        .post("/token", &crate::sign_in::redemption(&client, &code))
        .await;
    assert_eq!(
        (answer.status, answer.text("scope")),
        (200, "mcp".to_owned())
    );
    assert_eq!(answer.json().get("id_token"), None);
}

#[tokio::test]
async fn a_protected_resource_names_the_address_that_was_asked() {
    let auth = Auth::start().await;
    let endpoint = auth
        .get(FETCH, "/.well-known/oauth-protected-resource/mcp")
        .await;
    assert_snapshot!(endpoint.shown(&[]), @r#"
    200
    cache-control: public, max-age=300
    content-type: application/json
    x-content-type-options: nosniff

    {
      "authorization_servers": [
        "http://auth.localhost:8080"
      ],
      "bearer_methods_supported": [
        "header"
      ],
      "resource": "http://mcp-fetch.localhost:8080/mcp",
      "resource_name": "mcp-fetch",
      "scopes_supported": [
        "mcp"
      ]
    }
    "#);
    let root = auth
        .get(FETCH, "/.well-known/oauth-protected-resource")
        .await;
    assert_eq!(root.text("resource"), "http://mcp-fetch.localhost:8080");
    let other = auth
        .get(ECHO, "/.well-known/oauth-protected-resource/mcp")
        .await;
    assert_eq!(other.text("resource"), "http://mcp-echo.localhost:8080/mcp");
}

/// A fault of the Python gateway: no RFC 9728 document, other issuers on other hosts.
#[tokio::test]
async fn the_issuer_is_the_same_text_everywhere() {
    let auth = Auth::start().await;
    let server = auth.get(FETCH, SERVER_METADATA[0]).await;
    let resource = auth
        .get(FETCH, "/.well-known/oauth-protected-resource/mcp")
        .await;
    assert_eq!(server.text("issuer"), "http://auth.localhost:8080");
    assert_eq!(
        resource.json().pointer("/authorization_servers"),
        Some(&serde_json::json!(["http://auth.localhost:8080"]))
    );
}

#[tokio::test]
async fn the_authorization_server_is_no_protected_resource() {
    let auth = Auth::start().await;
    let answer = auth
        .get(AUTH, "/.well-known/oauth-protected-resource")
        .await;
    assert_eq!(answer.refusal(), "404 not_found");
}

#[tokio::test]
async fn what_is_not_there_is_a_json_404() {
    let auth = Auth::start().await;
    let answer = auth.get(FETCH, "/.well-known/security.txt").await;
    assert_snapshot!(answer.shown(&[]), @r#"
    404
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "error": "not_found",
      "error_description": "there is nothing at this address"
    }
    "#);
    for (host, path) in [
        (AUTH, "/.well-known/oauth-protected-resource/other"),
        (FETCH, "/.well-known/oauth-protected-resource/mcp/"),
        (FETCH, "/.well-known/oauth-authorization-server/other"),
        (FETCH, "/.well-known/"),
        (FETCH, "/mcp"),
        ("mcp-unknown.localhost:8080", SERVER_METADATA[0]),
        (
            "mcp-unknown.localhost:8080",
            "/.well-known/oauth-protected-resource/mcp",
        ),
        ("localhost:8080", SERVER_METADATA[0]),
        ("auth.localhost.evil.example", SERVER_METADATA[0]),
        ("evil.example", "/.well-known/oauth-protected-resource"),
    ] {
        let answer = auth.get(host, path).await;
        assert_eq!(answer.refusal(), "404 not_found", "{host}{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

/// Addresses come from configuration: nothing that a request says about itself shows up in them.
#[tokio::test]
async fn spoofed_headers_change_no_byte() {
    let auth = Auth::start().await;
    for path in [
        SERVER_METADATA[0],
        "/.well-known/oauth-protected-resource/mcp",
        "/jwks",
    ] {
        let plain = auth.get(FETCH, path).await;
        let spoofed = answer(
            auth.request("GET", FETCH, path)
                .header("X-Forwarded-Host", "evil.example")
                .header("X-Forwarded-Proto", "https")
                .header("X-Forwarded-Port", "1")
                .header("X-Forwarded-For", "1.2.3.4")
                .header("X-Forwarded-Prefix", "/evil")
                .header("X-Forwarded-Uri", "/evil")
                .header("Forwarded", "host=evil.example;proto=https")
                .header("Origin", "https://evil.example"),
        )
        .await;
        assert_eq!(spoofed.shown(&[]), plain.shown(&[]), "{path}");
        for host in [
            "MCP-FETCH.localhost:8080",
            "mcp-fetch.localhost",
            "mcp-fetch.localhost.:1",
        ] {
            let answer = auth.get(host, path).await;
            assert_eq!(answer.shown(&[]), plain.shown(&[]), "{host}{path}");
        }
    }
}

#[tokio::test]
async fn the_key_set_publishes_public_parts_only() {
    let auth = Auth::start().await;
    let answer = auth.get(AUTH, "/jwks").await;
    let keys = answer.json();
    let key = keys.pointer("/keys/0").unwrap();
    let part = |name: &str| key.get(name).and_then(Value::as_str).unwrap().to_owned();
    assert_snapshot!(answer.shown(&[(&part("kid"), "[kid]"), (&part("x"), "[x]"), (&part("y"), "[y]")]), @r#"
    200
    cache-control: public, max-age=300
    content-type: application/json
    x-content-type-options: nosniff

    {
      "keys": [
        {
          "alg": "ES256",
          "crv": "P-256",
          "kid": "[kid]",
          "kty": "EC",
          "use": "sig",
          "x": "[x]",
          "y": "[y]"
        }
      ]
    }
    "#);
    assert!(key.get("d").is_none());
}

/// A client that reads the metadata and nothing else: everything that is advertised works, the rest is refused.
#[expect(
    clippy::too_many_lines,
    reason = "one client's whole way, told in one piece"
)]
#[tokio::test]
async fn everything_that_is_advertised_works() {
    let auth = Auth::start().await;
    let metadata = auth.get(AUTH, SERVER_METADATA[0]).await;
    let path = |member: &str| {
        let url = metadata.text(member);
        let host = match member {
            "token_endpoint" => "http://127.0.0.1:8080",
            _ => "http://auth.localhost:8080",
        };
        url.strip_prefix(host)
            .unwrap_or_else(|| panic!("{member} is {url}"))
            .to_owned()
    };
    let list = |member: &str| -> Vec<String> {
        let json = metadata.json();
        serde_json::from_value(json.get(member).unwrap().clone()).unwrap()
    };
    assert_eq!(path("registration_endpoint"), "/register");
    let scope = list("scopes_supported").join(" ");
    for method in list("token_endpoint_auth_methods_supported") {
        let client = register_with(
            &auth,
            &serde_json::json!({
                "redirect_uris": [REDIRECT],
                "token_endpoint_auth_method": method,
                "grant_types": list("grant_types_supported"),
                "response_types": list("response_types_supported"),
                "scope": scope,
            }),
        )
        .await;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", REDIRECT)
            .append_pair("response_type", &list("response_types_supported").join(""))
            .append_pair("response_mode", &list("response_modes_supported").join(""))
            .append_pair("code_challenge", &challenge(VERIFIER))
            .append_pair(
                "code_challenge_method",
                &list("code_challenge_methods_supported").join(""),
            )
            .append_pair("scope", &scope)
            .append_pair("resource", crate::service::RESOURCE)
            .finish();
        let page = auth
            .get(AUTH, &format!("{}?{query}", path("authorization_endpoint")))
            .await;
        let held = approved(&decide(&auth, &consent_page(&page), "approve").await);
        let granted = log_in(
            &auth,
            &held,
            crate::service::USERNAME,
            crate::service::PASSWORD,
        )
        .await;
        assert_eq!(granted.parameter("iss"), Some(metadata.text("issuer")));
        let code = granted.parameter("code").unwrap();
        let send = |path: String, form: Vec<(&'static str, String)>| {
            let request = auth.request("POST", AUTH, &path);
            match (method.as_str(), &client.secret) {
                ("client_secret_basic", secret) => {
                    request.basic_auth(&client.id, secret.as_ref()).form(&form)
                }
                (_, secret) => {
                    let mut form = form;
                    form.push(("client_id", client.id.clone()));
                    form.extend(secret.clone().map(|secret| ("client_secret", secret)));
                    request.form(&form)
                }
            }
        };
        let token_path = path("token_endpoint");
        let first = answer(send(
            token_path.clone(),
            vec![
                ("grant_type", "authorization_code".to_owned()),
                ("code", code),
                ("code_verifier", VERIFIER.to_owned()),
            ],
        ))
        .await;
        assert_eq!(first.status, 200, "{method}: {first:?}");
        assert_eq!(first.text("scope"), scope);
        let second = answer(send(
            token_path,
            vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", first.text("refresh_token")),
            ],
        ))
        .await;
        assert_eq!(second.status, 200, "{method}: {second:?}");
        assert_eq!(auth.verify(&second.text("access_token")).await.status, 200);
        let revoked = answer(send(
            path("revocation_endpoint"),
            vec![("token", second.text("refresh_token"))],
        ))
        .await;
        assert_eq!(revoked.status, 200, "{method}: {revoked:?}");
        assert_eq!(auth.verify(&second.text("access_token")).await.status, 401);
    }
    assert_eq!(auth.get(AUTH, &path("jwks_uri")).await.status, 200);
    for grant in [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ] {
        let refused = auth.post("/token", &[("grant_type", grant)]).await;
        assert_eq!(refused.refusal(), "400 unsupported_grant_type", "{grant}");
    }
}
