//! 2026-07-28 beside the older revisions: header rules, pass-through, and the fallback.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::wait;

use crate::bridge::{Bridge, Call, scripted, tool};

pub(crate) const VERSION: &str = "2026-07-28";

pub(crate) fn meta() -> Value {
    json!({ "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {} })
}

pub(crate) fn request(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    if params.get("_meta").is_none() {
        params["_meta"] = meta();
    }
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

pub(crate) fn post<'b>(bridge: &'b Bridge, body: &Value) -> Call<'b> {
    let method = body["method"].as_str().unwrap();
    let call = bridge
        .post(body)
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    match body["params"]["name"]
        .as_str()
        .or(body["params"]["uri"].as_str())
    {
        Some(name) => call.header("mcp-name", name),
        None => call,
    }
}

/// A modern call of a tool.
pub(crate) fn modern<'b>(
    bridge: &'b Bridge,
    id: impl Into<Value>,
    name: &str,
    arguments: Value,
) -> Call<'b> {
    post(
        bridge,
        &request(
            id,
            "tools/call",
            json!({ "name": name, "arguments": arguments }),
        ),
    )
}

#[tokio::test]
async fn modern_requests_pass_to_one_child_without_sessions() {
    let bridge = scripted(&["--modern"]).ready().await;
    let mut discovered = post(&bridge, &request("d", "server/discover", json!({})))
        .send()
        .await;
    assert_eq!(discovered.status, 200);
    assert_eq!(discovered.header("mcp-session-id"), None);
    let discovered = discovered.json().await;
    assert_eq!(discovered["id"], "d");
    assert_eq!(discovered["result"]["supportedVersions"], json!([VERSION]));
    let pid = async || {
        modern(&bridge, 1, "pid", json!({}))
            .send()
            .await
            .json()
            .await["result"]
            .to_string()
    };
    assert_eq!(pid().await, pid().await);
    // Ids of strangers do not meet, and a session id means nothing here.
    let answers = futures_util::future::join_all((0..10).map(|mark| {
        let call = modern(&bridge, 1, "echo", json!({ "mark": mark }))
            .header("mcp-session-id", "anything");
        async move { call.send().await.json().await.to_string() }
    }))
    .await;
    for (mark, answer) in answers.iter().enumerate() {
        assert!(
            answer.contains(&format!("\\\"mark\\\":{mark}}}")),
            "{mark}: {answer}"
        );
    }
}

