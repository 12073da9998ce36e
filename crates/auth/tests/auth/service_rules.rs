//! Rules of single services: who may use them, what a token needs there, how long it lives, and services without any token.

use serde_json::json;

use crate::answer::{Answer, answer};
use crate::service::{
    AUTH, Auth, ECHO, FETCH, OTHER_RESOURCE, PASSWORD, RESOURCE, USERNAME, cheap_hash,
};
use crate::sign_in::{
    Tokens, approve, ask, code_with, log_in, public_client, redemption, registration, signed_in,
};

/// Ada and Bob may come in; `mcp-echo` is for Bob.
const FOR_BOB: &str = "[services.mcp-echo]\nusers = [\"bob\"]\n";

pub(crate) fn ada_and_bob() -> String {
    let hash = cheap_hash();
    format!("{USERNAME}:{hash} bob:{hash}")
}

async fn sign_in(auth: &Auth, username: &str, resource: &str) -> Answer {
    let client = public_client(auth).await;
    let held = approve(auth, &client.id, &[("resource", resource)]).await;
    log_in(auth, &held, username, PASSWORD).await
}

#[tokio::test]
async fn a_service_may_be_for_some_of_those_who_may_come_in() {
    let people = ada_and_bob();
    let auth = Auth::start_with_file(&[("LOCAL_USERS", &people)], FOR_BOB).await;
    for (username, resource, is_admitted) in [
        ("ada", RESOURCE, true),
        ("ada", OTHER_RESOURCE, false),
        ("bob", RESOURCE, true),
        ("bob", OTHER_RESOURCE, true),
    ] {
        let answer = sign_in(&auth, username, resource).await;
        let found = (
            answer.parameter("code").is_some(),
            answer.parameter("error").as_deref() == Some("access_denied"),
        );
        assert_eq!(found, (is_admitted, !is_admitted), "{username} {resource}");
    }
}

#[tokio::test]
async fn the_environment_counts_before_the_file() {
    let settings = [
        ("LOCAL_USERS", ada_and_bob()),
        ("MCP_ECHO_USERS", "ada".to_owned()),
    ];
    let settings: Vec<_> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let auth = Auth::start_with_file(&settings, FOR_BOB).await;
    for (username, is_admitted) in [("ada", true), ("bob", false)] {
        let answer = sign_in(&auth, username, OTHER_RESOURCE).await;
        assert_eq!(answer.parameter("code").is_some(), is_admitted);
    }
}

fn challenge_of(answer: &Answer) -> &str {
    answer.header("www-authenticate")
}

/// All scopes that the service needs are in the challenge and in the metadata, and granted at once.
#[tokio::test]
async fn all_scopes_of_a_service_are_in_the_challenge_and_granted_at_the_first_sign_in() {
    let auth =
        Auth::start_with_file(&[], "[services.mcp-echo]\nscopes = [\"files\", \"read\"]\n").await;
    let refused = answer(auth.verification("mcp-echo")).await;
    assert!(
        challenge_of(&refused).ends_with(", scope=\"files mcp read\""),
        "{refused:?}"
    );
    let resource = auth
        .get(ECHO, "/.well-known/oauth-protected-resource/mcp")
        .await;
    assert_eq!(
        resource.json()["scopes_supported"],
        json!(["files", "mcp", "read"])
    );
    let other = auth
        .get(FETCH, "/.well-known/oauth-protected-resource/mcp")
        .await;
    assert_eq!(other.json()["scopes_supported"], json!(["mcp"]));
    for host in [AUTH, ECHO, FETCH] {
        let server = auth
            .get(host, "/.well-known/oauth-authorization-server")
            .await;
        assert_eq!(
            server.json()["scopes_supported"],
            json!(["files", "mcp", "offline_access", "read"])
        );
    }
    let client = public_client(&auth).await;
    for (resource, asked, granted) in [
        (OTHER_RESOURCE, "", "files mcp offline_access read"),
        (OTHER_RESOURCE, "mcp", "files mcp read"),
        (
            OTHER_RESOURCE,
            "files mcp offline_access read",
            "files mcp offline_access read",
        ),
        (
            RESOURCE,
            "files mcp offline_access read",
            "mcp offline_access",
        ),
        (RESOURCE, "mcp", "mcp"),
    ] {
        let changes = [("resource", resource), ("scope", asked)];
        let code = code_with(&auth, &client.id, &changes).await;
        let answer = auth.post("/token", &redemption(&client, &code)).await;
        assert_eq!(answer.text("scope"), granted, "{resource} {asked:?}");
        // The registered grant is enough for a refresh token.
        let tokens = Tokens::of(&answer);
        let service = if resource == RESOURCE {
            "mcp-fetch"
        } else {
            "mcp-echo"
        };
        let opened = auth.verification(service).bearer_auth(&tokens.access);
        assert_eq!(crate::answer::answer(opened).await.status, 200);
    }
}

