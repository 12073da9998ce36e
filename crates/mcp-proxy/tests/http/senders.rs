//! Who may send identity headers: `IDENTITY_FROM`. Every address of 127.0.0.0/8 is this machine's.

use reqwest::Method;
use serde_json::json;
use testkit::wait::PATIENCE;

use crate::bridge::{Bridge, Setup, initialize, scripted, tool};
use crate::people::ANNA;
use crate::replicas::two;

/// What the log says of an address that is refused.
const TOLD: &str = "none of those that may send identity headers";

fn guarded(from: &str) -> Setup {
    scripted(&[])
        .with("REQUIRE_IDENTITY", "true")
        .with("IDENTITY_FROM", from)
}

/// The status of a request that is all right but perhaps for its address.
async fn status(bridge: &mut Bridge, from: &str) -> u16 {
    bridge.called_from(from);
    let call = bridge.post(&initialize("2025-11-25")).headers(&ANNA);
    call.send().await.status.as_u16()
}

#[tokio::test]
async fn who_is_not_named_is_refused_whatever_they_ask_for() {
    let mut bridge = guarded("127.0.0.2").ready().await;
    bridge.called_from("127.0.0.2");
    let session = bridge.open_as("2025-11-25", &ANNA).await;
    bridge.called_from("127.0.0.3");
    for method in [
        Method::POST,
        Method::GET,
        Method::DELETE,
        Method::PUT,
        Method::OPTIONS,
    ] {
        for path in ["/mcp", "/mcp/", "/replica", "/elsewhere"] {
            for more in [
                ("x-forwarded-for", "127.0.0.2"),
                ("x-real-ip", "127.0.0.2"),
                ("x-handed-over-by", "AAAAAAAAAAAAAAAAAAAAAA"),
                ("host", "evil.example.com"),
                ("x-auth-subject", "twice"),
            ] {
                let call = bridge.call(method.clone()).path(path).session(&session);
                let call = call.headers(&ANNA).header(more.0, more.1);
                let answer = call.header("x-request-id", "theirs").send().await;
                assert_eq!(answer.status, 403, "{method} {path} {more:?}");
                let id = answer.header("x-request-id").unwrap();
                assert_ne!(id, "theirs", "nothing of the request is read");
            }
        }
    }
    let mut refused = bridge.post_text("{").headers(&ANNA).send().await;
    assert_eq!(refused.status, 403);
    let body = refused.json().await;
    assert_eq!(
        body["error"]["message"],
        "forbidden: this service answers only to its gateway"
    );
    // Another address is told of, too; each of them once.
    assert_eq!(status(&mut bridge, "127.0.0.4").await, 403);
    bridge.logs.wait_for(r#""peer":"127.0.0.4""#).await.unwrap();
    let text = bridge.logs.text();
    let told: Vec<&str> = text.lines().filter(|line| line.contains(TOLD)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(r#""peer":"127.0.0.3""#), "{told:?}");
    assert!(told[0].contains("IDENTITY_FROM"), "{told:?}");
    // The session is as it was, and what is private is not asked who it is.
    bridge.called_from("127.0.0.2");
    let echo = bridge.post(&tool(1, "echo", json!({}))).session(&session);
    assert_eq!(echo.headers(&ANNA).send().await.status, 200);
    bridge.called_from("127.0.0.3");
    assert_eq!(bridge.readiness().await, 200);
}

#[tokio::test]
async fn names_addresses_and_networks_are_believed() {
    let mut bridge = guarded("localhost,127.0.0.8/29,10.0.0.0/8").start().await;
    for (from, expected) in [
        ("127.0.0.1", 200),
        ("127.0.0.2", 403),
        ("127.0.0.7", 403),
        ("127.0.0.8", 200),
        ("127.0.0.15", 200),
        ("127.0.0.16", 403),
    ] {
        assert_eq!(status(&mut bridge, from).await, expected, "{from}");
    }
    // Who is believed still has to say who calls.
    bridge.called_from("127.0.0.1");
    let nobody = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn a_name_that_stands_for_nobody_lets_nobody_in() {
    let mut bridge = guarded("traefik.invalid").ready().await;
    assert_eq!(status(&mut bridge, "127.0.0.1").await, 403);
    bridge.logs.wait_for("cannot be resolved").await.unwrap();
    bridge.logs.wait_for(TOLD).await.unwrap();
    // Others count all the same.
    let mut bridge = guarded("traefik.invalid,localhost").ready().await;
    assert_eq!(status(&mut bridge, "127.0.0.1").await, 200);
    assert_eq!(status(&mut bridge, "127.0.0.2").await, 403);
}

#[tokio::test]
async fn a_wrong_entry_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (command, _) = guarded("traefik:80").command(&directory);
    let logs = testkit::process::Logs::default();
    let mut process = command.start(&logs).unwrap();
    assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(1));
    logs.wait_for("IDENTITY_FROM").await.unwrap();
    logs.wait_for("a name has no port").await.unwrap();
}

#[tokio::test]
async fn replicas_hand_over_and_nobody_else_does_in_their_name() {
    // The replicas are at 127.0.0.1, the gateway is not.
    let (mut a, mut b) = two(|| guarded("127.0.0.2")).await;
    a.called_from("127.0.0.2");
    b.called_from("127.0.0.2");
    let session = a.open_as("2025-11-25", &ANNA).await;
    let echo = async |bridge: &Bridge| {
        let call = bridge.post(&tool(1, "echo", json!({})));
        call.session(&session).headers(&ANNA).send().await
    };
    assert_eq!(echo(&b).await.status, 200, "b hands it to a");
    let mut named = b.call(Method::GET).path("/replica").send().await;
    let name = named.text().await;
    let by = async |bridge: &Bridge, name: &str| {
        let call = bridge.post(&tool(1, "echo", json!({}))).session(&session);
        call.headers(&ANNA)
            .header("x-handed-over-by", name)
            .send()
            .await
    };
    // Neither the name at another address, nor the address without the name.
    a.called_from("127.0.0.3");
    assert_eq!(by(&a, &name).await.status, 403);
    let asked = a.call(Method::GET).path("/replica").send().await;
    assert_eq!(asked.status, 403);
    a.called_from("127.0.0.1");
    assert_eq!(echo(&a).await.status, 403);
    assert_eq!(by(&a, "AAAAAAAAAAAAAAAAAAAAAA").await.status, 403);
    assert_eq!(by(&a, &name).await.status, 200);
}
