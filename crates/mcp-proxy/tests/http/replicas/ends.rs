//! Replicas that die, come later, and stop.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use testkit::network::free_port;
use testkit::wait::{self, PATIENCE};

use super::{handed_over, is_unknown, places, told_of, two};
use crate::bridge::{scripted, tool};

#[tokio::test]
async fn a_stream_whose_replica_dies_is_cut_and_its_session_gone() {
    let (mut a, b) = two(|| scripted(&[])).await;
    let session = a.open("2025-11-25").await;
    let mut asked = b
        .post(&tool(1, "ask", json!({})))
        .session(&session)
        .send()
        .await;
    told_of(&mut asked, "roots/list").await;
    a.process.kill().await.unwrap();
    assert!(asked.is_cut().await, "nobody must take it for the whole");
    for method in [Method::GET, Method::DELETE] {
        is_unknown(b.call(method).session(&session).send().await).await;
    }
    let late = b.post(&tool(2, "echo", json!({}))).session(&session).send();
    is_unknown(late.await).await;
    assert_eq!(handed_over(&b, "broken").await, 1);
    // What began there is over; a new one is not.
    let new = b.open("2025-11-25").await;
    b.tool(&new, "echo", json!({})).await;
}

#[tokio::test]
async fn a_replica_that_came_later_is_found() {
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let list = places(&ports);
    let first = scripted(&[])
        .on(ports[0])
        .with("REPLICAS", &list)
        .ready()
        .await;
    let second = scripted(&[])
        .on(ports[1])
        .with("REPLICAS", &list)
        .ready()
        .await;
    let session = second.open("2025-11-25").await;
    first.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn a_replica_that_stops_gives_its_clients_away() {
    let recipe = || scripted(&[]).with("SHUTDOWN_DRAIN", "2");
    let (mut a, b) = two(recipe).await;
    let hers = a.open("2025-11-25").await;
    let through = b.open("2025-11-25").await;
    let mut stream = a.call(Method::GET).session(&through).send().await;
    let mut asked = a
        .post(&tool(1, "ask", json!({})))
        .session(&through)
        .send()
        .await;
    stream.event().await.unwrap();
    told_of(&mut asked, "roots/list").await;
    a.process.signal(Signal::TERM).unwrap();
    wait::until("the farewell", PATIENCE, || async {
        let well = a.call(Method::GET).path("/replica").send().await;
        (well.status == 503).then_some(())
    })
    .await
    .unwrap();
    // Until everybody has seen it, it answers as before, and wants no connection kept.
    let answer = a
        .post(&tool(2, "echo", json!({})))
        .session(&hers)
        .send()
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, Some("close"))
    );
    b.tool(&hers, "echo", json!({})).await;
    // What only listened here ends well and goes on elsewhere; a call of another replica is waited for.
    let rest = stream.text().await;
    assert!(rest.trim_end().ends_with("retry: 1000"), "{rest:?}");
    let roots = json!({ "jsonrpc": "2.0", "id": "question", "result": { "roots": [] } });
    assert_eq!(b.post(&roots).session(&through).send().await.status, 202);
    assert_eq!(asked.message().await["id"], 1);
    assert_eq!(a.process.wait(PATIENCE).await.unwrap().code(), Some(0));
    let late = b.post(&tool(3, "echo", json!({}))).session(&hers).send();
    is_unknown(late.await).await;
    b.tool(&through, "echo", json!({})).await;
}

#[tokio::test]
async fn no_request_meets_the_end_of_its_replica() {
    let (mut a, b) = two(|| scripted(&[])).await;
    let session = a.open("2025-11-25").await;
    let over = AtomicBool::new(false);
    let caller = async || {
        while !over.load(Ordering::Relaxed) {
            let mut answer = b
                .post(&tool(1, "echo", json!({})))
                .session(&session)
                .send()
                .await;
            let body = answer.text().await;
            assert!([200, 404].contains(&answer.status.as_u16()), "{body}");
        }
    };
    let stop = async {
        b.tool(&session, "echo", json!({})).await;
        a.process.signal(Signal::TERM).unwrap();
        assert_eq!(a.process.wait(PATIENCE).await.unwrap().code(), Some(0));
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(caller(), caller(), caller(), caller(), stop);
    let late = b.post(&tool(2, "echo", json!({}))).session(&session).send();
    is_unknown(late.await).await;
    assert_eq!(handed_over(&b, "broken").await, 0);
}
