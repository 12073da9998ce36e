//! Traces that are sent to a collector, and what happens when it is not there.

use std::collections::HashMap;

use testkit::wait::{PATIENCE, until};
use tokio::net::TcpListener;

use crate::answer::answer;
use crate::collector::{Collector, Span};
use crate::configuration::refused;
use crate::overload::memory;
use crate::service::{AUTH, Auth, PASSWORD, USERNAME};
use crate::sign_in::signed_in;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A service that sends each span soon.
async fn traced(endpoint: &str, changes: &[(&str, &str)]) -> Auth {
    let mut settings = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    settings.extend(changes);
    Auth::start_with(&settings).await
}

/// A check that the proxy in front made a part of its own trace (W3C Trace Context).
async fn verify_in_trace(auth: &Auth, token: &str) -> u16 {
    let request = auth.verification("mcp-fetch").bearer_auth(token);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    answer(request.header("traceparent", parent)).await.status
}

fn attributes(span: &Span) -> HashMap<&str, &str> {
    let pairs = span.attributes.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn a_check_is_a_span_in_the_trace_of_the_proxy_and_asks_the_store_below_it() {
    let collector = Collector::start();
    let auth = traced(
        &collector.endpoint(),
        &[("OTEL_SERVICE_NAME", "auth-of-the-test")],
    )
    .await;
    let (_, tokens) = signed_in(&auth).await;
    assert_eq!(verify_in_trace(&auth, &tokens.access).await, 200);
    let check = collector.span(TRACE, "GET /verify").await;
    assert_eq!(
        (check.parent.as_str(), check.kind, check.status),
        (PARENT, 2, 0)
    );
    assert_eq!(check.service, "auth-of-the-test");
    let said = attributes(&check);
    assert_eq!(said.get("http.request.method"), Some(&"GET"));
    assert_eq!(said.get("http.route"), Some(&"/verify"));
    assert_eq!(said.get("http.response.status_code"), Some(&"200"));
    let read = collector.span(TRACE, "read").await;
    assert_eq!((read.parent, read.kind), (check.id, 3));
}

#[tokio::test]
async fn a_span_says_nothing_of_people_clients_and_secrets() {
    let collector = Collector::start();
    let auth = traced(&collector.endpoint(), &[("LOG_LEVEL", "trace")]).await;
    let (client, tokens) = signed_in(&auth).await;
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    let refreshed = refreshed.text("refresh_token");
    assert_eq!(
        auth.get(AUTH, &format!("/register/{}", client.id))
            .await
            .status,
        401
    );
    assert_eq!(auth.verify("forged.token.of-the-test").await.status, 401);
    assert_eq!(verify_in_trace(&auth, &tokens.access).await, 200);
    collector.span(TRACE, "GET /verify").await;
    let spans = collector.spans();
    for name in [
        "POST /register",
        "GET /authorize",
        "POST /login",
        "POST /token",
        "GET /register/{client_id}",
    ] {
        assert!(
            spans.iter().any(|span| span.name == name),
            "{name} in {spans:?}"
        );
    }
    let known = [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "request_id",
        "method",
        "trace_id",
        "db.operation.name",
        "busy_ns",
        "idle_ns",
    ];
    for span in &spans {
        assert_eq!(
            (span.events, span.service.as_str()),
            (0, "mcp-auth"),
            "{span:?}"
        );
        let unknown = span
            .attributes
            .keys()
            .find(|name| !known.contains(&name.as_str()));
        assert_eq!(unknown, None, "{span:?}");
        let names = span.attributes.values().any(|value| value == USERNAME);
        assert!(!names, "{span:?}");
    }
    let sent = collector.bytes();
    let sent = String::from_utf8_lossy(&sent);
    for secret in [
        &client.id,
        &client.registration_token,
        &tokens.access,
        &tokens.refresh,
        &refreshed,
        &format!("local:{USERNAME}"),
        PASSWORD,
        "of-the-test",
    ] {
        assert!(secret.len() > 2 && !sent.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_log_line_names_its_trace() {
    let collector = Collector::start();
    let auth = traced(&collector.endpoint(), &[]).await;
    let request = auth.request("GET", AUTH, "/jwks");
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(answer(request).await.status, 200);
    collector.span(TRACE, "GET /jwks").await;
    auth.logs
        .wait_for(&format!(r#""trace_id":"{TRACE}""#))
        .await
        .unwrap();
}

/// The collector takes connections and never answers: nobody waits for it, and what it does not take is thrown away.
#[tokio::test]
async fn a_collector_that_hangs_delays_nobody_and_fills_no_memory() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let mut auth = traced(&endpoint, &[("OTEL_BSP_MAX_QUEUE_SIZE", "512")]).await;
    let (_, tokens) = signed_in(&auth).await;
    for _ in 0..1000 {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    let before = memory(&auth).await;
    for _ in 0..3000 {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    // 3000 spans that are kept are more than that.
    let grown = memory(&auth).await.saturating_sub(before);
    assert!(grown < 1024 * 1024, "{grown} bytes");
    assert!(auth.stop().await.success());
}

#[tokio::test]
async fn a_collector_that_is_away_at_the_start_gets_what_comes_later() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap();
    drop(collector);
    let auth = traced(&format!("http://{address}"), &[]).await;
    assert_eq!(auth.get(AUTH, "/health").await.status, 200);
    let collector = until("the port again", PATIENCE, async || {
        Collector::at(address).ok()
    });
    let collector = collector.await.unwrap();
    let request = auth.request("GET", AUTH, "/jwks");
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(answer(request).await.status, 200);
    collector.span(TRACE, "GET /jwks").await;
}

#[test]
fn an_address_that_is_none_is_named() {
    let said = refused(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url")]);
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{said}");
}
