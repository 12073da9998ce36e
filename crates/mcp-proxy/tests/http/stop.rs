//! SIGTERM: what is in flight is finished, streams end cleanly, no process is left.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use testkit::wait::PATIENCE;

use crate::bridge::{scripted, stubborn, tool};

#[tokio::test]
async fn everything_ends_and_the_exit_status_is_zero() {
    let mut bridge = scripted(&["--modern"]).ready().await;
    let session = bridge.open("2025-11-25").await;
    let old = bridge.tool(&session, "pid", json!({})).await;
    let new = crate::eras::modern(&bridge, 1, "pid", json!({}))
        .send()
        .await
        .json()
        .await;
    let new = new["result"]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut stream = bridge.call(Method::GET).session(&session).send().await;
    let start = Instant::now();
    bridge.process.signal(Signal::TERM).unwrap();
    let body = stream.text().await;
    assert!(
        body.trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("retry:"),
        "a clean end: {body:?}"
    );
    let status = bridge.process.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    for pid in [old, new] {
        crate::children::gone(&pid).await;
    }
}

#[tokio::test]
async fn calls_in_flight_are_finished_within_the_grace() {
    let mut bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    // The child asks; what the client says comes after SIGTERM.
    let mut call = bridge
        .post(&tool(1, "ask", json!({})))
        .session(&session)
        .send()
        .await;
    call.event().await.unwrap();
    call.event().await.unwrap();
    bridge.process.signal(Signal::TERM).unwrap();
    bridge.logs.wait_for("shutting down").await.unwrap();
    let answer = json!({ "jsonrpc": "2.0", "id": "question", "result": { "roots": [] } });
    let mut refused = bridge
        .post(&tool(2, "echo", json!({})))
        .session(&session)
        .send()
        .await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json().await["id"], 2);
    assert_eq!(bridge.readiness().await, 503);
    assert_eq!(
        bridge.post(&answer).session(&session).send().await.status,
        202
    );
    assert_eq!(call.event().await.unwrap().json()["id"], 1);
    assert_eq!(bridge.process.wait(PATIENCE).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn calls_that_do_not_end_are_cut_after_the_grace_with_an_answer() {
    let mut bridge = scripted(&[]).with("SHUTDOWN_GRACE", "1").start().await;
    let session = bridge.open("2025-11-25").await;
    let held = bridge
        .post(&tool(9, "hold", json!({})))
        .session(&session)
        .send();
    let stop = async {
        bridge.tool(&session, "echo", json!({})).await;
        bridge.process.signal(Signal::TERM).unwrap();
    };
    let (mut held, ()) = tokio::join!(held, stop);
    let body = held.message().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!(9), &json!(-32603))
    );
    assert_eq!(bridge.process.wait(PATIENCE).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn stubborn_children_do_not_outlive_the_bridge() {
    let mut bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    bridge.process.signal(Signal::TERM).unwrap();
    assert_eq!(bridge.process.wait(PATIENCE).await.unwrap().code(), Some(0));
    crate::children::gone(&pid).await;
}

#[tokio::test]
async fn a_second_signal_ends_everything_now() {
    let mut bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let grandchild = bridge.tool(&session, "fork", json!({})).await;
    let start = Instant::now();
    bridge.process.signal(Signal::TERM).unwrap();
    bridge.logs.wait_for("shutting down").await.unwrap();
    bridge.process.signal(Signal::TERM).unwrap();
    bridge.process.wait(PATIENCE).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    for pid in [pid, grandchild] {
        crate::children::gone(&pid).await;
    }
}
