//! Event streams of the older revisions: which message goes where, and resumption.

use reqwest::Method;
use serde_json::{Value, json};

use crate::bridge::{Bridge, Call, scripted, tool};

fn with_token(id: &str, token: Value, steps: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "progress", "arguments": { "steps": steps }, "_meta": { "progressToken": token } } })
}

fn listen<'b>(bridge: &'b Bridge, session: &str) -> Call<'b> {
    bridge.call(Method::GET).session(session)
}

#[tokio::test]
async fn progress_comes_on_the_stream_of_its_call_under_its_own_token() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let ask = |id: &'static str, token: Value| {
        let call = bridge.post(&with_token(id, token, 3)).session(&session);
        async move { call.send().await.events().await }
    };
    // The same token in two calls at once: ours are different inside.
    let answers = tokio::join!(
        ask("a", json!("t")),
        ask("b", json!("t")),
        ask("c", json!(9))
    );
    for (events, id, token) in [
        (answers.0, "a", json!("t")),
        (answers.1, "b", json!("t")),
        (answers.2, "c", json!(9)),
    ] {
        let (priming, rest) = events.split_first().unwrap();
        assert_eq!(priming.data, "", "a priming event comes first");
        assert!(!priming.id.is_empty());
        let (answer, progress) = rest.split_last().unwrap();
        assert_eq!(answer.json()["id"], id);
        let steps: Vec<Value> = progress
            .iter()
            .map(|event| event.json()["params"].clone())
            .collect();
        let wanted: Vec<Value> = (0..3)
            .map(|step| json!({ "progressToken": token, "progress": step }))
            .collect();
        assert_eq!(steps, wanted);
    }
}

#[tokio::test]
async fn the_head_of_a_stream_is_right() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let mut answer = bridge
        .post(&with_token("a", json!(1), 1))
        .session(&session)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let body = answer.text().await;
    assert!(body.contains("retry: "), "{body}");
}

#[tokio::test]
async fn older_clients_get_no_event_without_data() {
    let bridge = scripted(&[]).start().await;
    for version in ["2025-03-26", "2025-06-18"] {
        let session = bridge.open(version).await;
        let events = bridge
            .post(&with_token("a", json!(1), 1))
            .session(&session)
            .send()
            .await
            .events()
            .await;
        assert!(
            events.iter().all(|event| !event.data.is_empty()),
            "{version}: {events:?}"
        );
    }
}

#[tokio::test]
async fn a_question_of_the_child_comes_on_the_stream_of_the_call_and_its_answer_goes_back() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let mut call = bridge
        .post(&tool(1, "ask", json!({})))
        .session(&session)
        .send()
        .await;
    assert_eq!(call.event().await.unwrap().data, "");
    let question = call.event().await.unwrap().json();
    assert_eq!(question["method"], "roots/list");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": ["mine"] } });
    assert_eq!(
        bridge.post(&answer).session(&session).send().await.status,
        202
    );
    let result = call.event().await.unwrap().json();
    assert_eq!(result["id"], 1);
    assert!(result.to_string().contains("mine"), "{result}");
    assert_eq!(call.event().await, None, "the stream ends after the answer");
}

#[tokio::test]
async fn what_belongs_to_no_call_comes_on_the_get_stream_and_waits_for_it() {
    let bridge = scripted(&[]).start().await;
    let (one, two) = (
        bridge.open("2025-11-25").await,
        bridge.open("2025-11-25").await,
    );
    bridge
        .tool(&one, "notify", json!({ "note": "before" }))
        .await;
    let mut stream = listen(&bridge, &one).send().await;
    let mut others = listen(&bridge, &two).send().await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.event().await.unwrap().data, "");
    assert_eq!(
        stream.event().await.unwrap().json()["params"]["note"],
        "before"
    );
    bridge
        .tool(&one, "notify", json!({ "note": "after" }))
        .await;
    assert_eq!(
        stream.event().await.unwrap().json()["params"]["note"],
        "after"
    );
    bridge.tool(&two, "notify", json!({ "note": "two" })).await;
    assert_eq!(others.event().await.unwrap().data, "");
    assert_eq!(
        others.event().await.unwrap().json()["params"]["note"],
        "two",
        "nothing crosses sessions"
    );
}

#[tokio::test]
async fn logs_go_to_the_call_in_flight_else_to_the_get_stream() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let events = bridge
        .post(&tool(1, "log", json!({ "data": "mine" })))
        .session(&session)
        .send()
        .await
        .events()
        .await;
    assert_eq!(events[1].json()["params"]["data"], "mine");
    // A client that takes no stream gets its answer as JSON; the log waits for the GET stream.
    let call = bridge
        .post(&tool(2, "log", json!({ "data": "later" })))
        .session(&session);
    let mut answer = call
        .without("accept")
        .header("accept", "application/json")
        .send()
        .await;
    assert!(!answer.is_stream());
    assert_eq!(answer.json().await["id"], 2);
    let mut stream = listen(&bridge, &session).send().await;
    stream.event().await.unwrap();
    assert_eq!(
        stream.event().await.unwrap().json()["params"]["data"],
        "later"
    );
}

