//! Who shares a child: nobody, the sessions of one person, everybody.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Bridge, Call, Setup, around, initialize, scripted, tool};
use crate::children::gone;
use crate::eras;
use crate::people::{ANNA, ANNA_ELSEWHERE, BEN, Person};

fn sharing(flags: &[&str], how: &str) -> Setup {
    scripted(flags)
        .with("REQUIRE_IDENTITY", "true")
        .with("CHILD_SHARING", how)
}

/// A session and its person.
struct Open<'b> {
    bridge: &'b Bridge,
    id: String,
    who: Person,
}

impl<'b> Open<'b> {
    async fn new(bridge: &'b Bridge, who: Person) -> Self {
        let id = bridge.open_as("2025-11-25", &who).await;
        Self { bridge, id, who }
    }

    fn post(&self, body: &Value) -> Call<'b> {
        self.bridge.post(body).session(&self.id).headers(&self.who)
    }

    fn listen(&self) -> Call<'b> {
        let call = self.bridge.call(Method::GET);
        call.session(&self.id).headers(&self.who)
    }

    async fn call(&self, name: &str, arguments: Value) -> Value {
        self.post(&tool(1, name, arguments))
            .send()
            .await
            .message()
            .await
    }

    async fn pid(&self) -> String {
        let answer = self.call("pid", json!({})).await;
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[tokio::test]
async fn nobody_waits_for_the_child_of_somebody_else() {
    let server = testkit::binaries::built("scripted-server");
    let script = format!(
        "[ \"$1\" = anna ] && {{ touch asked; exec {0} --silent-initialize; }}; exec {0}",
        server.display()
    );
    let bridge = around(&["sh", "-c", &script, "-", "{user.login}"])
        .with("REQUIRE_IDENTITY", "true")
        .with("CHILD_SHARING", "person")
        .with("INITIALIZE_TIMEOUT", "3")
        .ready()
        .await;
    let unanswered = bridge.post(&initialize("2025-11-25")).headers(&ANNA).send();
    let other = async {
        wait::until_true("the child of Anna", PATIENCE, || bridge.has_file("asked"))
            .await
            .unwrap();
        Open::new(&bridge, BEN).await.pid().await
    };
    tokio::select! {
        answer = unanswered => panic!("Ben waited until {}", answer.status),
        _ = other => {}
    }
}

#[tokio::test]
async fn sessions_of_one_person_share_a_child_and_nothing_else() {
    let bridge = sharing(&[], "person").ready().await;
    let one = Open::new(&bridge, ANNA).await;
    let two = Open::new(&bridge, ANNA_ELSEWHERE).await;
    let other = Open::new(&bridge, BEN).await;
    assert_ne!(one.id, two.id);
    assert_eq!(one.pid().await, two.pid().await);
    assert_ne!(one.pid().await, other.pid().await);
    // Equal ids and tokens at once, answers out of order.
    let progress = async |open: &Open<'_>| {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
            "name": "progress", "arguments": { "steps": 3 }, "_meta": { "progressToken": "t" } } });
        open.post(&body).send().await.events().await
    };
    let (first, second) = tokio::join!(progress(&one), progress(&two));
    for events in [first, second] {
        let (answer, rest) = events.split_last().unwrap();
        assert_eq!(answer.json()["id"], 7);
        assert_eq!(
            rest.len(),
            4,
            "the priming event and three steps of its own"
        );
        for event in &rest[1..] {
            assert_eq!(event.json()["params"]["progressToken"], "t");
        }
    }
    // A session answers only to its own person and client, as ever.
    let foreign = bridge.post(&tool(1, "pid", json!({}))).session(&one.id);
    assert_eq!(foreign.headers(&ANNA_ELSEWHERE).send().await.status, 404);
}

#[tokio::test]
async fn the_answer_to_initialize_is_the_childs_for_every_session() {
    let bridge = sharing(&[], "person").ready().await;
    let open = async |id: Value, version: &str| {
        let mut body = initialize(version);
        body["id"] = id.clone();
        let mut answer = bridge.post(&body).headers(&ANNA).send().await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("mcp-session-id").is_some());
        let answer = answer.message().await;
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["protocolVersion"], version);
        assert_eq!(answer["result"]["serverInfo"]["name"], "scripted-server");
    };
    for version in ["2025-11-25", "2025-06-18", "2025-11-25"] {
        open(json!("text"), version).await;
        open(json!(5), version).await;
    }
    let health = bridge.private("/health").await;
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["sessions"], 6);
    // One child for each revision that was asked for, and the spare one.
    let children = health["children"].as_u64().unwrap();
    assert!((2..=3).contains(&children), "{health}");
}

