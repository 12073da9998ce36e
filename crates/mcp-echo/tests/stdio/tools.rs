//! What each tool says.

use serde_json::json;

use crate::echo::{Echo, text};

#[test]
fn tools_are_listed_and_each_can_be_called() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    let answer = echo.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap().clone();
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "echo",
            "replay_last",
            "stats",
            "timing",
            "whoami",
            "environment",
            "health"
        ]
    );
    for tool in &tools {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        let arguments = json!({"message": "hello", "milliseconds": 0});
        let answer = echo.call(tool["name"].as_str().unwrap(), arguments);
        assert!(answer["result"].get("isError").is_none(), "{answer}");
        assert!(!text(&answer).is_empty(), "{answer}");
    }
}

#[test]
fn an_echo_comes_back_byte_for_byte_and_can_be_replayed() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    let none = echo.call("replay_last", json!({}));
    assert_eq!(none["result"]["isError"], true);
    let message = "a\nb\u{2028}\"\\ 世界 \u{0}";
    assert_eq!(
        text(&echo.call("echo", json!({"message": message}))),
        message
    );
    assert_eq!(text(&echo.call("replay_last", json!({}))), message);
}

#[test]
fn wrong_arguments_are_a_result_that_says_so() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    for (name, arguments, says) in [
        ("echo", json!({}), "message must be a string"),
        (
            "timing",
            json!({"milliseconds": 60_001}),
            "milliseconds must be a whole number from 0 to 60000, not 60001",
        ),
        (
            "timing",
            json!({"steps": 0}),
            "steps must be a whole number from 1 to 1000, not 0",
        ),
    ] {
        let answer = echo.call(name, arguments);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert_eq!(text(&answer), says);
    }
}

#[test]
fn timing_reports_progress_before_its_answer() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    echo.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "timing", "arguments": {"milliseconds": 300, "steps": 3}, "_meta": {"progressToken": "p"},
    }}));
    for step in 1..=3 {
        let progress = echo.receive();
        assert_eq!(progress["method"], "notifications/progress", "{progress}");
        assert_eq!(progress["params"]["progressToken"], "p");
        assert_eq!(progress["params"]["progress"], step);
        assert_eq!(progress["params"]["total"], 3);
    }
    let answer = echo.receive();
    assert_eq!(answer["id"], 1);
    let took: u64 = text(&answer)
        .trim_start_matches("asked for 300 ms, took ")
        .trim_end_matches(" ms")
        .parse()
        .unwrap();
    assert!(took >= 300, "{took}");
}

#[test]
fn without_a_token_there_is_no_progress() {
    let mut echo = Echo::start(&[]);
    let answer = echo.call("timing", json!({"milliseconds": 5, "steps": 5}));
    assert!(text(&answer).starts_with("asked for 5 ms"));
}

#[test]
fn a_waiting_call_holds_nobody_up_and_is_never_answered_once_cancelled() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    echo.send(
        &json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
            "name": "timing", "arguments": {"milliseconds": 60_000},
        }}),
    );
    echo.send(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}),
    );
    let stats = echo.data("stats");
    assert_eq!(stats["cancelled"], 1, "{stats}");
    assert!(echo.end().success());
}

#[test]
fn no_tool_shows_the_value_of_a_secret() {
    let mut echo = Echo::start_with(
        &[],
        &[
            ("GITHUB_CLIENT_SECRET", "canary-1"),
            ("MCP_ECHO_API_KEY", "canary-2"),
            ("DATABASE_URL", "canary-3"),
            ("MCP_ECHO_PERSON", "ann"),
        ],
    );
    echo.initialize("2025-11-25");
    let environment = echo.data("environment");
    assert_eq!(environment["shown"], json!({"MCP_ECHO_PERSON": "ann"}));
    assert_eq!(
        environment["hidden"],
        json!(["DATABASE_URL", "GITHUB_CLIENT_SECRET", "MCP_ECHO_API_KEY"])
    );
    for tool in ["environment", "whoami", "stats", "health"] {
        let answer = echo.call(tool, json!({"showSecrets": true})).to_string();
        assert!(!answer.contains("canary"), "{answer}");
    }
}

#[test]
fn whoami_shows_process_and_arguments() {
    let mut echo = Echo::start(&["--", "--user", "github|1"]);
    echo.initialize("2025-06-18");
    let who = echo.data("whoami");
    assert_eq!(who["process"], echo.id());
    assert_eq!(who["parent_process"], std::process::id());
    assert_eq!(
        who["protocol"],
        json!({"version": "2025-06-18", "era": "legacy"})
    );
    assert_eq!(who["client"]["name"], "test");
    let arguments = who["arguments"].as_array().unwrap();
    assert_eq!(arguments.last().unwrap(), "github|1");
}

#[test]
fn stats_count_what_this_process_did() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    echo.call("echo", json!({"message": "1"}));
    echo.call("echo", json!({"message": "2"}));
    echo.request("nope", json!({}));
    let stats = echo.data("stats");
    assert_eq!(stats["calls"], json!({"echo": 2, "stats": 1}));
    assert_eq!(stats["requests"], 5);
    assert_eq!(stats["refused"], 1);
    let mut other = Echo::start(&[]);
    assert_eq!(other.data("stats")["calls"], json!({"stats": 1}));
}