#[tokio::test]
async fn a_broken_stream_is_resumed_where_it_stopped_and_no_other() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let events = bridge
        .post(&with_token("a", json!(1), 5))
        .session(&session)
        .send()
        .await
        .events()
        .await;
    let other = bridge
        .post(&with_token("b", json!(1), 5))
        .session(&session)
        .send()
        .await
        .events()
        .await;
    let mut ids: Vec<&str> = events
        .iter()
        .chain(&other)
        .map(|event| event.id.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(
        ids.len(),
        events.len() + other.len(),
        "event ids are unique in a session"
    );
    for from in 0..events.len() {
        let call = listen(&bridge, &session).header("last-event-id", &events[from].id);
        let replayed: Vec<_> = call
            .send()
            .await
            .events()
            .await
            .into_iter()
            .filter(|event| !event.data.is_empty())
            .collect();
        assert_eq!(replayed, events[from + 1..], "from {from}");
    }
    for wrong in ["999-1", "x", "", "1-999"] {
        let call = listen(&bridge, &session).header("last-event-id", wrong);
        assert_eq!(call.send().await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_disconnected_call_goes_on_and_its_answer_is_replayed() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let mut call = bridge
        .post(&tool(1, "ask", json!({})))
        .session(&session)
        .send()
        .await;
    let priming = call.event().await.unwrap();
    let question = call.event().await.unwrap();
    drop(call);
    let answer =
        json!({ "jsonrpc": "2.0", "id": question.json()["id"], "result": { "roots": ["kept"] } });
    assert_eq!(
        bridge.post(&answer).session(&session).send().await.status,
        202
    );
    // The child was not told to stop.
    let seen = bridge.tool(&session, "notified", json!({})).await;
    assert!(!seen.contains("cancelled"), "{seen}");
    let resumed = listen(&bridge, &session)
        .header("last-event-id", &priming.id)
        .send()
        .await
        .events()
        .await;
    let data: Vec<_> = resumed
        .iter()
        .filter(|event| !event.data.is_empty())
        .collect();
    assert_eq!(data[0].id, question.id);
    assert!(data[1].data.contains("kept"), "{data:?}");
}

#[tokio::test]
async fn the_get_stream_is_resumed_and_a_new_one_replaces_the_old() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let mut first = listen(&bridge, &session).send().await;
    first.event().await.unwrap();
    for note in ["one", "two", "three"] {
        bridge
            .tool(&session, "notify", json!({ "note": note }))
            .await;
    }
    let one = first.event().await.unwrap();
    let mut second = listen(&bridge, &session)
        .header("last-event-id", &one.id)
        .send()
        .await;
    second.event().await.unwrap();
    for note in ["two", "three"] {
        assert_eq!(second.event().await.unwrap().json()["params"]["note"], note);
    }
    assert_eq!(
        first.events().await.len(),
        2,
        "what was sent before, then the end"
    );
    let mut third = listen(&bridge, &session).send().await;
    third.event().await.unwrap();
    bridge
        .tool(&session, "notify", json!({ "note": "four" }))
        .await;
    assert_eq!(
        third.event().await.unwrap().json()["params"]["note"],
        "four",
        "what was delivered does not come again"
    );
}

#[tokio::test]
async fn replay_is_bounded() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let mut call = bridge
        .post(&tool(1, "flood", json!({ "messages": 1000 })))
        .session(&session)
        .send()
        .await;
    let priming = call.event().await.unwrap();
    assert_eq!(call.events().await.len(), 1001);
    let resumed = listen(&bridge, &session)
        .header("last-event-id", &priming.id)
        .send()
        .await
        .text()
        .await;
    assert!(
        resumed.len() < 300 * 1024,
        "{} bytes were remembered",
        resumed.len()
    );
    assert!(
        resumed.contains("after the flood"),
        "the last ones are there"
    );
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_in_the_child_under_its_own_id() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let held = bridge
        .post(&tool("mine", "hold", json!({})))
        .session(&session)
        .send();
    let cancel = async {
        bridge.tool(&session, "echo", json!({})).await;
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "mine", "reason": "r" } });
        assert_eq!(
            bridge.post(&note).session(&session).send().await.status,
            202
        );
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "unknown" } });
        assert_eq!(
            bridge.post(&note).session(&session).send().await.status,
            202
        );
        bridge.tool(&session, "notified", json!({})).await
    };
    let (mut held, seen) = tokio::join!(held, cancel);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let cancelled: Vec<&Value> = seen
        .as_array()
        .unwrap()
        .iter()
        .filter(|note| note["method"] == "notifications/cancelled")
        .collect();
    assert_eq!(cancelled.len(), 1, "{seen}");
    assert!(cancelled[0]["params"]["requestId"].is_u64());
    assert_eq!(cancelled[0]["params"]["reason"], "r");
    // The child is not to answer a cancelled call; whoever waits is let go, and its place is free.
    assert_eq!(held.status, 202);
    assert_eq!(held.text().await, "");
}

#[tokio::test]
async fn a_cancelled_call_frees_its_place_and_ends_its_stream() {
    let bridge = scripted(&[]).with("MAX_IN_FLIGHT", "2").start().await;
    let session = bridge.open("2025-11-25").await;
    for _ in 0..5 {
        let mut call = bridge
            .post(&tool("asks", "ask", json!({})))
            .session(&session)
            .send()
            .await;
        call.event().await.unwrap();
        call.event().await.unwrap();
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "asks" } });
        assert_eq!(
            bridge.post(&note).session(&session).send().await.status,
            202
        );
        assert_eq!(
            call.event().await,
            None,
            "the stream ends without an answer"
        );
    }
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn a_long_wait_becomes_a_stream_that_is_kept_alive() {
    let bridge = scripted(&[])
        .with_file("[proxy.limits]\nstream_after = 0\nkeep_alive = 1\n")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let mut held = bridge
        .post(&tool(1, "hold", json!({})))
        .session(&session)
        .send()
        .await;
    assert!(held.is_stream());
    assert_eq!(held.event().await.unwrap().data, "", "it can be resumed");
    assert_eq!(held.line().await, ":");
    bridge.tool(&session, "release", json!({})).await;
    assert_eq!(held.event().await.unwrap().json()["id"], 1);
}
