//! `/metrics`: what is counted, with labels that do not grow with what clients send.

use std::collections::BTreeSet;

use testkit::wait::{PATIENCE, until};

use crate::answer::answer;
use crate::service::{Auth, PASSWORD, USERNAME};
use crate::sign_in::{approve, log_in, public_client, registration, signed_in};

async fn scrape(auth: &Auth) -> String {
    let http = testkit::network::http_client().unwrap();
    answer(http.get(format!("http://{}/metrics", auth.private)))
        .await
        .body
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.trim().parse().unwrap()
}

/// All names with their labels.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(sample, _)| sample.to_owned())
        .collect()
}

async fn story(auth: &Auth) {
    let (client, tokens) = signed_in(auth).await;
    for _ in 0..3 {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    assert_eq!(auth.verify(&format!("{}.b.c", client.id)).await.status, 401);
    assert_eq!(answer(auth.verification("mcp-fetch")).await.status, 401);
    assert_eq!(answer(auth.verification("mcp-none")).await.status, 403);
    assert_eq!(auth.refresh(&client, &tokens.refresh).await.status, 200);
    let unknown = [
        ("grant_type", client.id.as_str()),
        ("client_id", client.id.as_str()),
    ];
    assert_eq!(auth.post("/token", &unknown).await.status, 400);
    assert_eq!(registration(auth, &serde_json::json!({})).await.status, 400);
    let held = approve(auth, &public_client(auth).await.id, &[]).await;
    assert_eq!(log_in(auth, &held, USERNAME, "wrong").await.status, 401);
    assert_eq!(log_in(auth, &held, USERNAME, PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_story_is_counted_and_labels_do_not_grow_with_clients() {
    let auth = Auth::start_with(&[("LIMIT_PASSWORDS", "0")]).await;
    story(&auth).await;
    let text = until("the gauges", PATIENCE, async || {
        let text = scrape(&auth).await;
        (value(&text, "auth_decisions_remembered") > 0.0).then_some(text)
    });
    let text = text.await.unwrap();
    for (sample, count) in [
        ("auth_verify_total{outcome=\"allowed\"}", 1.0),
        ("auth_verify_total{outcome=\"remembered\"}", 2.0),
        ("auth_verify_total{outcome=\"invalid_token\"}", 1.0),
        ("auth_verify_total{outcome=\"no_token\"}", 1.0),
        ("auth_verify_total{outcome=\"unknown_service\"}", 1.0),
        (
            "auth_token_requests_total{grant=\"authorization_code\",outcome=\"granted\"}",
            1.0,
        ),
        (
            "auth_token_requests_total{grant=\"refresh_token\",outcome=\"granted\"}",
            1.0,
        ),
        (
            "auth_token_requests_total{grant=\"other\",outcome=\"refused\"}",
            1.0,
        ),
        ("auth_registrations_total{outcome=\"granted\"}", 2.0),
        ("auth_registrations_total{outcome=\"refused\"}", 1.0),
        ("auth_sign_ins_total{outcome=\"granted\"}", 2.0),
        ("auth_sign_ins_total{outcome=\"wrong_password\"}", 1.0),
        ("auth_store_events_arrive", 1.0),
        ("auth_signing_keys", 1.0),
    ] {
        assert!(
            (value(&text, sample) - count).abs() < 0.1,
            "{sample} {count}\n{text}"
        );
    }
    assert!(value(&text, "auth_store_seconds_count{operation=\"swap\"}") > 1.0);
    let age = value(&text, "auth_signing_key_age_seconds");
    assert!((0.0..600.0).contains(&age), "{age}");
    let before = samples(&text);
    for _ in 0..5 {
        story(&auth).await;
    }
    assert_eq!(
        samples(&scrape(&auth).await),
        before,
        "the same names and labels"
    );
}

#[tokio::test]
async fn what_a_limit_refuses_is_counted() {
    let auth = Auth::start_with(&[("LIMIT_REGISTER", "1")]).await;
    let metadata = serde_json::json!({"redirect_uris": ["http://localhost/cb"]});
    for status in [201, 429, 429] {
        assert_eq!(registration(&auth, &metadata).await.status, status);
    }
    let text = scrape(&auth).await;
    assert!((value(&text, "auth_limited_total{limit=\"register\"}") - 2.0).abs() < 0.1);
    assert!((value(&text, "auth_registrations_total{outcome=\"limited\"}") - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn errors_of_the_store_are_counted() {
    let mut redis = testkit::redis::RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    redis.kill().await.unwrap();
    let metadata = serde_json::json!({"redirect_uris": ["http://localhost/cb"]});
    assert_eq!(registration(&auth, &metadata).await.status, 503);
    let text = until("the gauge", PATIENCE, async || {
        let text = scrape(&auth).await;
        (value(&text, "auth_store_events_arrive") < 0.5).then_some(text)
    });
    let text = text.await.unwrap();
    assert!(
        text.contains("auth_store_errors_total{operation="),
        "{text}"
    );
    assert!(
        text.contains("auth_registrations_total{outcome=\"failed\"} 1"),
        "{text}"
    );
}
