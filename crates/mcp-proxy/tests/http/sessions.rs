//! Sessions of the older revisions: from `initialize` to DELETE.

use reqwest::Method;
use serde_json::{Value, json};

use crate::bridge::{initialize, scripted, tool};

#[tokio::test]
async fn each_revision_is_negotiated_by_the_child() {
    let bridge = scripted(&[]).start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut answer = bridge.post(&initialize(version)).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        assert!(
            session.len() >= 22 && session.bytes().all(|byte| byte.is_ascii_graphic()),
            "{session}"
        );
        let body = answer.json().await;
        assert_eq!(body["id"], "init");
        assert_eq!(body["result"]["protocolVersion"], version);
    }
}

#[tokio::test]
async fn the_child_decides_the_revision_and_its_rules_hold() {
    // It answers 2025-03-26 whatever it is asked for.
    let script = r#"while read -r line; do echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}'; done"#;
    let bridge = crate::bridge::around(&["sh", "-c", script]).start().await;
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let answer = answer.json().await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-03-26");
    // That revision has batches.
    let batch = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    assert_eq!(
        bridge.post(&batch).session(&session).send().await.status,
        202
    );
}

#[tokio::test]
async fn a_message_reaches_the_child_as_one_line() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let text = "two\nlines\u{2028}and\rmore";
    let body = serde_json::to_string_pretty(&tool(1, "echo", json!({ "text": text }))).unwrap();
    let body = body.replace('\n', "\r\n");
    let call = bridge.post_text(&body).session(&session);
    let answer = call.send().await.message().await;
    let seen = answer["result"]["content"][0]["text"].as_str().unwrap();
    let seen: Value = serde_json::from_str(seen).unwrap();
    assert_eq!(seen["params"]["arguments"]["text"], text);
}

#[tokio::test]
async fn the_endpoint_answers_with_and_without_a_slash() {
    let bridge = scripted(&[]).start().await;
    for path in ["/mcp", "/mcp/"] {
        let answer = bridge
            .post(&initialize("2025-11-25"))
            .path(path)
            .send()
            .await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in [
        "/",
        "/mcp/x",
        "/mcpx",
        "/.well-known/oauth-protected-resource",
    ] {
        let mut answer = bridge
            .post(&initialize("2025-11-25"))
            .path(path)
            .send()
            .await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json().await["error"]["code"], -32000);
    }
}

#[tokio::test]
async fn ids_are_ours_inside_and_the_clients_outside() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    for id in [
        json!("text"),
        json!(7),
        json!(-1),
        json!(9_007_199_254_740_993_i64),
        json!("7"),
        json!("a\"\n\u{e9}"),
    ] {
        let mut answer = bridge
            .post(&tool(id.clone(), "echo", json!({})))
            .session(&session)
            .send()
            .await;
        let body = answer.json().await;
        assert_eq!(body["id"], id);
        let seen: Value =
            serde_json::from_str(body["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
        assert!(seen["id"].is_u64(), "the child saw {seen}");
    }
}

#[tokio::test]
async fn two_sessions_with_the_same_ids_get_their_own_answers_from_their_own_children() {
    let bridge = scripted(&[]).start().await;
    let (one, two) = (
        bridge.open("2025-11-25").await,
        bridge.open("2025-11-25").await,
    );
    assert_ne!(one, two);
    assert_ne!(
        bridge.tool(&one, "pid", json!({})).await,
        bridge.tool(&two, "pid", json!({})).await
    );
    let ask = |session: &str, mark: &'static str| {
        let call = bridge
            .post(&tool(1, "echo", json!({ "mark": mark })))
            .session(session);
        async move { call.send().await.message().await }
    };
    for _ in 0..20 {
        let (first, second) = tokio::join!(ask(&one, "one"), ask(&two, "two"));
        assert!(first.to_string().contains("\\\"one\\\""), "{first}");
        assert!(second.to_string().contains("\\\"two\\\""), "{second}");
    }
}

#[tokio::test]
async fn equal_ids_in_one_session_get_their_own_answers() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let ask = |mark: usize| {
        let call = bridge
            .post(&tool(1, "echo", json!({ "mark": mark })))
            .session(&session);
        async move { call.send().await.message().await.to_string() }
    };
    let answers = futures_util::future::join_all((0..20).map(ask)).await;
    for (mark, answer) in answers.iter().enumerate() {
        assert!(
            answer.contains(&format!("\\\"mark\\\":{mark}}}")),
            "{mark}: {answer}"
        );
    }
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_child_not_of_the_questions() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let hold = |id: usize| {
        let call = bridge.post(&tool(id, "hold", json!({}))).session(&session);
        async move { call.send().await.message().await }
    };
    // `release` must come after the others are there: the child says how many it holds by answering all of them.
    let release = async {
        loop {
            let answer = bridge
                .post(&tool("r", "release", json!({})))
                .session(&session)
                .send()
                .await
                .message()
                .await;
            assert_eq!(answer["result"]["content"][0]["text"], "released");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answers = futures_util::future::join_all((0..5).map(hold)) => {
            for (id, answer) in answers.iter().enumerate() {
                assert_eq!(answer["id"], id);
                assert_eq!(answer["result"]["content"][0]["text"], "released");
            }
        }
        () = release => {}
    }
}

