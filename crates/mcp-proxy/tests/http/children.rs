//! Children that misbehave: each costs itself, never the bridge or another session.

mod start;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::process::Signal;
use testkit::wait::{self, PATIENCE};

use crate::bridge::{initialize, scripted, stubborn, tool};

/// Waits until a process is gone; a zombie is not.
pub(crate) async fn gone(pid: &str) {
    let path = format!("/proc/{pid}");
    wait::until_true(&format!("the end of process {pid}"), PATIENCE, || {
        !std::path::Path::new(&path).exists()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_child_that_dies_fails_every_call_at_once_and_its_session_is_gone() {
    let bridge = scripted(&[]).start().await;
    let (session, other) = (
        bridge.open("2025-11-25").await,
        bridge.open("2025-11-25").await,
    );
    let waiting = bridge
        .post(&tool("held", "hold", json!({})))
        .session(&session)
        .send();
    let dying = async {
        bridge.tool(&session, "echo", json!({})).await;
        let start = Instant::now();
        let answer = bridge
            .post(&tool("last", "exit", json!({ "status": 7 })))
            .session(&session)
            .send()
            .await
            .message()
            .await;
        (answer, start.elapsed())
    };
    let (mut waiting, (dying, took)) = tokio::join!(waiting, dying);
    for (answer, id) in [(waiting.message().await, "held"), (dying, "last")] {
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(-32603))
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message, "the MCP server process ended with exit status 7");
    }
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send()
            .await
            .status,
        404
    );
    bridge.tool(&other, "echo", json!({})).await;
    bridge.open("2025-11-25").await;
}

#[tokio::test]
async fn a_child_killed_by_a_signal_says_so() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let answer = bridge
        .post(&tool(1, "abort", json!({})))
        .session(&session)
        .send()
        .await
        .message()
        .await;
    assert_eq!(
        answer["error"]["message"],
        "the MCP server process was killed by signal 6"
    );
}

#[tokio::test]
async fn garbage_on_stdout_costs_one_log_line_each() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge.tool(&session, "garbage", json!({})).await,
        "after the garbage"
    );
    assert_eq!(
        bridge
            .tool(&session, "echo", json!({}))
            .await
            .matches("echo")
            .count(),
        1
    );
    for told in [
        "it is not UTF-8",
        "skipped a line of the MCP server's stdout",
    ] {
        bridge.logs.wait_for(told).await.unwrap();
    }
}

