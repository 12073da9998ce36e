//! Audit lines of what operators do, and of the keys: each event is told, with what it is about and by which request.

use serde_json::{Value, json};
use testkit::redis::RedisServer;
use testkit::wait::{PATIENCE, until};

use crate::administration::{self, unsigned};
use crate::answer::{Answer, answer};
use crate::audit::audit_lines;
use crate::reload::until_status;
use crate::service::{Auth, JWT_SECRET};
use crate::service_rules::ada_and_bob;
use crate::sign_in::signed_in;

/// The lines of an event, as soon as there are so many.
async fn told(auth: &Auth, event: &str, count: usize) -> Vec<Value> {
    until(event, PATIENCE, async || {
        let mut lines = audit_lines(auth);
        lines.retain(|line| line["event"] == event);
        (lines.len() >= count).then_some(lines)
    })
    .await
    .unwrap()
}

/// The one line of an event.
async fn told_once(auth: &Auth, event: &str) -> Value {
    let [line] = told(auth, event, 1).await.try_into().unwrap();
    line
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    let value = line[field].as_str();
    value.unwrap_or_else(|| panic!("no {field} in {line}"))
}

/// Asks in the name of the operator, by a request of this name.
async fn ask(auth: &Auth, method: &str, path: &str, body: Option<Value>, name: &str) -> Answer {
    let token = auth::testing::admin_token(JWT_SECRET);
    let mut request = unsigned(auth, method, path)
        .bearer_auth(token)
        .header("X-Request-ID", name);
    if let Some(body) = body {
        request = request.json(&body);
    }
    answer(request).await
}

#[tokio::test]
async fn what_an_operator_does_is_told_with_the_name_of_the_request() {
    let only_ada = "[services.mcp-fetch]\nusers = [\"ada\"]\n";
    let auth = Auth::start_with_file(&[], only_ada).await;
    let (doomed, _) = signed_in(&auth).await;
    let sessions = administration::get(&auth, "/admin/sessions").await.json();
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    let machine = json!({"name": "nightly", "services": ["mcp-fetch"]});
    let client_path = format!("/admin/clients/{}", doomed.id);
    let session_path = format!("/admin/sessions/{session}");
    for (event, method, path, body, about, subject) in [
        (
            "client_created",
            "POST",
            "/admin/clients",
            Some(machine),
            "client",
            "nightly",
        ),
        (
            "client_deleted",
            "DELETE",
            client_path.as_str(),
            None,
            "client",
            doomed.id.as_str(),
        ),
        (
            "session_revoked",
            "DELETE",
            &session_path,
            None,
            "session",
            &session,
        ),
        (
            "person_revoked",
            "POST",
            "/admin/users/local:ada/revoke",
            None,
            "subject",
            "local:ada",
        ),
        (
            "pin_forgotten",
            "DELETE",
            "/admin/users/local:ada/pins",
            None,
            "subject",
            "local:ada",
        ),
    ] {
        let name = format!("request-of-{event}");
        let done = ask(&auth, method, path, body, &name).await;
        assert!((200..300).contains(&done.status), "{event}: {done:?}");
        assert_eq!(done.header("x-request-id"), name);
        let line = told_once(&auth, event).await;
        assert_eq!(text(&line, about), subject, "{line}");
        assert_eq!(text(&line, "by"), "operator", "{line}");
        assert_eq!(text(&line["span"], "request_id"), name, "{line}");
    }
    let purge = ask(&auth, "POST", "/admin/purge", None, "the-purge").await;
    let line = told_once(&auth, "purged").await;
    assert_eq!(line["sessions"], purge.json()["sessions"], "{line}");
    assert_eq!(text(&line["span"], "request_id"), "the-purge");
}

