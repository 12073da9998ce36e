//! An MCP server that runs and does not answer: what is given up, and when it is ended.

use serde_json::{Value, json};

use crate::bridge::{Bridge, Setup, scripted, tool};
use crate::children::gone;
use crate::eras;

/// How a client speaks to which kind of server, and who shares a process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Session,
    SharedBySessions,
    Modern,
    Translated,
}

const KINDS: [Kind; 4] = [
    Kind::Session,
    Kind::SharedBySessions,
    Kind::Modern,
    Kind::Translated,
];

impl Kind {
    fn setup(self) -> Setup {
        let setup = match self {
            Self::Modern => scripted(&["--modern"]),
            Self::SharedBySessions => scripted(&[]).with("CHILD_SHARING", "shared"),
            Self::Session | Self::Translated => scripted(&[]),
        };
        setup.with("REQUEST_TIMEOUT", "1").with("PING_TIMEOUT", "1")
    }

    async fn open(self, bridge: &Bridge) -> Option<String> {
        let has_sessions = matches!(self, Self::Session | Self::SharedBySessions);
        if has_sessions {
            Some(bridge.open("2025-11-25").await)
        } else {
            None
        }
    }
}

/// Calls a tool in a session, or without one.
async fn call(bridge: &Bridge, session: Option<&str>, name: &str) -> Value {
    let call = match session {
        Some(session) => bridge.post(&tool(1, name, json!({}))).session(session),
        None => eras::modern(bridge, 1, name, json!({})),
    };
    call.send().await.message().await
}

#[tokio::test]
async fn a_child_that_hangs_three_times_in_a_row_is_ended() {
    // It answers pings, which excuse nothing.
    let bridge = scripted(&[])
        .with("REQUEST_TIMEOUT", "1")
        .with("PING_TIMEOUT", "1")
        .ready()
        .await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let held = || async {
        let call = bridge.post(&tool(1, "hold", json!({}))).session(&session);
        call.send().await.message().await["error"]["code"].clone()
    };
    // Two of them, and something is said: all is forgiven.
    assert_eq!(tokio::join!(held(), held()), (json!(-32001), json!(-32001)));
    bridge.tool(&session, "echo", json!({})).await;
    assert_eq!(tokio::join!(held(), held()), (json!(-32001), json!(-32001)));
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(held().await, json!(-32001));
    gone(&pid).await;
    let next = bridge.post(&tool(3, "echo", json!({}))).session(&session);
    assert_eq!(next.send().await.status, 404);
    let metrics = bridge.private("/metrics").await;
    let counted = "mcp_calls_total{outcome=\"timed_out\"} 5\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_shared_child_that_hangs_is_ended_and_replaced() {
    let bridge = scripted(&["--modern"])
        .with("REQUEST_TIMEOUT", "1")
        .ready()
        .await;
    let mut answer = eras::modern(&bridge, 0, "pid", json!({})).send().await;
    let pid = answer.message().await["result"]["content"][0]["text"].clone();
    let call = || async {
        let call = eras::modern(&bridge, 1, "hang", json!({}));
        call.send().await.message().await["error"]["code"].clone()
    };
    assert_eq!(
        tokio::join!(call(), call(), call()),
        (json!(-32001), json!(-32001), json!(-32001))
    );
    gone(pid.as_str().unwrap()).await;
    let answer = eras::modern(&bridge, 2, "echo", json!({})).send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_child_that_answers_neither_request_nor_ping_is_ended_whatever_its_kind() {
    let of_kind = async |kind: Kind| {
        let bridge = kind.setup().ready().await;
        let session = kind.open(&bridge).await;
        let pid = call(&bridge, session.as_deref(), "pid").await["result"]["content"][0]["text"]
            .as_str()
            .map(str::to_owned);
        let answer = call(&bridge, session.as_deref(), "hang").await;
        assert_eq!(answer["error"]["code"], -32001, "{kind:?}: {answer}");
        gone(&pid.unwrap()).await;
        bridge.logs.wait_for("and a ping, too").await.unwrap();
        let next = kind.open(&bridge).await;
        let answer = call(&bridge, next.as_deref(), "echo").await;
        assert!(answer["result"].is_object(), "{kind:?}: {answer}");
    };
    futures_util::future::join_all(KINDS.map(of_kind)).await;
}

#[tokio::test]
async fn a_child_that_answers_pings_outlives_a_request_without_an_answer() {
    let of_kind = async |kind: Kind| {
        let bridge = kind.setup().ready().await;
        let session = kind.open(&bridge).await;
        let pid = call(&bridge, session.as_deref(), "pid").await["result"].clone();
        // The second is given up when the ping after the first would be overdue.
        for _ in 0..2 {
            let answer = call(&bridge, session.as_deref(), "hold").await;
            assert_eq!(answer["error"]["code"], -32001, "{kind:?}: {answer}");
        }
        let again = call(&bridge, session.as_deref(), "pid").await["result"].clone();
        assert_eq!(again, pid, "{kind:?}");
    };
    futures_util::future::join_all(KINDS.map(of_kind)).await;
}

#[tokio::test]
async fn what_one_session_is_not_answered_is_no_proof_while_the_shared_child_answers_another() {
    let bridge = Kind::SharedBySessions.setup().ready().await;
    let (one, two) = (
        bridge.open("2025-11-25").await,
        bridge.open("2025-11-25").await,
    );
    let pid = call(&bridge, Some(&two), "pid").await["result"].clone();
    for _ in 0..3 {
        let answer = call(&bridge, Some(&one), "hold").await;
        assert_eq!(answer["error"]["code"], -32001, "{answer}");
        assert_eq!(call(&bridge, Some(&two), "pid").await["result"], pid);
    }
    // Nobody is answered any more: every session ends with the child.
    let unanswered = [&one, &two, &one].map(|session| call(&bridge, Some(session), "hold"));
    for answer in futures_util::future::join_all(unanswered).await {
        assert_eq!(answer["error"]["code"], -32001, "{answer}");
    }
    gone(pid["content"][0]["text"].as_str().unwrap()).await;
    for session in [&one, &two] {
        let late = bridge.post(&tool(1, "echo", json!({}))).session(session);
        assert_eq!(late.send().await.status, 404);
    }
}

#[tokio::test]
async fn progress_gives_a_request_more_time_but_not_for_ever() {
    let of_kind = async |kind: Kind| {
        let bridge = kind
            .setup()
            .with("REQUEST_TOTAL_TIMEOUT", "4")
            .ready()
            .await;
        let session = kind.open(&bridge).await;
        let slow = async |steps: u64| {
            let arguments = json!({ "steps": steps, "pause_ms": 250 });
            let mut params = json!({ "name": "progress", "arguments": arguments });
            params["_meta"] = if session.is_some() {
                json!({})
            } else {
                eras::meta()
            };
            params["_meta"]["progressToken"] = json!("t");
            let body = eras::request(1, "tools/call", params);
            let call = match &session {
                Some(session) => bridge.post(&body).session(session),
                None => eras::post(&bridge, &body),
            };
            call.send().await.message().await
        };
        // Longer than REQUEST_TIMEOUT, and longer than REQUEST_TOTAL_TIMEOUT.
        let answer = slow(9).await;
        assert!(answer["result"].is_object(), "{kind:?}: {answer}");
        let answer = slow(40).await;
        assert_eq!(answer["error"]["code"], -32001, "{kind:?}: {answer}");
    };
    futures_util::future::join_all([Kind::Session, Kind::Modern, Kind::Translated].map(of_kind))
        .await;
}