#[tokio::test]
async fn the_eras_never_share_a_process() {
    let bridge = scripted(&["--modern"]).ready().await;
    let session = bridge.open("2025-11-25").await;
    let old = bridge.tool(&session, "pid", json!({})).await;
    let new = modern(&bridge, 1, "pid", json!({}))
        .send()
        .await
        .json()
        .await;
    assert_eq!(new["result"]["resultType"], "complete");
    assert_ne!(new["result"]["content"][0]["text"], old.as_str());
    // The scripted server refuses the other era on a process it has served one on.
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn headers_and_body_must_agree() {
    let bridge = scripted(&["--modern"]).ready().await;
    let call = request(7, "tools/call", json!({ "name": "echo", "arguments": {} }));
    let check = async |call: Call<'_>, status: u16, code: i32, what: &str| {
        let mut answer = call.send().await;
        let body = answer.json().await;
        assert_eq!(
            (answer.status.as_u16(), body["error"]["code"].as_i64()),
            (status, Some(code.into())),
            "{what}: {body}"
        );
        assert_eq!(body["id"], 7, "{what}");
    };
    check(
        post(&bridge, &call).without("mcp-protocol-version"),
        400,
        -32020,
        "no version header",
    )
    .await;
    check(
        post(&bridge, &call).without("mcp-method"),
        400,
        -32020,
        "no method header",
    )
    .await;
    check(
        post(&bridge, &call).without("mcp-name"),
        400,
        -32020,
        "no name header",
    )
    .await;
    check(
        post(&bridge, &call)
            .without("mcp-method")
            .header("mcp-method", "Tools/Call"),
        400,
        -32020,
        "method",
    )
    .await;
    check(
        post(&bridge, &call)
            .without("mcp-name")
            .header("mcp-name", "other"),
        400,
        -32020,
        "name",
    )
    .await;
    check(
        post(&bridge, &call).header("mcp-name", "echo"),
        400,
        -32020,
        "name twice",
    )
    .await;
    check(
        post(&bridge, &call)
            .without("mcp-name")
            .header("mcp-name", "=?base64?!?="),
        400,
        -32020,
        "base64",
    )
    .await;
    let unknown = request(
        7,
        "tools/call",
        json!({ "name": "echo", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2099-01-01", "io.modelcontextprotocol/clientCapabilities": {} } }),
    );
    check(post(&bridge, &unknown), 400, -32020, "versions differ").await;
    let future = post(&bridge, &unknown)
        .without("mcp-protocol-version")
        .header("mcp-protocol-version", "2099-01-01");
    check(future, 400, -32022, "unknown version").await;
    let bare = json!({ "jsonrpc": "2.0", "id": 7, "method": "server/discover" });
    check(post(&bridge, &bare), 400, -32602, "no _meta").await;
    let no_capabilities = request(
        7,
        "server/discover",
        json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": VERSION } }),
    );
    check(
        post(&bridge, &no_capabilities),
        400,
        -32602,
        "no capabilities",
    )
    .await;
    for removed in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "no/such",
    ] {
        check(
            post(&bridge, &request(7, removed, json!({}))),
            404,
            -32601,
            removed,
        )
        .await;
    }
    let encoded = post(&bridge, &call)
        .without("mcp-name")
        .header("mcp-name", "=?base64?ZWNobw==?=");
    assert_eq!(encoded.send().await.status, 200);
    let batch = bridge
        .post(&json!([call]))
        .header("mcp-protocol-version", VERSION);
    assert_eq!(batch.send().await.status, 400);
}

#[tokio::test]
async fn mirrored_arguments_must_agree_with_the_tools_schema() {
    let bridge = scripted(&["--modern"]).ready().await;
    let call = || modern(&bridge, 1, "regional", json!({ "region": "us-west1" }));
    let good = call()
        .header("mcp-param-region", "us-west1")
        .header("mcp-param-unknown", "ignored");
    assert_eq!(good.send().await.status, 200);
    for wrong in [
        call(),
        call().header("mcp-param-region", "eu"),
        modern(&bridge, 1, "regional", json!({})).header("mcp-param-region", "eu"),
    ] {
        let mut answer = wrong.send().await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json().await["error"]["code"], -32020);
    }
    assert_eq!(
        modern(&bridge, 1, "regional", json!({ "region": null }))
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn get_and_delete_are_no_methods_of_this_era() {
    let bridge = scripted(&["--modern"]).ready().await;
    for method in [Method::GET, Method::DELETE] {
        let answer = bridge
            .call(method)
            .header("mcp-protocol-version", VERSION)
            .send()
            .await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

#[tokio::test]
async fn a_closed_stream_cancels_in_the_child() {
    let bridge = scripted(&["--modern"]).ready().await;
    // Closed before anything was answered.
    let held = modern(&bridge, 1, "hold", json!({})).send();
    let seen = async {
        modern(&bridge, 2, "echo", json!({}))
            .send()
            .await
            .json()
            .await
    };
    tokio::select! {
        biased;
        _ = held => panic!("nothing answers"),
        _ = seen => {}
    }
    // Closed while a stream was open.
    let mut listening = post(
        &bridge,
        &request("l", "subscriptions/listen", json!({ "notifications": {} })),
    )
    .send()
    .await;
    listening.event().await.unwrap();
    drop(listening);
    wait::until("both cancellations", wait::PATIENCE, || async {
        let seen = modern(&bridge, 3, "notified", json!({}))
            .send()
            .await
            .json()
            .await;
        let seen: Value =
            serde_json::from_str(seen["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
        let notes = seen.as_array().unwrap();
        assert!(
            notes
                .iter()
                .all(|note| note["params"]["requestId"].is_u64()),
            "{seen}"
        );
        (notes
            .iter()
            .filter(|note| note["method"] == "notifications/cancelled")
            .count()
            == 2)
            .then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn listeners_are_told_under_their_own_ids() {
    let bridge = scripted(&["--modern"]).ready().await;
    let listen = async |id: Value| {
        let body = request(
            id.clone(),
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        );
        let mut stream = post(&bridge, &body).send().await;
        assert!(stream.is_stream());
        let first = stream.event().await.unwrap();
        assert_eq!(first.id, "", "this era has no event ids");
        let first = first.json();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(
            first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            id
        );
        stream
    };
    let (mut text, mut number) = (listen(json!("one")).await, listen(json!(1)).await);
    modern(&bridge, 1, "tell_listeners", json!({})).send().await;
    for (stream, id) in [(&mut text, json!("one")), (&mut number, json!(1))] {
        let note = stream.event().await.unwrap().json();
        assert_eq!(note["method"], "notifications/tools/list_changed");
        assert_eq!(
            note["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            id
        );
    }
}

#[tokio::test]
async fn logs_come_only_if_asked_for() {
    let bridge = scripted(&["--modern"]).ready().await;
    let mut silent = modern(&bridge, 1, "log", json!({ "data": "x" }))
        .send()
        .await;
    assert!(!silent.is_stream());
    assert_eq!(silent.json().await["id"], 1);
    let mut meta = meta();
    meta["io.modelcontextprotocol/logLevel"] = json!("info");
    let body = request(
        2,
        "tools/call",
        json!({ "name": "log", "arguments": { "data": "x" }, "_meta": meta }),
    );
    let events = post(&bridge, &body).send().await.events().await;
    assert_eq!(events[0].json()["method"], "notifications/message");
    assert_eq!(events[1].json()["id"], 2);
}

#[tokio::test]
async fn a_dead_shared_child_fails_what_waits_and_is_replaced() {
    let bridge = scripted(&["--modern"]).ready().await;
    let mut dies = modern(&bridge, 1, "exit", json!({ "status": 3 }))
        .send()
        .await;
    let body = dies.json().await;
    assert_eq!(body["error"]["code"], -32603);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exit status 3"),
        "{body}"
    );
    let next = modern(&bridge, 2, "echo", json!({})).send().await;
    assert_eq!(next.status, 200);
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send()
            .await
            .status,
        200
    );
}