/// As at the public listener: also what is refused has a name, and one of our own if it brought none.
#[tokio::test]
async fn every_answer_of_the_administration_names_its_request() {
    let auth = Auth::start().await;
    for path in ["/admin/keys", "/admin/nothing"] {
        let named = ask(&auth, "GET", path, None, "a-request").await;
        assert_eq!(named.header("x-request-id"), "a-request", "{path}");
        let unnamed = administration::get(&auth, path).await;
        assert_eq!(unnamed.header("x-request-id").len(), 36, "{path}");
        let refused = answer(unsigned(&auth, "GET", path)).await;
        assert_eq!(refused.status, 401);
        let name = refused.header("x-request-id");
        assert_eq!(name.len(), 36, "{path}");
        auth.logs.wait_for(name).await.unwrap();
    }
    let health = answer(unsigned(&auth, "GET", "/health/live")).await;
    assert_eq!(health.header("x-request-id"), "");
}

#[tokio::test]
async fn what_becomes_of_keys_is_told() {
    let auth = Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await;
    let rotated = ask(&auth, "POST", "/admin/keys/rotate", None, "the-rotation").await;
    let kid = rotated.text("kid");
    let line = told_once(&auth, "key_rotation").await;
    assert_eq!(text(&line, "kid"), kid);
    assert_eq!(text(&line, "signs_from"), rotated.text("signs_from"));
    assert_eq!(text(&line["span"], "request_id"), "the-rotation");
    let published = told_once(&auth, "key_published").await;
    assert_eq!(text(&published, "key"), kid);
    assert_eq!(text(&published, "signs_from"), rotated.text("signs_from"));

    let replaced = administration::post(&auth, "/admin/keys/compromised").await;
    let line = told_once(&auth, "keys_compromised").await;
    assert_eq!(text(&line, "kid"), replaced.text("kid"));
    assert_eq!(line["level"], "WARN");
    let published = told(&auth, "key_published", 2).await;
    assert_eq!(text(&published[1], "key"), replaced.text("kid"));
    // The first one, and the one that was to follow it.
    let gone = told(&auth, "key_gone", 2).await;
    assert!(gone.iter().any(|line| line["key"] == kid), "{gone:?}");

    let auth = auth
        .kill_and_start_with(&[
            (
                "GATEWAY_JWT_SECRET",
                "new-secret-0123456789-abcdefghijklmnop",
            ),
            ("GATEWAY_JWT_SECRET_PREVIOUS", JWT_SECRET),
        ])
        .await;
    told_once(&auth, "keys_sealed_anew").await;
    let log = auth.logs.text();
    assert!(!log.contains(JWT_SECRET) && !log.contains("PRIVATE"));
}

#[tokio::test]
async fn keys_that_the_store_has_lost_are_put_back_and_that_is_told() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    let (_, tokens) = signed_in(&auth).await;
    redis
        .command("DEL mcp-auth:keyring:main", ":1")
        .await
        .unwrap();
    // A token of a key that is not known makes the ring be looked at.
    let (_, rest) = tokens.access.split_once('.').unwrap();
    // {"alg":"ES256","typ":"at+jwt","kid":"nobodys-key"}
    let header = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6Im5vYm9keXMta2V5In0";
    let forged = format!("{header}.{rest}");
    assert_eq!(auth.verify(&forged).await.status, 401);
    let line = told_once(&auth, "keys_put_back").await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_refresh_of_somebody_who_is_off_the_list_is_told() {
    let only_bob = "[services.mcp-fetch]\nusers = [\"bob\"]\n";
    let auth = Auth::start_with_file(&[("LOCAL_USERS", &ada_and_bob())], "").await;
    let (client, tokens) = signed_in(&auth).await;
    auth.write_file(only_bob);
    until_status(&auth, &tokens.access, 401).await;
    auth.refresh(&client, &tokens.refresh).await;
    let line = told_once(&auth, "refresh_refused").await;
    assert_eq!(text(&line, "subject"), "local:ada");
    assert_eq!(text(&line, "client"), client.id);
    assert_eq!(text(&line, "why"), "PersonRefused");
}
