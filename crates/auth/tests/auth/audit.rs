//! One audit line per event, with what it is about and without what would be of use to a thief.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::answer::answer;
use crate::service::{AUTH, Auth, PASSWORD, USERNAME};
use crate::sign_in::{
    REDIRECT, Tokens, approve, ask, consent_page, decide, log_in, public_client, redemption, tokens,
};

/// Every audit line so far.
pub(crate) fn audit_lines(auth: &Auth) -> Vec<Value> {
    let text = auth.logs.text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter_map(|(_, line)| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "audit")
        .collect()
}

/// As the audit log names a token.
pub(crate) fn hash(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    format!(
        "{:02x}{:02x}{:02x}{:02x}",
        hash[0], hash[1], hash[2], hash[3]
    )
}

/// What happened in the story below: event, how often, and the fields that its lines must have.
const EVENTS: &[(&str, usize, &[&str])] = &[
    ("client_registered", 1, &["client", "name"]),
    ("client_changed", 1, &["client"]),
    ("client_deleted", 1, &["client"]),
    ("consent_denied", 1, &["client", "service"]),
    ("consent_given", 3, &["client", "service"]),
    ("login_refused", 1, &["address"]),
    ("login_ok", 3, &["subject", "login", "client", "service"]),
    (
        "code_issued",
        3,
        &["subject", "client", "service", "session", "token"],
    ),
    (
        "token_issued",
        3,
        &["subject", "client", "service", "session", "token"],
    ),
    (
        "token_refreshed",
        1,
        &["subject", "client", "session", "token"],
    ),
    (
        "token_replayed",
        1,
        &["subject", "client", "session", "token"],
    ),
    ("code_reused", 1, &["subject", "client", "session", "token"]),
    (
        "token_revoked",
        1,
        &["subject", "client", "session", "token"],
    ),
    (
        "session_revoked",
        1,
        &["subject", "client", "session", "token"],
    ),
    ("verify_denied", 1, &["service", "token", "reason"]),
    ("limit_hit", 1, &["limit", "address"]),
];

#[tokio::test]
async fn every_event_is_told_once_with_what_it_is_about() {
    let auth = Auth::start_with(&[("REFRESH_GRACE", "0"), ("LIMIT_REVOKE", "2")]).await;
    let client = public_client(&auth).await;
    decide(
        &auth,
        &consent_page(&ask(&auth, &client.id, &[]).await),
        "deny",
    )
    .await;
    let held = approve(&auth, &client.id, &[]).await;
    assert_eq!(log_in(&auth, &held, USERNAME, "wrong").await.status, 401);
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    let code = granted.parameter("code").unwrap();
    let first = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    assert_eq!(auth.verify(&first.access).await.status, 200);
    let second = auth.refresh(&client, &first.refresh).await;
    assert_eq!(second.status, 200);
    let replayed = auth.refresh(&client, &first.refresh).await;
    assert_eq!(replayed.status, 400);
    assert_eq!(auth.verify(&first.access).await.status, 401);
    // Another session, whose code comes twice.
    let code = crate::sign_in::code(&auth, &client.id).await;
    Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    let mut again = redemption(&client, &code);
    again.retain(|(name, _)| *name != "code_verifier");
    again.push((
        "code_verifier",
        "wrong-verifier-wrong-verifier-wrong-verifier-",
    ));
    assert_eq!(auth.post("/token", &again).await.status, 400);
    // A third one, which its client ends in two steps, and then asks too often.
    let third = tokens(&auth, &client).await;
    for token in [&third.access, &third.refresh, &third.refresh] {
        auth.post("/revoke", &[("client_id", &client.id), ("token", token)])
            .await;
    }
    let path = format!("/register/{}", client.id);
    let metadata = json!({"client_id": client.id, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let change = auth
        .request("PUT", AUTH, &path)
        .bearer_auth(&client.registration_token);
    let changed = answer(change.json(&metadata)).await;
    let token = changed.text("registration_access_token");
    let deleted = answer(auth.request("DELETE", AUTH, &path).bearer_auth(&token)).await;
    assert_eq!(deleted.status, 204);
    auth.logs.wait_for("client_deleted").await.unwrap();

    let lines = audit_lines(&auth);
    for (event, count, fields) in EVENTS {
        let told: Vec<&Value> = lines
            .iter()
            .filter(|line| line["event"] == *event)
            .collect();
        assert_eq!(told.len(), *count, "{event}: {told:?}");
        for line in told {
            for field in *fields {
                let value = line[field].as_str().unwrap_or_default();
                assert!(!value.is_empty(), "{field} of {line}");
            }
            let request = line["span"]["request_id"]
                .as_str()
                .or(line["request_id"].as_str());
            assert!(request.is_some_and(|id| !id.is_empty()), "{line}");
            if fields.contains(&"client") {
                assert_eq!(line["client"], client.id, "{line}");
            }
        }
    }
    let known: usize = EVENTS.iter().map(|(_, count, _)| count).sum();
    assert_eq!(lines.len(), known, "there is nothing else: {lines:?}");
    let token_of = |event: &str| {
        let line = lines.iter().find(|line| line["event"] == event).unwrap();
        line["token"].as_str().unwrap().to_owned()
    };
    assert_eq!(token_of("token_issued"), hash(&first.access));
    assert_eq!(
        token_of("token_refreshed"),
        hash(&second.text("access_token"))
    );
    assert_eq!(token_of("token_replayed"), hash(&first.refresh));
    assert_eq!(token_of("code_reused"), hash(&code));
    assert_eq!(token_of("token_revoked"), hash(&third.access));
    assert_eq!(token_of("session_revoked"), hash(&third.refresh));
    assert_eq!(token_of("verify_denied"), hash(&first.access));
}

#[tokio::test]
async fn denials_of_verify_are_told_a_few_times_a_minute() {
    let auth = Auth::start().await;
    for number in 0..50 {
        assert_eq!(auth.verify(&format!("a.b.{number}")).await.status, 401);
    }
    // What was written before this line is there with it.
    public_client(&auth).await;
    auth.logs.wait_for("client_registered").await.unwrap();
    let told = audit_lines(&auth);
    assert_eq!(
        told.iter()
            .filter(|line| line["event"] == "verify_denied")
            .count(),
        10
    );
}

#[tokio::test]
async fn a_request_has_one_name_in_its_answer_and_in_both_forms_of_the_log() {
    for format in ["json", "pretty"] {
        let auth = Auth::start_with(&[("LOG_FORMAT", format)]).await;
        let request = auth
            .request("GET", AUTH, "/health")
            .header("X-Request-ID", "a-request-of-the-proxy");
        let answered = answer(request).await;
        assert_eq!(answered.header("x-request-id"), "a-request-of-the-proxy");
        auth.logs.wait_for("a-request-of-the-proxy").await.unwrap();
        let unnamed = auth.get(AUTH, "/health").await;
        let id = unnamed.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{id}");
        auth.logs.wait_for(&id).await.unwrap();
    }
}
