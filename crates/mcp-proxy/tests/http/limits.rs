//! Bounds: what is over them is refused at once, and what is left idle goes.

use reqwest::Method;
use serde_json::json;
use testkit::wait::{self, PATIENCE};

use crate::bridge::{initialize, scripted, tool};
use crate::people::{ANNA, BEN};

#[tokio::test]
async fn sessions_are_bounded_in_all_and_freed_by_delete() {
    let bridge = scripted(&[]).with("MAX_SESSIONS", "2").ready().await;
    let first = bridge.open("2025-11-25").await;
    let _second = bridge.open("2025-11-25").await;
    let mut full = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(full.status, 503);
    assert!(full.header("retry-after").is_some());
    let body = full.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!("init"), &json!(-32603))
    );
    bridge.call(Method::DELETE).session(&first).send().await;
    wait::until("room", PATIENCE, || async {
        (bridge.post(&initialize("2025-11-25")).send().await.status == 200).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sessions_are_bounded_per_person() {
    let setup = scripted(&[])
        .with("REQUIRE_IDENTITY", "true")
        .with("MAX_SESSIONS_PER_SUBJECT", "1");
    let bridge = setup.ready().await;
    bridge.open_as("2025-11-25", &ANNA).await;
    let full = bridge
        .post(&initialize("2025-11-25"))
        .headers(&ANNA)
        .send()
        .await;
    assert_eq!(full.status, 429);
    assert!(full.header("retry-after").is_some());
    bridge.open_as("2025-11-25", &BEN).await;
}

#[tokio::test]
async fn calls_in_flight_are_bounded() {
    let bridge = scripted(&[]).with("MAX_IN_FLIGHT", "2").start().await;
    let session = bridge.open("2025-11-25").await;
    let hold = |id: usize| {
        Box::pin(
            bridge
                .post(&tool(id, "hold", json!({})))
                .session(&session)
                .send(),
        )
    };
    // Nothing releases them, so what is answered first is the refusal of the one too many.
    let (third, _, _) = futures_util::future::select_all((0..3).map(hold)).await;
    assert_eq!(third.status, 429);
    assert!(third.header("retry-after").is_some());
}

#[tokio::test]
async fn what_waits_for_a_child_that_does_not_read_is_bounded() {
    let setup = scripted(&[]).with("MAX_MESSAGE_BYTES", "65536");
    let bridge = setup.start().await;
    let session = bridge.open("2025-11-25").await;
    let hang = |id: usize| {
        let body = tool(id, "hang", json!({ "padding": "x".repeat(60_000) }));
        Box::pin(bridge.post(&body).session(&session).send())
    };
    // The first one keeps the child from reading the others.
    let calls = (0..10).map(hang);
    let (mut refused, _, _) = futures_util::future::select_all(calls).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let body = refused.json().await;
    assert_eq!(body["error"]["code"], -32603);
    assert!(body["id"].is_u64(), "{body}");
}

#[tokio::test]
async fn an_idle_session_ends_although_a_get_stream_is_open() {
    let bridge = scripted(&[]).with("SESSION_TIMEOUT", "1").start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let mut stream = bridge.call(Method::GET).session(&session).send().await;
    assert_eq!(stream.status, 200);
    stream.events().await;
    crate::children::gone(&pid).await;
    assert_eq!(
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send()
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_session_ends_after_its_whole_life_however_much_it_is_used() {
    let bridge = scripted(&[]).with("SESSION_LIFE", "1").start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    wait::until("the end of the session", PATIENCE, || async {
        let call = bridge.post(&tool(1, "echo", json!({}))).session(&session);
        (call.send().await.status == 404).then_some(())
    })
    .await
    .unwrap();
    crate::children::gone(&pid).await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_cancelled() {
    let bridge = scripted(&[]).with("REQUEST_TIMEOUT", "1").start().await;
    let session = bridge.open("2025-11-25").await;
    let body = bridge
        .post(&tool(4, "hold", json!({})))
        .session(&session)
        .send()
        .await
        .message()
        .await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!(4), &json!(-32001))
    );
    // The client may hear of it a moment before the child does.
    wait::until("the cancellation", PATIENCE, || async {
        let seen = bridge.tool(&session, "notified", json!({})).await;
        seen.contains("notifications/cancelled").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_loses_its_stream_and_stalls_nobody() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    // 60 MB of notifications for a reader that takes none of them.
    let stuck = bridge
        .post(&tool(1, "flood", json!({ "messages": 60_000 })))
        .session(&session)
        .send()
        .await;
    // The child is not stalled: it gets to the next call. (One that takes streams would get the logs.)
    let next = bridge.post(&tool(2, "echo", json!({}))).session(&session);
    let mut next = next
        .without("accept")
        .header("accept", "application/json")
        .send()
        .await;
    assert_eq!(next.json().await["id"], 2);
    let memory = std::fs::read_to_string(format!("/proc/{}/statm", bridge.process.id())).unwrap();
    let memory = memory.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096;
    assert!(memory < 64 << 20, "{memory} bytes");
    drop(stuck);
}

#[tokio::test]
async fn a_person_with_too_many_sessions_loses_the_one_left_alone_longest() {
    let bridge = scripted(&[])
        .with("REQUIRE_IDENTITY", "true")
        .with("MAX_SESSIONS_PER_SUBJECT", "2")
        .with_file("[proxy.limits]\nsession_left_alone = 0\n")
        .ready()
        .await;
    let bens = bridge.open_as("2025-11-25", &BEN).await;
    let first = bridge.open_as("2025-11-25", &ANNA).await;
    let second = bridge.open_as("2025-11-25", &ANNA).await;
    let third = bridge.open_as("2025-11-25", &ANNA).await;
    for (session, who, status) in [
        (&first, &ANNA, 404),
        (&second, &ANNA, 200),
        (&third, &ANNA, 200),
        (&bens, &BEN, 200),
    ] {
        let answer = bridge
            .post(&tool(1, "echo", json!({})))
            .session(session)
            .headers(who)
            .send()
            .await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_listening_stream_ends_cleanly_after_its_life_and_may_come_back() {
    let bridge = scripted(&[])
        .with_file("[proxy.limits]\nstream_life = 0\n")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let mut stream = bridge.call(Method::GET).session(&session).send().await;
    assert_eq!(stream.status, 200);
    stream.events().await;
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn what_happens_is_counted() {
    let bridge = scripted(&[]).ready().await;
    let session = bridge.open("2025-11-25").await;
    bridge.tool(&session, "echo", json!({})).await;
    bridge.post_text("not json").session(&session).send().await;
    let metrics = bridge.private("/metrics").await;
    for line in [
        "mcp_post_answers_total{status=\"200\"} 2",
        "mcp_post_answers_total{status=\"202\"} 1",
        "mcp_post_answers_total{status=\"400\"} 1",
        "mcp_sessions 1",
        "mcp_post_duration_seconds_count 4",
    ] {
        assert!(
            metrics.lines().any(|shown| shown == line),
            "{line} in {metrics}"
        );
    }
}
