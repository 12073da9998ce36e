//! Batches, which 2025-03-26 alone has.

use serde_json::{Value, json};

use crate::bridge::{initialize, scripted, tool};

#[tokio::test]
async fn a_batch_is_answered_as_one_in_2025_03_26_only() {
    let bridge = scripted(&[]).start().await;
    let batch = json!([
        tool(1, "echo", json!({})),
        { "jsonrpc": "2.0", "method": "notifications/mine" },
        tool("two", "echo", json!({})),
    ]);
    let old = bridge.open("2025-03-26").await;
    let mut answer = bridge.post(&batch).session(&old).send().await;
    assert_eq!(answer.status, 200);
    let body = answer.json().await;
    let mut ids: Vec<String> = body
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["\"two\"", "1"]);
    let notifications = json!([{ "jsonrpc": "2.0", "method": "notifications/mine" }]);
    assert_eq!(
        bridge
            .post(&notifications)
            .session(&old)
            .send()
            .await
            .status,
        202
    );
    assert_eq!(
        bridge.post(&json!([])).session(&old).send().await.status,
        400
    );
    let new = bridge.open("2025-06-18").await;
    let mut answer = bridge.post(&batch).session(&new).send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json().await["error"]["code"], -32600);
}

#[tokio::test]
async fn what_is_wrong_in_a_batch_is_answered_in_its_place_and_the_rest_goes_on() {
    let bridge = scripted(&[]).with("MAX_IN_FLIGHT", "3").start().await;
    let session = bridge.open("2025-03-26").await;
    let batch = json!([
        1,
        { "jsonrpc": "2.0", "id": "no", "method": 7 },
        initialize("2025-03-26"),
        tool("yes", "echo", json!({})),
    ]);
    let mut answer = bridge.post(&batch).session(&session).send().await;
    assert_eq!(answer.status, 200);
    let answers = answer.json().await;
    let mut seen: Vec<_> = answers.as_array().unwrap().iter().collect();
    seen.sort_by_key(|one| one["id"].to_string());
    let ids: Vec<_> = seen.iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [json!("init"), json!("yes"), json!(null), json!(null)]);
    for (one, code) in seen.iter().zip([-32600, 0, -32600, -32600]) {
        assert_eq!(one["error"]["code"].as_i64().unwrap_or(0), code, "{one}");
    }
    // Nothing but errors: still one answer.
    let mut answer = bridge.post(&json!([1])).session(&session).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().await[0]["error"]["code"], -32600);
    // As many requests as may be in flight, and one more.
    let requests = |number: usize| {
        let requests = (0..number).map(|id| tool(id, "echo", json!({})));
        Value::from(requests.collect::<Vec<_>>())
    };
    let mut most = bridge.post(&requests(3)).session(&session).send().await;
    assert_eq!(most.json().await.as_array().unwrap().len(), 3);
    let over = bridge.post(&requests(4)).session(&session).send().await;
    assert_eq!(over.status, 429);
    assert!(over.header("retry-after").is_some());
}

#[tokio::test]
async fn a_batch_of_more_messages_than_there_may_be_is_refused_as_a_whole() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-03-26").await;
    let send = async |members: usize| {
        let body = format!("[{}]", vec!["1"; members].join(","));
        bridge.post_text(&body).session(&session).send().await
    };
    let answers = send(1000).await.json().await;
    assert_eq!(answers.as_array().unwrap().len(), 1000);
    // Each of these few bytes would be answered with a hundred.
    let mut refused = send(1 << 20).await;
    assert_eq!(refused.status, 400);
    let error = refused.json().await["error"].clone();
    assert_eq!(error["code"], -32600);
    assert!(
        error["message"].as_str().unwrap().contains("1000"),
        "{error}"
    );
}

#[tokio::test]
async fn a_batch_with_progress_becomes_a_stream() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-03-26").await;
    let with_progress = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "progress", "arguments": { "steps": 1 }, "_meta": { "progressToken": "p" } } });
    let batch = json!([tool(1, "echo", json!({})), with_progress]);
    let mut answer = bridge.post(&batch).session(&session).send().await;
    assert!(answer.is_stream());
    let events = answer.events().await;
    let ids: Vec<String> = events
        .iter()
        .map(|event| event.json()["id"].to_string())
        .collect();
    assert_eq!(ids, ["1", "null", "2"], "{events:?}");
}
