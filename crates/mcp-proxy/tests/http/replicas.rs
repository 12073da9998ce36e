//! Several replicas of one service: what one of them has is answered by any of them, and by nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::network::free_port;
use testkit::wait::{self, PATIENCE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::bridge::{Answer, Bridge, Setup, scripted, tool};
use crate::eras::{modern, post, request};
use crate::translation::{call, steps, told};

const ANNA: [(&str, &str); 4] = [
    ("x-auth-subject", "github:1"),
    ("x-auth-login", "anna"),
    ("x-auth-client", "client-a"),
    ("x-auth-scope", "mcp"),
];
const BEN: [(&str, &str); 4] = [
    ("x-auth-subject", "github:2"),
    ("x-auth-login", "ben"),
    ("x-auth-client", "client-a"),
    ("x-auth-scope", "mcp"),
];

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
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        let recipe = || {
            let journal = journal.to_str().unwrap();
            told(&["--journal", journal]).with("STREAM_AFTER", stream_after)
        };
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
        let has = |what| std::fs::read_to_string(&journal).unwrap().contains(what);
        let declined = wait::until_true("the answer", PATIENCE, || has("decline"));
        let again = post(&b, &request(2, "tools/call", params)).send();
        if stream_after == "0" {
            let stream = again.await;
            assert!(stream.is_stream());
            declined.await.unwrap();
            assert!(!has("notifications/cancelled"));
            drop(stream);
        } else {
            tokio::select! {
                answer = again => panic!("{}", answer.status),
                declined = declined => declined.unwrap(),
            }
        }
        wait::until_true("the cancellation", PATIENCE, || {
            has("notifications/cancelled")
        })
        .await
        .unwrap();
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
async fn a_forged_id_leads_nowhere() {
    // Somebody who is no replica, where an address in an id would lead.
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let (a, b) = two(|| scripted(&[])).await;
    let session = a.open("2025-11-25").await;
    let (tag, random) = session.split_once('.').unwrap();
    assert_eq!((tag.len(), random.len()), (11, 32), "{session}");
    assert!(!session.contains(&a.public.port().to_string()));
    let other = b.open("2025-11-25").await;
    assert_ne!(other.split_once('.').unwrap().0, tag);
    for forged in [
        format!("AAAAAAAAAAA.{random}"),
        format!("{tag}.{}", "A".repeat(32)),
        format!("{tag}.{random}x"),
        format!("{}.{random}", other.split_once('.').unwrap().0),
        format!("{tag}."),
        random.to_owned(),
        address.to_string(),
        format!("http://{address}/.{random}"),
        format!("{tag}@{address}.{random}"),
        "x".repeat(4000),
    ] {
        let asked = b.post(&tool(1, "echo", json!({}))).session(&forged).send();
        is_unknown(asked.await).await;
    }
    let visit = tokio::time::timeout(Duration::from_millis(1), trap.accept());
    assert!(visit.await.is_err(), "somebody was led into the trap");
    b.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn what_was_handed_over_is_not_handed_on() {
    let (a, b) = two(|| scripted(&[])).await;
    let session = a.open("2025-11-25").await;
    let name = a.call(Method::GET).path("/replica").send().await;
    assert_eq!(name.status, 200);
    let name = { name }.text().await;
    assert_eq!(name.len(), 22, "{name}");
    b.tool(&session, "echo", json!({})).await;
    let asked = |by: &str| {
        b.post(&tool(1, "echo", json!({})))
            .session(&session)
            .header("x-handed-over-by", by)
            .send()
    };
    is_unknown(asked(&name).await).await;
    // What a client says of itself counts for nothing.
    for claim in ["", "me", &session, "AAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(asked(claim).await.status, 200, "{claim}");
    }
}

/// A replica that does what it likes: tells `name`, keeps what is handed to it, answers `answer`, and goes.
async fn stranger(listener: TcpListener, name: &str, answer: &str) -> String {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        if head.starts_with("GET /replica ") {
            let length = name.len();
            let said = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}"
            );
            stream.write_all(said.as_bytes()).await.unwrap();
            continue;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        return head;
    }
}

/// A name, and its tag.
const STRANGER: (&str, &str) = ("AAAAAAAAAAAAAAAAAAAAAA", "ilvbTMFRZBI");

/// A replica among whose peers is a stranger, and what the stranger is handed when a client asks for a session of his.
async fn beside_a_stranger(answer: &str) -> (Bridge, String, Answer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let list = format!("127.0.0.1:1,{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    let heard = tokio::spawn(async move { stranger(listener, STRANGER.0, &answer).await });
    let bridge = scripted(&[])
        .with("REPLICAS", &list)
        .with("REQUIRE_IDENTITY", "true")
        .ready()
        .await;
    let session = format!("{}.{}", STRANGER.1, "A".repeat(32));
    let answer = bridge
        .post(&tool(5, "echo", json!({})))
        .session(&session)
        .headers(&ANNA)
        .header("host", "localhost:1234")
        .header("mcp-protocol-version", "2025-11-25")
        .header("x-handed-over-by", "me")
        .header("connection", "x-private")
        .header("x-private", "1")
        .send()
        .await;
    let heard = heard.await.unwrap();
    (bridge, heard, answer)
}

#[tokio::test]
async fn a_request_is_handed_over_as_it_came() {
    let answer = "HTTP/1.1 418 I\r\ncontent-length: 2\r\nx-more: 1\r\nx-more: 2\r\nkeep-alive: timeout=1\r\n\r\n{}";
    let (bridge, heard, mut answer) = beside_a_stranger(answer).await;
    let name = bridge.call(Method::GET).path("/replica").send().await;
    let name = { name }.text().await;
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(lines[0], "POST /mcp HTTP/1.1");
    for expected in [
        "x-auth-subject: github:1",
        "x-auth-login: anna",
        "x-auth-client: client-a",
        "x-auth-scope: mcp",
        "host: localhost:1234",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "mcp-protocol-version: 2025-11-25",
        &format!("x-handed-over-by: {name}"),
    ] {
        let found = lines.iter().filter(|line| **line == expected);
        assert_eq!(found.count(), 1, "{expected} in {heard}");
    }
    assert!(
        !heard.contains("x-private") && !heard.contains(": me"),
        "{heard}"
    );
    assert_eq!(answer.status, 418);
    assert_eq!(answer.headers.get_all("x-more").iter().count(), 2);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.text().await, "{}");
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_told_apart_from_an_answer() {
    let (bridge, _, mut answer) = beside_a_stranger("").await;
    assert_eq!(answer.status, 502);
    let body = answer.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!(5), &json!(-32603))
    );
    assert_eq!(handed_over(&bridge, "broken").await, 1);
}

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
