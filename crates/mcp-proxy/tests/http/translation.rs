//! A modern client of an older server, at the HTTP boundary: what the client sees, and what the server hears.

mod ending;
mod listening;

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Bridge, Call, Setup, around, scripted, tool};
use crate::eras::{VERSION, meta, post, request};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The server that does what it is told, with flags.
pub(crate) fn told(flags: &[&str]) -> Setup {
    let program = testkit::binaries::built("told-server");
    let program = program.to_str().unwrap();
    around(&[&[program], flags].concat())
}

/// What the server that does what it is told has heard, all of its processes together.
pub(crate) struct Journal {
    directory: tempfile::TempDir,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// The server, with flags, that writes into it.
    pub(crate) fn told(&self, flags: &[&str]) -> Setup {
        told(&[&["--journal", self.file().to_str().unwrap()], flags].concat())
    }

    /// How often this was heard.
    pub(crate) fn count(&self, what: &str) -> usize {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        text.matches(what).count()
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    /// Waits until this is heard.
    pub(crate) async fn hears(&self, what: &str) {
        let heard = || self.has(what);
        wait::until_true(what, PATIENCE, heard).await.unwrap();
    }
}

/// Parameters of a call with steps, from a client with capabilities.
pub(crate) fn steps(steps: Value, capabilities: Value) -> Value {
    let mut meta = meta();
    meta[CAPABILITIES] = capabilities;
    json!({ "name": "do", "arguments": { "steps": steps }, "_meta": meta })
}

/// A call with steps, from a client with capabilities.
pub(crate) fn call(
    bridge: &Bridge,
    id: impl Into<Value>,
    what: Value,
    capabilities: Value,
) -> Call<'_> {
    post(
        bridge,
        &request(id, "tools/call", steps(what, capabilities)),
    )
}

/// The steps of a plain answer.
fn plain() -> Value {
    json!([{ "answer": { "content": [] } }])
}

#[tokio::test]
async fn an_older_server_is_discovered_by_its_handshake() {
    let capabilities = json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true }, "logging": {}, "tasks": {} });
    let bridge = told(&["--capabilities", &capabilities.to_string()])
        .ready()
        .await;
    let mut answer = post(&bridge, &request("d", "server/discover", json!({})))
        .header("mcp-session-id", "anything")
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    let result = json!({
        "resultType": "complete",
        "supportedVersions": [VERSION],
        "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true }, "logging": {} },
        "instructions": "Tell it.",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { SERVER_INFO: { "name": "told-server", "version": "1" } },
    });
    assert_eq!(
        answer.json().await,
        json!({ "jsonrpc": "2.0", "id": "d", "result": result })
    );
}

