//! Messages that the rules take for one thing, and a server that is less strict for another.

use serde_json::{Value, json};

use super::{BEN, ruled};
use crate::bridge::{Answer, Bridge, Call, scripted, tool};
use crate::eras;

/// A request without an id: some servers run it, and only have nobody to answer.
fn without_id() -> Value {
    json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": "regional", "arguments": {} } })
}

/// Requests with a member beside the right one that readers without case, or without null characters, take for it.
fn alike() -> Vec<Value> {
    let call = |name: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo", name: "regional" } });
    let beside = |name: &str, value: Value| {
        let mut call = tool(1, "echo", json!({}));
        call[name] = value;
        call
    };
    let params = json!({ "name": "regional" });
    vec![
        call("Name"),
        call("NAME"),
        call("name\u{0}"),
        beside("Method", json!("tools/call")),
        beside("Params", params.clone()),
        beside("param\u{17f}", params.clone()),
        beside("PARAMS\u{0}\u{0}", params),
        beside("ID", json!(2)),
        beside("\u{131}d", json!(2)),
    ]
}

async fn is_refused(call: Call<'_>, shown: &Value) {
    let mut answer: Answer = call.headers(&BEN).send().await;
    assert_eq!(answer.status, 400, "{shown}");
    assert_eq!(answer.message().await["error"]["code"], -32600, "{shown}");
}

/// What the server of a session was notified of.
async fn notified(bridge: &Bridge, session: &str) -> String {
    let call = bridge.post(&tool("n", "notified", json!({})));
    let mut answer = call.session(session).headers(&BEN).send().await;
    answer.message().await["result"].to_string()
}

#[tokio::test]
async fn a_request_without_an_id_reaches_no_server() {
    let bridge = ruled(&["--modern"]).ready().await;
    let session = bridge.open_as("2025-03-26", &BEN).await;
    let body = without_id();
    is_refused(bridge.post(&body).session(&session), &body).await;
    let batch = json!([body, tool("called", "echo", json!({}))]);
    let call = bridge.post(&batch).session(&session).headers(&BEN);
    let answers = call.send().await.json().await;
    let codes = |answer: &Value| answer["error"]["code"].clone();
    let mut seen: Vec<Value> = answers.as_array().unwrap().iter().map(codes).collect();
    seen.sort_by_key(Value::is_null);
    assert_eq!(seen, [json!(-32600), json!(null)], "{answers}");
    // What a sloppy client says instead of `notifications/initialized` is nothing that could be run.
    let sloppy = json!({ "jsonrpc": "2.0", "method": "initialized" });
    let call = bridge.post(&sloppy).session(&session).headers(&BEN);
    assert_eq!(call.send().await.status, 202);
    let heard = notified(&bridge, &session).await;
    assert!(!heard.contains("regional"), "{heard}");

    let mut modern = without_id();
    modern["params"]["_meta"] = eras::meta();
    is_refused(eras::post(&bridge, &modern), &modern).await;
}

#[tokio::test]
async fn a_member_that_is_like_one_that_counts_reaches_no_server() {
    let bridge = ruled(&["--modern"]).ready().await;
    let session = bridge.open_as("2025-11-25", &BEN).await;
    for body in alike() {
        is_refused(bridge.post(&body).session(&session), &body).await;
        let mut modern = body;
        modern["params"]["_meta"] = eras::meta();
        is_refused(eras::post(&bridge, &modern), &modern).await;
    }
}

/// What the arguments of a tool are called is the matter of the tool.
#[tokio::test]
async fn arguments_may_have_any_names() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let arguments = json!({ "name": 1, "Name": 2, "METHOD": 3 });
    let echoed = bridge.tool(&session, "echo", arguments.clone()).await;
    let echoed: Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!(echoed["params"]["arguments"], arguments);
}