#[tokio::test]
async fn a_session_is_needed_and_must_be_known() {
    let bridge = scripted(&[]).start().await;
    let mut missing = bridge.post(&tool(1, "echo", json!({}))).send().await;
    assert_eq!(missing.status, 400);
    assert_eq!(missing.json().await["id"], 1);
    let mut unknown = bridge
        .post(&tool(1, "echo", json!({})))
        .session("nobody")
        .send()
        .await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json().await["id"], 1);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            bridge.call(method.clone()).send().await.status,
            400,
            "{method}"
        );
        assert_eq!(
            bridge
                .call(method.clone())
                .session("nobody")
                .send()
                .await
                .status,
            404,
            "{method}"
        );
    }
}

#[tokio::test]
async fn delete_ends_the_session_and_its_child() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let other = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .call(Method::DELETE)
            .session(&session)
            .send()
            .await
            .status,
        204
    );
    assert_eq!(
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send()
            .await
            .status,
        404
    );
    assert_eq!(
        bridge
            .call(Method::DELETE)
            .session(&session)
            .send()
            .await
            .status,
        404
    );
    crate::children::gone(&pid).await;
    bridge.tool(&other, "echo", json!({})).await;
}

#[tokio::test]
async fn delete_answers_the_calls_in_flight() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let call = bridge
        .post(&tool(5, "hold", json!({})))
        .session(&session)
        .send();
    let delete = async {
        // The call has arrived when the child answers a later one.
        bridge.tool(&session, "echo", json!({})).await;
        bridge.call(Method::DELETE).session(&session).send().await
    };
    let (mut call, delete) = tokio::join!(call, delete);
    assert_eq!(delete.status, 204);
    let body = call.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!(5), &json!(-32603))
    );
}

#[tokio::test]
async fn any_supported_version_is_taken_and_no_other() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2024-11-05").await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let call = bridge.post(&tool(1, "echo", json!({}))).session(&session);
        assert_eq!(
            call.header("mcp-protocol-version", version)
                .send()
                .await
                .status,
            200,
            "{version}"
        );
    }
    for version in ["1999-01-01", "", "2025-11-25x"] {
        let call = bridge.post(&tool(1, "echo", json!({}))).session(&session);
        let mut answer = call.header("mcp-protocol-version", version).send().await;
        assert_eq!(answer.status, 400, "{version}");
        assert_eq!(answer.json().await["error"]["data"]["requested"], version);
    }
    let twice = bridge.post(&tool(1, "echo", json!({}))).session(&session);
    let twice = twice
        .header("mcp-protocol-version", "2025-11-25")
        .header("mcp-protocol-version", "2025-11-25");
    assert_eq!(twice.send().await.status, 400);
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_and_passed_on() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/mine", "params": { "x": [1.50, null] } });
    let mut answer = bridge.post(&note).session(&session).send().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.text().await, "");
    let seen = bridge.tool(&session, "notified", json!({})).await;
    assert!(seen.contains(r#""x":[1.5,null]"#), "{seen}");
    // A response to nothing is not the child's business.
    let stray = json!({ "jsonrpc": "2.0", "id": "nothing", "result": {} });
    assert_eq!(
        bridge.post(&stray).session(&session).send().await.status,
        202
    );
}

#[tokio::test]
async fn a_refused_initialize_leaves_no_session() {
    // A server that answers everything with an error.
    let script = r#"while read -r line; do echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}'; done"#;
    let bridge = crate::bridge::around(&["sh", "-c", script]).start().await;
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(answer.json().await["error"]["code"], -32602);
    let metrics = bridge.private("/metrics").await;
    assert!(metrics.contains("mcp_sessions 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_goes_away_before_its_session_is_open_leaves_no_child() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let bridge = scripted(&["--silent-initialize", "--announce", pids.to_str().unwrap()])
        .with("CHILD_WARM_SPARE", "false")
        .ready()
        .await;
    let before = std::fs::read_to_string(&pids).unwrap();
    let opening = bridge.post(&initialize("2025-11-25")).send();
    let started = testkit::wait::until("the child", testkit::wait::PATIENCE, || async {
        let now = std::fs::read_to_string(&pids).unwrap();
        (now.len() > before.len()).then(|| now.lines().last().unwrap().to_owned())
    });
    let pid = tokio::select! {
        _ = opening => panic!("nothing answers"),
        pid = started => pid.unwrap(),
    };
    crate::children::gone(&pid).await;
}
