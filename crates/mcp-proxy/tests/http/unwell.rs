//! An MCP server that is not well: what is said of it, when it is tried again, and when it is given up.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Bridge, around, initialize, scripted, tool};
use crate::eras;

async fn health(bridge: &Bridge) -> Value {
    serde_json::from_str(&bridge.private("/health").await).unwrap()
}

#[tokio::test]
async fn health_tells_what_the_mcp_server_says_it_is() {
    for (flags, era) in [(&[][..], "legacy"), (&["--modern"][..], "modern")] {
        let bridge = scripted(flags)
            .with("CHILD_WARM_SPARE", "false")
            .ready()
            .await;
        bridge.open("2025-11-25").await;
        let health = health(&bridge).await;
        assert_eq!(health["ready"], true, "{health}");
        assert_eq!(
            health["server"],
            json!({ "name": "scripted-server", "version": "1" })
        );
        assert_eq!(health["era"], era);
        assert_eq!(health["sessions"], 1);
    }
}

#[tokio::test]
async fn a_child_that_ends_at_initialize_is_answered_for() {
    let bridge = scripted(&["--exit-initialize"]).ready().await;
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(
        answer.json().await["error"]["message"],
        "the MCP server process ended with exit status 9"
    );
}

#[tokio::test]
async fn a_child_that_ends_at_once_is_never_ready_and_says_why() {
    let bridge = scripted(&["--exit", "9"]).start().await;
    bridge
        .logs
        .wait_for("the MCP server does not answer")
        .await
        .unwrap();
    assert_eq!(bridge.readiness().await, 503);
    let health = health(&bridge).await;
    assert_eq!(health["ready"], false);
    assert!(health.to_string().contains("exit status 9"), "{health}");
    assert_eq!(health["server"], Value::Null);
}

#[tokio::test]
async fn a_child_that_keeps_ending_is_not_started_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let bridge = scripted(&["--announce", pids.to_str().unwrap(), "--exit", "9"])
        .start()
        .await;
    let mut refused = wait::until("the pause", PATIENCE, || async {
        let answer = bridge.post(&initialize("2025-11-25")).send().await;
        (answer.status == 503).then_some(answer)
    })
    .await
    .unwrap();
    let again: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&again), "{again}");
    let body = refused.json().await;
    assert_eq!(body["id"], "init");
    assert_eq!(body["error"]["code"], -32603);
    assert!(body.to_string().contains("exit status 9"), "{body}");
    // Nobody makes it start one now.
    let started = || std::fs::read_to_string(&pids).unwrap().lines().count();
    let before = started();
    assert!((5..=6).contains(&before), "{before} were started");
    for _ in 0..20 {
        let answer = bridge.post(&initialize("2025-11-25")).send().await;
        assert_eq!(answer.status, 503);
    }
    assert_eq!(started(), before);
}

#[tokio::test]
async fn a_server_that_begins_to_end_is_not_ready_until_it_answers_again() {
    let bridge = scripted(&["--exit-once-said"])
        .with("CHILD_WARM_SPARE", "false")
        .ready()
        .await;
    bridge.say_exit(true);
    let unready = wait::until("not ready", PATIENCE, || async {
        bridge.post(&initialize("2025-11-25")).send().await;
        (bridge.readiness().await == 503).then_some(())
    });
    unready.await.unwrap();
    let told = health(&bridge).await;
    assert!(told.to_string().contains("exit status 9"), "{told}");
    bridge.say_exit(false);
    // It is asked again without a client: at the latest after the pause.
    wait::until("ready again", Duration::from_secs(45), || async {
        (bridge.readiness().await == 200).then_some(())
    })
    .await
    .unwrap();
    bridge.open("2025-11-25").await;
}

#[tokio::test]
async fn a_program_that_is_gone_is_an_error_of_the_request_and_nothing_of_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("server");
    std::fs::copy(testkit::binaries::built("scripted-server"), &program).unwrap();
    let bridge = around(&[program.to_str().unwrap()])
        .with("CHILD_WARM_SPARE", "false")
        .ready()
        .await;
    std::fs::remove_file(&program).unwrap();
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    let body = answer.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!("init"), &json!(-32603))
    );
    assert!(!body.to_string().contains("server\""), "{body}");
    assert!(
        !body
            .to_string()
            .contains(directory.path().to_str().unwrap())
    );
}

#[tokio::test]
async fn three_unreadable_lines_in_a_row_end_the_child_and_fail_who_waits() {
    for flags in [&[][..], &["--modern"][..]] {
        let bridge = scripted(flags)
            .with("MAX_MESSAGE_BYTES", "65536")
            .ready()
            .await;
        for kind in ["bytes", "long"] {
            let session = bridge.open("2025-11-25").await;
            let call = |lines: u64| {
                let arguments = json!({ "lines": lines, "kind": kind });
                if flags.is_empty() {
                    let body = tool(1, "unreadable", arguments);
                    bridge.post(&body).session(&session)
                } else {
                    eras::modern(&bridge, 1, "unreadable", arguments)
                }
            };
            for _ in 0..2 {
                let answer = call(2).send().await.message().await;
                assert!(answer["result"].is_object(), "{answer}");
            }
            let answer = call(3).send().await.message().await;
            assert_eq!(answer["error"]["code"], -32603, "{answer}");
            assert!(
                answer.to_string().contains("three lines in a row"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn ends_and_calls_are_counted_by_what_became_of_them() {
    let bridge = scripted(&[])
        .with("CHILD_WARM_SPARE", "false")
        .ready()
        .await;
    let end = async |name: &'static str, arguments: Value| {
        let session = bridge.open("2025-11-25").await;
        let call = bridge.post(&tool(1, name, arguments)).session(&session);
        call.send().await.message().await;
    };
    end("exit", json!({ "status": 7 })).await;
    end("abort", json!({})).await;
    end("no such tool", json!({})).await;
    let session = bridge.open("2025-11-25").await;
    bridge
        .call(reqwest::Method::DELETE)
        .session(&session)
        .send()
        .await;
    let wanted = [
        "mcp_children_ended_total{cause=\"failure\"} 1",
        "mcp_children_ended_total{cause=\"signal\"} 1",
        // Two probes and the deleted session.
        "mcp_children_ended_total{cause=\"asked\"} 3",
        "mcp_children_started_total 6",
        "mcp_calls_total{outcome=\"answered\"} 4",
        "mcp_calls_total{outcome=\"failed\"} 1",
        "mcp_calls_total{outcome=\"lost\"} 2",
        "mcp_sessions 1",
    ];
    wait::until("the counts", PATIENCE, || async {
        let metrics = bridge.private("/metrics").await;
        let all = wanted
            .iter()
            .all(|line| metrics.lines().any(|shown| shown == *line));
        all.then_some(())
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let metrics = bridge.private("/metrics").await;
    let bytes = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(bytes("mcp_bytes_in_total") > 500);
    assert!(bytes("mcp_bytes_out_total") > 500);
}