#[tokio::test]
async fn an_over_long_line_is_dropped_without_being_gathered() {
    let bridge = scripted(&[])
        .with("MAX_MESSAGE_BYTES", "65536")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let memory = || {
        let statm =
            std::fs::read_to_string(format!("/proc/{}/statm", bridge.process.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = memory();
    assert_eq!(
        bridge
            .tool(&session, "long_line", json!({ "bytes": 64 << 20 }))
            .await,
        "after the long line"
    );
    assert!(memory() < before + (16 << 20), "{before} -> {}", memory());
    let told = "dropped an over-long line";
    bridge.logs.wait_for(told).await.unwrap();
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn ten_mebibytes_go_both_ways() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .tool(&session, "big", json!({ "bytes": 10 << 20 }))
            .await
            .len(),
        10 << 20
    );
    let text = "y".repeat(7 << 20);
    let echoed = bridge.tool(&session, "echo", json!({ "text": text })).await;
    let echoed: Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!(
        echoed["params"]["arguments"]["text"]
            .as_str()
            .unwrap()
            .len(),
        text.len()
    );
}

#[tokio::test]
async fn a_flood_on_stderr_is_drained_and_bounded_in_the_log() {
    let mut bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .tool(&session, "stderr", json!({ "lines": 50_000 }))
            .await,
        "after the flood"
    );
    bridge.process.signal(Signal::TERM).unwrap();
    assert!(bridge.process.wait(PATIENCE).await.unwrap().success());
    let lines = bridge.logs.text().matches("eeeeeeeeee\"").count();
    assert!((1..5000).contains(&lines), "{lines} lines were logged");
}

#[tokio::test]
async fn a_child_that_ignores_everything_is_killed() {
    let bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let start = Instant::now();
    bridge
        .call(reqwest::Method::DELETE)
        .session(&session)
        .send()
        .await;
    gone(&pid).await;
    assert!(
        start.elapsed() >= Duration::from_secs(6),
        "it was given time: {:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
}

/// One that reads nothing more cannot answer either: nobody waits for it until the time for a request is over.
#[tokio::test]
async fn a_child_that_closes_its_stdin_fails_every_call_at_once_and_is_ended() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let call = |id: u32, name: &str| {
        let call = bridge.post(&tool(id, name, json!({}))).session(&session);
        async { call.send().await.message().await }
    };
    let held = call(1, "hold");
    let next = async {
        let deaf = bridge.tool(&session, "deaf", json!({})).await;
        assert_eq!(deaf, "nothing more is read");
        call(2, "echo").await
    };
    let (held, next) = tokio::join!(held, next);
    for answer in [held, next] {
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message, "the MCP server process closed its standard input");
    }
    gone(&pid).await;
    bridge.logs.wait_for("and is ended for that").await.unwrap();
    let metrics = bridge.private("/metrics").await;
    assert!(metrics.contains(r#"cause="deaf"} 1"#), "{metrics}");
    let call = bridge.post(&tool(3, "echo", json!({}))).session(&session);
    assert_eq!(call.send().await.status, 404);
}

#[tokio::test]
async fn grandchildren_end_with_the_group() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let grandchild = bridge.tool(&session, "fork", json!({})).await;
    bridge
        .call(reqwest::Method::DELETE)
        .session(&session)
        .send()
        .await;
    gone(&grandchild).await;
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_does_not_hide_the_end_of_the_child() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let held = bridge
        .post(&tool("held", "hold", json!({})))
        .session(&session)
        .send();
    let fork = async {
        bridge.tool(&session, "echo", json!({})).await;
        bridge.tool(&session, "fork", json!({ "exit": true })).await
    };
    let start = Instant::now();
    let (mut held, grandchild) = tokio::join!(held, fork);
    let answer = held.message().await;
    assert_eq!(
        answer["error"]["message"],
        "the MCP server process ended with exit status 3"
    );
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    gone(&grandchild).await;
}

#[tokio::test]
async fn a_person_may_end_a_call_of_theirs_without_pausing_others() {
    let bridge = scripted(&[]).ready().await;
    for _ in 0..8 {
        let session = bridge.open("2025-11-25").await;
        let call = bridge
            .post(&tool(1, "exit", json!({ "status": 1 })))
            .session(&session);
        assert_eq!(call.send().await.message().await["error"]["code"], -32603);
    }
    bridge.open("2025-11-25").await;
}

#[tokio::test]
async fn an_unanswered_initialize_ends_its_child() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let bridge = scripted(&["--silent", "--announce", pids.to_str().unwrap()])
        .with_file("[proxy.limits]\ninitialize = 1\n")
        .start()
        .await;
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(answer.status, 504);
    let body = answer.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!("init"), &json!(-32603))
    );
    for pid in std::fs::read_to_string(&pids).unwrap().lines().take(2) {
        gone(pid).await;
    }
}

#[tokio::test]
async fn an_unanswered_initialize_ends_its_child_also_for_who_takes_only_streams() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let flags = ["--silent-initialize", "--announce", pids.to_str().unwrap()];
    let bridge = scripted(&flags)
        .with("CHILD_WARM_SPARE", "false")
        .with("INITIALIZE_TIMEOUT", "1")
        .ready()
        .await;
    let call = bridge.post(&initialize("2025-11-25")).without("accept");
    let mut answer = call.header("accept", "text/event-stream").send().await;
    assert_eq!(answer.status, 200);
    let told = answer.events().await.pop().unwrap().json();
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!("init"), &json!(-32603))
    );
    let message = told["error"]["message"].as_str().unwrap();
    assert_eq!(message, "the MCP server did not answer initialize in time");
    let last = std::fs::read_to_string(&pids).unwrap();
    gone(last.lines().last().unwrap()).await;
}

#[tokio::test]
async fn children_die_with_a_killed_bridge() {
    let mut bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    bridge.process.kill().await.unwrap();
    gone(&pid).await;
}