#[tokio::test]
async fn what_names_no_call_goes_to_the_one_session_with_calls_or_to_none() {
    let bridge = sharing(&[], "person").ready().await;
    let one = Open::new(&bridge, ANNA).await;
    let two = Open::new(&bridge, ANNA).await;
    // One session has a call: its question and its log are its own.
    let mut asking = one.post(&tool(1, "ask", json!({}))).send().await;
    asking.event().await.unwrap();
    let question = asking.event().await.unwrap().json();
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": ["mine"] } });
    let foreign = two.post(&answer).send().await;
    assert_eq!(foreign.status, 202, "dropped: it was not asked");
    assert_eq!(one.post(&answer).send().await.status, 202);
    assert!(asking.event().await.unwrap().data.contains("mine"));
    // Both have one: nobody knows whose the log is.
    let held = one.post(&tool(2, "hold", json!({}))).send();
    let meanwhile = async {
        two.call("echo", json!({})).await;
        let mut log = two
            .post(&tool(3, "log", json!({ "data": "whose?" })))
            .send()
            .await;
        assert!(!log.is_stream(), "no log came with it");
        let asked = two.call("ask", json!({})).await;
        assert!(
            asked.to_string().contains("cannot be told whose"),
            "{asked}"
        );
        two.call("release", json!({})).await;
        log.json().await
    };
    let (mut held, _) = tokio::join!(held, meanwhile);
    assert!(held.message().await["result"].is_object());
    // What concerns all reaches all.
    let (mut first, mut second) = (one.listen().send().await, two.listen().send().await);
    first.event().await.unwrap();
    second.event().await.unwrap();
    one.call("notify", json!({ "note": "all" })).await;
    for stream in [&mut first, &mut second] {
        let note = stream.event().await.unwrap().json();
        assert_eq!(note["params"]["note"], "all", "{note}");
    }
}

#[tokio::test]
async fn what_changed_for_one_person_is_told_to_nobody_where_persons_share() {
    for (how, other) in [("person", ANNA_ELSEWHERE), ("shared", BEN)] {
        let bridge = sharing(&[], how).ready().await;
        let one = Open::new(&bridge, ANNA).await;
        let two = Open::new(&bridge, other).await;
        assert_eq!(one.pid().await, two.pid().await);
        let mut streams = [one.listen().send().await, two.listen().send().await];
        for stream in &mut streams {
            assert_eq!(stream.event().await.unwrap().data, "");
        }
        let updated = "notifications/resources/updated";
        let first = json!({ "method": updated, "note": "of one" });
        one.call("notify", first).await;
        one.call("notify", json!({ "note": "all" })).await;
        for stream in &mut streams {
            let mut note = stream.event().await.unwrap().json();
            if how == "person" {
                assert_eq!(note["method"], updated);
                note = stream.event().await.unwrap().json();
            }
            assert_eq!(note["params"]["note"], "all", "{how}: {note}");
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_leaves_the_shared_child_and_a_child_that_ends_takes_all_sessions() {
    let bridge = sharing(&[], "person").ready().await;
    let one = Open::new(&bridge, ANNA).await;
    let two = Open::new(&bridge, ANNA).await;
    let pid = two.pid().await;
    let deleted = bridge.call(Method::DELETE).session(&one.id).headers(&ANNA);
    assert_eq!(deleted.send().await.status, 204);
    assert_eq!(
        one.post(&tool(1, "pid", json!({}))).send().await.status,
        404
    );
    assert_eq!(two.pid().await, pid);
    let three = Open::new(&bridge, ANNA).await;
    assert_eq!(three.pid().await, pid);
    let waiting = two.post(&tool("held", "hold", json!({}))).send();
    let ending = async {
        three.call("echo", json!({})).await;
        three.call("exit", json!({ "status": 7 })).await
    };
    let (mut waiting, ending) = tokio::join!(waiting, ending);
    for answer in [waiting.message().await, ending] {
        assert_eq!(
            answer["error"]["message"],
            "the MCP server process ended with exit status 7"
        );
    }
    for open in [&two, &three] {
        assert_eq!(
            open.post(&tool(1, "pid", json!({}))).send().await.status,
            404
        );
    }
    assert_ne!(Open::new(&bridge, ANNA).await.pid().await, pid);
}

#[tokio::test]
async fn a_shared_child_without_sessions_ends_after_the_idle_time() {
    let bridge = sharing(&[], "person")
        .with("SESSION_TIMEOUT", "1")
        .ready()
        .await;
    let one = Open::new(&bridge, ANNA).await;
    gone(&one.pid().await).await;
}

#[tokio::test]
async fn everybody_shares_one_child_where_the_server_keeps_nothing() {
    for flags in [&[][..], &["--modern"][..]] {
        let bridge = sharing(flags, "shared").ready().await;
        let one = Open::new(&bridge, ANNA).await;
        let two = Open::new(&bridge, BEN).await;
        assert_eq!(one.pid().await, two.pid().await);
        if !flags.is_empty() {
            let pid = async |who: &Person| {
                let call = eras::modern(&bridge, 1, "pid", json!({})).headers(who);
                call.send().await.message().await["result"].clone()
            };
            assert_eq!(pid(&ANNA).await, pid(&BEN).await);
        }
    }
}

#[tokio::test]
async fn sessions_that_share_are_bounded_too() {
    let bridge = sharing(&[], "shared")
        .with("MAX_SESSIONS", "3")
        .with("MAX_SESSIONS_PER_SUBJECT", "2")
        .ready()
        .await;
    let open = async |who: &Person| {
        let call = bridge.post(&initialize("2025-11-25")).headers(who);
        call.send().await.status
    };
    for (who, status) in [
        (&ANNA, 200),
        (&ANNA, 200),
        (&ANNA, 429),
        (&BEN, 200),
        (&BEN, 503),
    ] {
        assert_eq!(open(who).await, status);
    }
}

#[tokio::test]
async fn a_placeholder_of_the_person_and_a_child_for_everybody_exclude_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let logs = testkit::process::Logs::default();
    let setup = sharing(&["--ignored", "{user.id}"], "shared");
    let (command, _) = setup.command(&directory);
    let mut process = command.start(&logs).unwrap();
    assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(1));
    logs.wait_for("set CHILD_SHARING to session or person")
        .await
        .unwrap();
}
