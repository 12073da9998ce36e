//! Several replicas of one service: what one of them has is answered by any of them, and by nobody else.

mod ends;
mod strangers;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::network::free_port;
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Answer, Bridge, Setup, scripted, tool};
use crate::eras::{modern, post, request};
use crate::people::{ANNA, BEN};
use crate::translation::{Journal, call, steps, told};

/// Two replicas, made by the same recipe.
pub(crate) async fn two(recipe: impl Fn() -> Setup) -> (Bridge, Bridge) {
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let list = places(&ports);
    let replica = |port| recipe().on(port).with("REPLICAS", &list).ready();
    tokio::join!(replica(ports[0]), replica(ports[1]))
}

fn places(ports: &[u16]) -> String {
    let places: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    places.join(",")
}

/// A counter of the replica.
async fn counter(bridge: &Bridge, name: &str) -> u64 {
    let metrics = bridge.private("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} is not in {metrics}"))
        .trim()
        .parse()
        .unwrap()
}

async fn handed_over(bridge: &Bridge, outcome: &str) -> u64 {
    let name = format!("mcp_handed_over_total{{outcome=\"{outcome}\"}}");
    counter(bridge, &name).await
}

/// The answer to a call in a session that is not there.
async fn is_unknown(mut answer: Answer) {
    assert_eq!(answer.status, 404);
    let body = answer.json().await;
    assert_eq!(body["error"]["code"], -32001, "{body}");
    assert_eq!(
        body["error"]["message"],
        "session not found: begin a new one with initialize"
    );
}

/// Waits for an event with a method.
async fn told_of(stream: &mut Answer, method: &str) -> Value {
    loop {
        let event = stream.event().await.unwrap();
        if !event.data.is_empty() && event.json()["method"] == method {
            return event.json();
        }
    }
}

#[tokio::test]
async fn any_replica_answers_for_the_one_that_has_the_session() {
    let (a, b) = two(|| scripted(&[])).await;
    let session = a.open("2025-11-25").await;
    // Calls, with their ids and progress tokens.
    assert_eq!(
        a.tool(&session, "pid", json!({})).await,
        b.tool(&session, "pid", json!({})).await
    );
    let mut plain = b
        .post(&tool("mine", "echo", json!({ "x": 1 })))
        .session(&session)
        .send()
        .await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("cache-control"), Some("no-store"));
    assert_eq!(plain.headers.get_all("date").iter().count(), 1);
    assert_eq!(plain.message().await["id"], "mine");
    // An answer that is a stream, with what the client says meanwhile through the other one.
    let mut asked = b
        .post(&tool(7, "ask", json!({})))
        .session(&session)
        .send()
        .await;
    assert!(asked.is_stream());
    assert_eq!(asked.header("x-accel-buffering"), Some("no"));
    told_of(&mut asked, "roots/list").await;
    let roots = json!({ "jsonrpc": "2.0", "id": "question", "result": { "roots": [] } });
    assert_eq!(a.post(&roots).session(&session).send().await.status, 202);
    assert_eq!(asked.message().await["id"], 7);
    // Batches, errors, and the end.
    let wrong = b.post_text("{").session(&session).send().await;
    assert_eq!(wrong.status, 400);
    let batch = b
        .post_text(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#)
        .session(&session)
        .send()
        .await
        .json()
        .await;
    assert!(
        batch["error"]["message"]
            .as_str()
            .unwrap()
            .contains("batches"),
        "{batch}"
    );
    let ended = b.call(Method::DELETE).session(&session).send().await;
    assert_eq!(ended.status, 204);
    for replica in [&a, &b] {
        let late = replica
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send();
        is_unknown(late.await).await;
    }
    assert!(handed_over(&b, "answered").await >= 6);
    assert_eq!(handed_over(&a, "answered").await, 0);
    assert_eq!(counter(&a, "mcp_replicas ").await, 1);
}

#[tokio::test]
async fn a_stream_that_listens_is_heard_and_resumed_through_any_replica() {
    let (a, b) = two(|| scripted(&[]).with_file("[proxy.tools]\ndeny = [\"x\"]\n")).await;
    let session = a.open("2025-11-25").await;
    let mut stream = b.call(Method::GET).session(&session).send().await;
    assert!(stream.is_stream());
    let first = stream.event().await.unwrap();
    a.tool(&session, "notify", json!({ "note": 1 })).await;
    let heard = told_of(&mut stream, "notifications/tools/list_changed").await;
    assert_eq!(heard["params"]["note"], 1);
    // The rules of the replica that has the session.
    a.rewrite("[proxy.tools]\ndeny = [\"y\"]\n");
    told_of(&mut stream, "notifications/tools/list_changed").await;
    // What was missed comes again, by whichever way.
    drop(stream);
    b.tool(&session, "notify", json!({ "note": 2 })).await;
    for replica in [&b, &a] {
        let mut again = replica
            .call(Method::GET)
            .session(&session)
            .header("last-event-id", &first.id)
            .send()
            .await;
        let mut notes = Vec::new();
        while notes.last() != Some(&json!(2)) {
            let heard = told_of(&mut again, "notifications/tools/list_changed").await;
            notes.push(heard["params"]["note"].clone());
        }
        assert_eq!(notes, [json!(1), Value::Null, json!(2)]);
    }
}

