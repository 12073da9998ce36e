//! Clients that the operator lists: tokens of their own, and questions about tokens.

use insta::assert_snapshot;
use serde_json::Value;
use testkit::redis::RedisServer;

use crate::answer::{Answer, answer};
use crate::audit;
use crate::reload::until_status;
use crate::service::{AUTH, Auth, OTHER_RESOURCE, RESOURCE, in_redis, run, settings};
use crate::sign_in::{confidential_client, signed_in};

/// `secret` and the line with its hash, as the command prints them.
fn new_secret() -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["new-client-secret"], &settings(&[]), directory.path(), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let (secret, hash) = text.trim_end().split_once('\n').unwrap();
    let secret = secret.strip_prefix("client_secret = \"").unwrap();
    (secret.trim_end_matches('"').to_owned(), hash.to_owned())
}

fn client(name: &str, hash: &str, rights: &str) -> String {
    format!("[operator_clients.{name}]\n{hash}\n{rights}\n")
}

async fn machine_token(auth: &Auth, secret: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(more);
    let request = auth
        .request("POST", AUTH, "/token")
        .basic_auth("nightly", Some(secret))
        .form(&form);
    answer(request).await
}

/// MCP client credentials, and RFC 6749 section 4.4.
#[tokio::test]
async fn an_operators_client_gets_tokens_of_its_own_for_its_services_only() {
    let (secret, hash) = new_secret();
    let file = client("nightly", &hash, "services = [\"mcp-fetch\"]");
    let auth = Auth::start_with_file(&[], &file).await;
    let granted = machine_token(&auth, &secret, &[("resource", RESOURCE)]).await;
    let access = granted.text("access_token");
    assert_snapshot!(granted.shown(&[(&access, "[token]")]), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {
      "access_token": "[token]",
      "expires_in": 3600,
      "scope": "mcp",
      "token_type": "Bearer"
    }
    "#);
    assert_eq!(granted.json().get("refresh_token"), None);
    // Twice: the second is answered from memory.
    let opened = auth.verify(&access).await;
    assert_snapshot!(opened.shown(&[]), @r#"
    200
    x-auth-client: nightly
    x-auth-login: client:nightly
    x-auth-scope: mcp
    x-auth-subject: client:nightly
    "#);
    assert_eq!(auth.verify(&access).await.shown(&[]), opened.shown(&[]));
    let other = answer(auth.verification("mcp-echo").bearer_auth(&access)).await;
    assert_eq!(other.status, 401);
    for (more, refusal) in [
        (vec![("resource", OTHER_RESOURCE)], "400 invalid_target"),
        (vec![], "400 invalid_target"),
        (
            vec![("resource", RESOURCE), ("resource", OTHER_RESOURCE)],
            "400 invalid_target",
        ),
        (
            vec![("resource", "https://evil.example/mcp")],
            "400 invalid_target",
        ),
    ] {
        let answer = machine_token(&auth, &secret, &more).await;
        assert_eq!(answer.refusal(), refusal, "{more:?}");
    }
    for wrong in ["", "x", &new_secret().0] {
        let answer = machine_token(&auth, wrong, &[("resource", RESOURCE)]).await;
        assert_eq!(answer.refusal(), "401 invalid_client", "{wrong}");
    }
    // Ends by revocation, and when the operator takes the client away.
    let second = machine_token(&auth, &secret, &[("resource", RESOURCE)]).await;
    let second = second.text("access_token");
    assert_eq!(auth.verify(&second).await.status, 200);
    let form = [
        ("token", access.as_str()),
        ("client_id", "nightly"),
        ("client_secret", &secret),
    ];
    assert_eq!(auth.post("/revoke", &form).await.status, 200);
    assert_eq!(auth.verify(&access).await.status, 401);
    assert_eq!(auth.verify(&second).await.status, 200);
    auth.write_file("");
    until_status(&auth, &second, 401).await;
    let answer = machine_token(&auth, &secret, &[("resource", RESOURCE)]).await;
    assert_eq!(answer.refusal(), "401 invalid_client");
}

/// Without its session a token is none; the audit log tells of tokens that were given, and which.
#[tokio::test]
async fn a_token_whose_session_cannot_be_stored_is_not_told_as_issued() {
    let (secret, hash) = new_secret();
    let file = client("nightly", &hash, "services = [\"mcp-fetch\"]");
    let mut redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_with_file(&in_redis(&redis.url()), &file).await;
    let granted = machine_token(&auth, &secret, &[("resource", RESOURCE)]).await;
    let named = audit::hash(&granted.text("access_token"));
    redis.kill().await.unwrap();
    let refused = machine_token(&auth, &secret, &[("resource", RESOURCE)]).await;
    assert_eq!(refused.refusal(), "503 temporarily_unavailable");
    auth.logs.wait_for("\"status\":503").await.unwrap();
    let lines = audit::audit_lines(&auth);
    let issued: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "token_issued")
        .map(|line| line["token"].as_str())
        .collect();
    assert_eq!(issued, [Some(named.as_str())]);
}

#[tokio::test]
async fn a_client_that_registered_itself_gets_no_token_without_a_person() {
    let auth = Auth::start().await;
    let registered = confidential_client(&auth).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &registered.id),
        ("client_secret", registered.secret.as_deref().unwrap()),
        ("resource", RESOURCE),
    ];
    let answer = auth.post("/token", &form).await;
    assert_eq!(answer.refusal(), "400 unauthorized_client");
}