#[tokio::test]
async fn the_server_hears_a_handshake_once_and_then_requests_as_it_knows_them() {
    let bridge = told(&[]).ready().await;
    let mut params = steps(json!([{ "heard": null }]), json!({}));
    params["_meta"]["traceparent"] = json!("00-1");
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "c", "version": "1" });
    params["inputResponses"] = json!({ "unasked": { "action": "accept" } });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let body = request(1, "tools/call", params.clone());
        answers.push(post(&bridge, &body).send().await.json().await);
    }
    assert_eq!(answers[0]["result"]["pid"], answers[1]["result"]["pid"]);
    let heard = answers[1]["result"]["heard"].as_array().unwrap();
    let methods: Vec<&str> = heard
        .iter()
        .map(|message| message["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        methods,
        [
            "initialize",
            "notifications/initialized",
            "tools/list",
            "tools/call",
            "tools/call"
        ],
        "the tool list is read for the headers its tools want"
    );
    assert_eq!(heard[0]["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(heard[0]["params"]["capabilities"], json!({}));
    assert_eq!(
        heard[4]["params"]["_meta"],
        json!({ "traceparent": "00-1" })
    );
    assert_eq!(heard[4]["params"].get("inputResponses"), None);
}

#[tokio::test]
async fn results_are_completed_and_cross_byte_for_byte() {
    let bridge = told(&[]).ready().await;
    let raw = r#"{"jsonrpc":"2.0","id":$ID,"result":{ "content" : [1.50,"\u00e9"],"x":1e2}}"#;
    let mut answer = call(&bridge, "a", json!([{ "raw": raw }]), json!({}))
        .send()
        .await;
    assert_eq!(
        answer.text().await,
        concat!(
            r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"told-server","version":"1"}}, "#,
            r#""content" : [1.50,"\u00e9"],"x":1e2}}"#
        )
    );
    let list = async || {
        let list = request(1, "tools/list", json!({}));
        post(&bridge, &list).send().await.text().await
    };
    let first = list().await;
    let result = serde_json::from_str::<Value>(&first).unwrap()["result"].clone();
    assert_eq!(
        (
            &result["ttlMs"],
            &result["cacheScope"],
            &result["resultType"]
        ),
        (&json!(0), &json!("private"), &json!("complete"))
    );
    assert_eq!(first, list().await, "a list does not vary");
    let uri = json!([{ "answer": { "contents": [] } }]).to_string();
    let read = request(1, "resources/read", json!({ "uri": uri }));
    let read = post(&bridge, &read).send().await.json().await;
    assert_eq!(read["result"]["ttlMs"], 0);
    let called = call(&bridge, 1, plain(), json!({}))
        .send()
        .await
        .json()
        .await;
    assert_eq!(
        called["result"].get("ttlMs"),
        None,
        "only lists and resources may be kept"
    );
}

#[tokio::test]
async fn errors_of_older_revisions_are_translated() {
    let bridge = told(&[]).ready().await;
    let uri = json!([{ "error": { "code": -32002, "message": "no such" } }]).to_string();
    let read = request("r", "resources/read", json!({ "uri": uri }));
    let answer = post(&bridge, &read).send().await.json().await;
    let error = json!({ "code": -32602, "message": "no such", "data": { "uri": uri } });
    assert_eq!(
        answer,
        json!({ "jsonrpc": "2.0", "id": "r", "error": error })
    );
    for (code, seen) in [(-32050, -32603), (-32602, -32602), (-32000, -32000), (7, 7)] {
        let fails = json!([{ "error": { "code": code, "message": "m" } }]);
        let answer = call(&bridge, 1, fails, json!({})).send().await.json().await;
        assert_eq!(answer["error"]["code"], seen);
    }
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/get",
        "no/such",
    ] {
        let mut answer = post(&bridge, &request(7, method, json!({}))).send().await;
        let body = answer.json().await;
        assert_eq!(
            (answer.status.as_u16(), &body["error"]["code"], &body["id"]),
            (404, &json!(-32601), &json!(7)),
            "{method}"
        );
    }
}

#[tokio::test]
async fn header_rules_hold_for_older_servers_too() {
    let bridge = told(&[]).ready().await;
    let body = request(7, "tools/call", steps(plain(), json!({})));
    let mut mirrored = body.clone();
    mirrored["params"]["arguments"]["region"] = json!("us");
    let mut unsupported = body.clone();
    unsupported["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let unsupported = post(&bridge, &unsupported)
        .without("mcp-protocol-version")
        .header("mcp-protocol-version", "2099-01-01");
    let wrong = [
        (
            post(&bridge, &body).without("mcp-protocol-version"),
            400,
            -32020,
        ),
        (post(&bridge, &body).without("mcp-method"), 400, -32020),
        (post(&bridge, &body).without("mcp-name"), 400, -32020),
        (post(&bridge, &mirrored), 400, -32020),
        (
            post(&bridge, &mirrored).header("mcp-param-region", "eu"),
            400,
            -32020,
        ),
        (unsupported, 400, -32022),
        (
            post(
                &bridge,
                &json!({ "jsonrpc": "2.0", "id": 7, "method": "server/discover" }),
            ),
            400,
            -32602,
        ),
    ];
    for (call, status, code) in wrong {
        let mut answer = call.send().await;
        let body = answer.json().await;
        assert_eq!(
            (answer.status.as_u16(), &body["error"]["code"], &body["id"]),
            (status, &json!(code), &json!(7)),
            "{body}"
        );
        if code == -32022 {
            assert_eq!(body["error"]["data"]["supported"], json!([VERSION]));
        }
    }
    let right = post(&bridge, &mirrored).header("mcp-param-region", "=?base64?dXM=?=");
    assert_eq!(right.send().await.status, 200);
    for method in [Method::GET, Method::DELETE] {
        let answer = bridge.call(method).header("mcp-protocol-version", VERSION);
        assert_eq!(answer.send().await.status, 405);
    }
    let note =
        json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": { "_meta": meta() } });
    let mut answer = post(&bridge, &note).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().await),
        (202, String::new())
    );
}