#[tokio::test]
async fn a_parked_call_is_answered_through_any_replica() {
    let (a, b) = two(|| told(&[])).await;
    let what = json!([
        { "send": { "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
            "params": { "message": "?", "requestedSchema": {} } } },
        { "await": ["q"] },
        { "heard": null }
    ]);
    let capabilities = json!({ "elicitation": {} });
    let again = |bridge, state: &Value| {
        let mut params = steps(what.clone(), capabilities.clone());
        params["requestState"] = state.clone();
        params["inputResponses"] = json!({ "q": { "action": "accept", "content": { "n": 1 } } });
        post(bridge, &request("again", "tools/call", params))
    };
    let mut first = call(&a, 1, what.clone(), capabilities.clone()).send().await;
    let state = first.message().await["result"]["requestState"].clone();
    let mut second = again(&b, &state).send().await;
    let second = second.message().await;
    assert_eq!(second["id"], "again");
    let heard = second["result"]["heard"].as_array().unwrap();
    assert_eq!(heard.last().unwrap()["result"]["content"]["n"], 1);
    // It is good once, and nobody else made it.
    let forged = format!("{}x", state.as_str().unwrap());
    let bare = state.as_str().unwrap().split_once('.').unwrap().1;
    for state in [
        &state,
        &json!(forged),
        &json!(bare),
        &json!("AAAAAAAAAAA.AAAA"),
    ] {
        let mut refused = again(&b, state).send().await;
        assert_eq!(refused.status, 400, "{state}");
        assert_eq!(refused.json().await["error"]["code"], -32602, "{state}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_where_its_call_is() {
    // Before the head of the answer, and in the middle of a stream.
    for stream_after in ["60", "0"] {
        let journal = Journal::new();
        let recipe = || journal.told(&[]).with("STREAM_AFTER", stream_after);
        let (a, b) = two(recipe).await;
        let what = json!([
            { "send": { "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
                "params": { "message": "?", "requestedSchema": {} } } },
            { "await": ["q", "never"] },
        ]);
        let mut params = steps(what, json!({ "elicitation": {} }));
        let mut first = post(&a, &request(1, "tools/call", params.clone()))
            .send()
            .await;
        params["requestState"] = first.message().await["result"]["requestState"].clone();
        params["inputResponses"] = json!({ "q": { "action": "decline" } });
        let declined = journal.hears("decline");
        let again = post(&b, &request(2, "tools/call", params)).send();
        if stream_after == "0" {
            let stream = again.await;
            assert!(stream.is_stream());
            declined.await;
            assert!(!journal.has("notifications/cancelled"));
            drop(stream);
        } else {
            tokio::select! {
                answer = again => panic!("{}", answer.status),
                () = declined => {}
            }
        }
        journal.hears("notifications/cancelled").await;
    }
}

#[tokio::test]
async fn a_session_that_is_left_alone_ends_and_one_that_is_used_elsewhere_does_not() {
    let (a, b) = two(|| scripted(&[]).with("SESSION_TIMEOUT", "2")).await;
    let used = a.open("2025-11-25").await;
    let idle = a.open("2025-11-25").await;
    wait::until("the idle session to end", PATIENCE, || async {
        b.tool(&used, "echo", json!({})).await;
        let metrics = a.private("/metrics").await;
        metrics.contains("mcp_sessions 1").then_some(())
    })
    .await
    .unwrap();
    b.tool(&used, "echo", json!({})).await;
    let late = b.post(&tool(1, "echo", json!({}))).session(&idle).send();
    is_unknown(late.await).await;
}

#[tokio::test]
async fn a_session_answers_to_its_person_only_whichever_replica_is_asked() {
    let (a, b) = two(|| scripted(&[]).with("REQUIRE_IDENTITY", "true")).await;
    let session = a.open_as("2025-11-25", &ANNA).await;
    for replica in [&a, &b] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let mut other = replica.call(method.clone()).session(&session).headers(&BEN);
            if method == Method::POST {
                other = replica
                    .post(&tool(1, "echo", json!({})))
                    .session(&session)
                    .headers(&BEN);
            }
            is_unknown(other.send().await).await;
        }
        let nobody = replica
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send();
        assert_eq!(nobody.await.status, 401);
        let hers = replica
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .headers(&ANNA);
        assert_eq!(hers.send().await.status, 200);
    }
}

#[tokio::test]
async fn alone_nothing_is_different() {
    let bridge = scripted(&["--modern"]).ready().await;
    let session = bridge.open("2025-11-25").await;
    assert!(session.len() == 32 && !session.contains('.'), "{session}");
    assert_eq!(
        bridge
            .call(Method::GET)
            .path("/replica")
            .send()
            .await
            .status,
        404
    );
    assert!(!bridge.private("/metrics").await.contains("mcp_handed_over"));
    let answer = modern(&bridge, 1, "echo", json!({})).send().await;
    assert_eq!(answer.status, 200);
    let wrong = scripted(&[]).with("REPLICAS", "tasks.mcp-fetch");
    let directory = tempfile::tempdir().unwrap();
    let (command, _) = wrong.command(&directory);
    let logs = testkit::process::Logs::default();
    let mut process = command.start(&logs).unwrap();
    assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(1));
    logs.wait_for("REPLICAS").await.unwrap();
    logs.wait_for("is not host:port").await.unwrap();
}