/// A token that is bad and narrow is bad; one that is good and narrow gets 403 with everything it needs, and a
/// new sign-in with these scopes helps.
#[tokio::test]
async fn a_narrow_token_is_told_all_that_it_needs_and_a_new_sign_in_gets_it() {
    let auth = Auth::start_with_file(&[], "").await;
    let client = public_client(&auth).await;
    let first = crate::sign_in::tokens(&auth, &client).await;
    assert_eq!(auth.verify(&first.access).await.status, 200);
    auth.write_file("[services.mcp-fetch]\nscopes = [\"files\"]\n");
    let narrow = crate::reload::until_status(&auth, &first.access, 403).await;
    assert_eq!(narrow.text("error"), "insufficient_scope");
    assert_eq!(
        challenge_of(&narrow),
        "Bearer error=\"insufficient_scope\", resource_metadata=\"http://mcp-fetch.localhost:8080/.well-known/oauth-protected-resource/mcp\", scope=\"files mcp\""
    );
    // Refreshing keeps what was granted, so it does not help; it must not end the session either.
    let answer = auth.refresh(&client, &first.refresh).await;
    let refreshed = Tokens::of(&answer);
    assert_eq!(auth.verify(&refreshed.access).await.status, 403);
    let code = code_with(&auth, &client.id, &[("scope", "files mcp")]).await;
    let second = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    // Bad in two ways: told as bad.
    auth.post(
        "/revoke",
        &[("token", &refreshed.refresh), ("client_id", &client.id)],
    )
    .await;
    let bad = auth.verify(&refreshed.access).await;
    assert_eq!(bad.status, 401);
    assert!(challenge_of(&bad).contains("error=\"invalid_token\""));
}

/// Some clients never refresh, and need tokens that live long.
#[tokio::test]
async fn lifetimes_are_those_of_the_client_then_of_the_service_then_the_general_ones() {
    let auth = Auth::start_with_file(
        &[],
        "[services.mcp-echo]\naccess_token_lifetime = 600\n[client_rules.\"https://no.example/c\"]\naccess_token_lifetime = 86400\n",
    )
    .await;
    let client = public_client(&auth).await;
    let lifetime = async |resource: &str| {
        let code = code_with(&auth, &client.id, &[("resource", resource)]).await;
        let answer = auth.post("/token", &redemption(&client, &code)).await;
        answer.json()["expires_in"].as_i64().unwrap()
    };
    assert_eq!(lifetime(RESOURCE).await, 3600);
    assert_eq!(lifetime(OTHER_RESOURCE).await, 600);
    auth.write_file(&format!(
        "[services.mcp-echo]\naccess_token_lifetime = 600\n[client_rules.\"{}\"]\naccess_token_lifetime = 86400\n",
        client.id
    ));
    crate::reload::until_read(&auth, 1).await;
    assert_eq!(lifetime(OTHER_RESOURCE).await, 86_400);
    assert_eq!(lifetime(RESOURCE).await, 86_400);
}

/// Some clients insist on a sign-in as soon as any metadata answers.
#[tokio::test]
async fn a_public_service_needs_no_token_and_has_nothing_of_oauth_on_its_host() {
    let auth = Auth::start_with_file(&[], "[services.mcp-echo]\npublic = true\n").await;
    let (client, tokens) = signed_in(&auth).await;
    for token in [None, Some(tokens.access.as_str()), Some("x")] {
        let request = auth.verification("mcp-echo");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = answer(request).await;
        assert_eq!(answer.status, 200, "{token:?}");
        let identity = answer
            .headers
            .keys()
            .find(|name| name.as_str().starts_with("x-auth-"));
        assert_eq!(identity, None, "{token:?}");
    }
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
        "/mcp/.well-known/oauth-authorization-server",
        "/authorize",
        "/jwks",
        "/register/x",
    ] {
        for host in [ECHO, "MCP-ECHO.localhost.:80"] {
            let answer = auth.get(host, path).await;
            assert_eq!(answer.refusal(), "404 not_found", "{host}{path}");
        }
        let protected = auth.get(FETCH, path).await;
        assert_ne!(protected.status, 404, "{path}");
    }
    for path in ["/register", "/token", "/revoke", "/introspect"] {
        let answer = answer(auth.request("POST", ECHO, path).json(&json!({}))).await;
        assert_eq!(answer.refusal(), "404 not_found", "{path}");
    }
    // No tokens are issued for it, and the one protected service needs no name.
    let page = ask(&auth, &client.id, &[("resource", OTHER_RESOURCE)]).await;
    assert_eq!(page.parameter("error").as_deref(), Some("invalid_target"));
    let page = ask(&auth, &client.id, &[("resource", "")]).await;
    assert!(page.body.contains("mcp-fetch"), "{page:?}");
    assert_eq!(
        registration(&auth, &json!({"redirect_uris": ["https://a.example/"]}))
            .await
            .status,
        201
    );
}