#[tokio::test]
async fn progress_goes_to_the_call_it_is_of() {
    let bridge = told(&[]).ready().await;
    let events = |mark: u32| {
        let progress = json!({ "send": { "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": "$TOKEN", "progress": mark } } });
        let mut params = steps(json!([progress, { "answer": { "mark": mark } }]), json!({}));
        params["_meta"]["progressToken"] = json!("same");
        let call = post(&bridge, &request("same", "tools/call", params));
        async move { (mark, call.send().await.events().await) }
    };
    for (mark, events) in futures_util::future::join_all((0..8).map(events)).await {
        let (progress, answer) = (events[0].json(), events[1].json());
        assert_eq!(
            progress["params"],
            json!({ "progressToken": "same", "progress": mark })
        );
        assert_eq!(events[0].id, "", "this era has no event ids");
        assert_eq!(
            (&answer["id"], &answer["result"]["mark"]),
            (&json!("same"), &json!(mark))
        );
        assert_eq!(events.len(), 2, "the stream ends with the answer");
    }
}

#[tokio::test]
async fn logs_come_only_if_asked_for_and_severe_enough() {
    let capabilities = json!({ "tools": {}, "logging": {} }).to_string();
    let bridge = told(&["--capabilities", &capabilities]).ready().await;
    let log = |level: &str| {
        json!({ "send": { "jsonrpc": "2.0", "method": "notifications/message",
        "params": { "level": level, "data": level } } })
    };
    let what = json!([log("info"), log("error"), { "heard": null }]);
    let mut silent = call(&bridge, 1, what.clone(), json!({})).send().await;
    assert!(!silent.is_stream());
    silent.text().await;
    let mut params = steps(what, json!({}));
    params["_meta"][LOG_LEVEL] = json!("warning");
    let mut loud = post(&bridge, &request(2, "tools/call", params.clone()))
        .send()
        .await;
    let events = loud.events().await;
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[0].json(),
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "error", "data": "error" } })
    );
    let answer = events[1].json();
    let heard = answer["result"]["heard"].as_array().unwrap();
    let level = heard
        .iter()
        .find(|message| message["method"] == "logging/setLevel");
    assert_eq!(level.unwrap()["params"], json!({ "level": "warning" }));
    params["_meta"][LOG_LEVEL] = json!("loud");
    let mut wrong = post(&bridge, &request(3, "tools/call", params))
        .send()
        .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json().await["error"]["code"], -32602);
}

#[tokio::test]
async fn the_eras_never_share_a_process() {
    let bridge = scripted(&[]).ready().await;
    let session = bridge.open("2025-11-25").await;
    let old = bridge.tool(&session, "pid", json!({})).await;
    let new = crate::eras::modern(&bridge, 1, "pid", json!({}))
        .send()
        .await
        .json()
        .await;
    assert_eq!(new["result"]["resultType"], "complete");
    assert_ne!(new["result"]["content"][0]["text"], old.as_str());
    let again = bridge.post(&tool(1, "echo", json!({}))).session(&session);
    assert_eq!(again.send().await.status, 200);
}