#[tokio::test]
async fn a_wrong_operators_client_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let hash = new_secret().1;
    for (file, named) in [
        (client("nightly", "secret_hash = \"x\"", ""), "secret_hash"),
        (client("nightly", "", ""), "secret_hash"),
        (client("Nightly", &hash, ""), "Nightly"),
        (client("nightly", &hash, "services = [\"mcp-x\"]"), "mcp-x"),
        (client("nightly", &hash, "service = []"), "service"),
    ] {
        std::fs::write(directory.path().join("gateway.toml"), &file).unwrap();
        let output = run(&["serve"], &settings(&[]), directory.path(), "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{file}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(named), "{said}");
    }
}

async fn introspect(auth: &Auth, id: &str, secret: &str, token: &str) -> Answer {
    let request = auth
        .request("POST", AUTH, "/introspect")
        .basic_auth(id, Some(secret))
        .form(&[("token", token), ("token_type_hint", "anything")]);
    answer(request).await
}

/// RFC 7662, and a fault of the Python gateway: any client could ask about any token.
#[tokio::test]
async fn a_resource_server_learns_about_tokens_for_it_and_nothing_of_others() {
    let ((fetch, fetch_hash), (echo, echo_hash), (user, user_hash)) =
        (new_secret(), new_secret(), new_secret());
    let file = [
        client("fetch-server", &fetch_hash, "introspects = [\"mcp-fetch\"]"),
        client("echo-server", &echo_hash, "introspects = [\"mcp-echo\"]"),
        client("nightly", &user_hash, "services = [\"mcp-fetch\"]"),
    ]
    .concat();
    let auth = Auth::start_with_file(&[], &file).await;
    let (registered, tokens) = signed_in(&auth).await;
    let told = introspect(&auth, "fetch-server", &fetch, &tokens.access).await;
    assert_eq!(told.header("cache-control"), "no-store");
    let claims = told.json();
    let shown: Vec<(&str, &Value)> = [
        "active",
        "scope",
        "client_id",
        "username",
        "token_type",
        "sub",
        "aud",
        "iss",
    ]
    .map(|name| (name, &claims[name]))
    .into();
    assert_snapshot!(serde_json::to_string(&shown).unwrap().replace(&registered.id, "[client_id]"), @r#"[["active",true],["scope","mcp offline_access"],["client_id","[client_id]"],["username","ada"],["token_type","Bearer"],["sub","local:ada"],["aud","http://mcp-fetch.localhost:8080/mcp"],["iss","http://auth.localhost:8080"]]"#);
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 3600);
    for (id, secret, token) in [
        ("echo-server", &echo, &tokens.access),
        ("fetch-server", &fetch, &tokens.refresh),
        ("fetch-server", &fetch, &format!("{}x", tokens.access)),
        ("fetch-server", &fetch, &"x".to_owned()),
    ] {
        let told = introspect(&auth, id, secret, token).await;
        assert_eq!(
            (told.status, told.json()),
            (200, serde_json::json!({"active": false}))
        );
        assert_eq!(told.header("cache-control"), "no-store");
    }
    // Whoever is no resource server learns nothing at all.
    let other = confidential_client(&auth).await;
    let told = introspect(
        &auth,
        &other.id,
        other.secret.as_deref().unwrap(),
        &tokens.access,
    )
    .await;
    assert_eq!(told.refusal(), "403 access_denied");
    let told = introspect(&auth, "nightly", &user, &tokens.access).await;
    assert_eq!(told.refusal(), "403 access_denied");
    let told = introspect(&auth, "fetch-server", &echo, &tokens.access).await;
    assert_eq!(told.refusal(), "401 invalid_client");
    let told = auth.post("/introspect", &[("token", &tokens.access)]).await;
    assert_eq!(told.refusal(), "401 invalid_client");
    // What is revoked is inactive at once.
    let form = [
        ("token", tokens.refresh.as_str()),
        ("client_id", &registered.id),
    ];
    auth.post("/revoke", &form).await;
    let told = introspect(&auth, "fetch-server", &fetch, &tokens.access).await;
    assert_eq!(told.json(), serde_json::json!({"active": false}));
}
