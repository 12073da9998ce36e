//! Drives the binary over pipes, as an MCP client does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a failed expectation of a test helper is a failed test, and `json!` values read best unborrowed"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Far longer than any answer takes; a test that gets here has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A running server.
struct Echo {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Echo {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-echo"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            stdin,
            lines,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.write(&serde_json::to_vec(message).unwrap());
    }

    fn receive(&self) -> Value {
        let line = self.lines.recv_timeout(LIMIT).expect("no answer");
        serde_json::from_str(&line).unwrap()
    }

    /// Sends a request and returns its answer.
    fn request(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": "r1", "method": method, "params": params}));
        let answer = self.receive();
        assert_eq!(answer["id"], "r1", "{answer}");
        assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
        answer
    }

    fn initialize(&mut self, version: &str) -> Value {
        let answer = self.request(
            "initialize",
            json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}),
        );
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": name, "arguments": arguments}))
    }

    /// The data of a tool that answers with data.
    fn data(&mut self, name: &str) -> Value {
        let answer = self.call(name, json!({}));
        serde_json::from_str(text(&answer)).unwrap()
    }

    /// Closes stdin and waits for the process to end.
    fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            // The reader thread ends with the process: waiting for it is waiting for the process, without sleeping.
            match self.lines.recv_timeout(Duration::from_millis(10)) {
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().unwrap();
                }
            }
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}

fn modern(params: Value) -> Value {
    modern_with("2026-07-28", params)
}

fn modern_with(version: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    params
}

#[test]
fn initialize_echoes_a_supported_revision_and_offers_the_latest_otherwise() {
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut echo = Echo::start(&[]);
        let result = &echo.initialize(asked)["result"];
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"]["name"], "mcp-echo");
        assert!(result["capabilities"]["tools"].is_object(), "{result}");
        assert!(result.get("resultType").is_none(), "{result}");
    }
}

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
fn ten_mebibytes_go_both_ways() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    let message = "x".repeat(10 * 1024 * 1024);
    assert_eq!(
        text(&echo.call("echo", json!({"message": message}))),
        message
    );
}

#[test]
fn an_overlong_line_is_refused_and_the_next_one_answered() {
    let mut echo = Echo::start(&[]);
    echo.write(&vec![b' '; 17 * 1024 * 1024]);
    let refused = echo.receive();
    assert_eq!(refused["error"]["code"], -32700, "{refused}");
    assert_eq!(echo.request("ping", json!({}))["result"], json!({}));
}

#[test]
fn wrong_messages_get_the_errors_of_json_rpc() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-11-25");
    for (line, code, id) in [
        ("{", -32700, Value::Null),
        ("42", -32600, Value::Null),
        ("[]", -32600, Value::Null),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            -32600,
            Value::Null,
        ),
        (r#"{"id":1,"method":"ping"}"#, -32600, json!(1)),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            -32600,
            Value::Null,
        ),
        (r#"{"jsonrpc":"2.0","id":2,"method":7}"#, -32600, json!(2)),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"nope"}"#,
            -32601,
            json!(3),
        ),
        (
            r#"{"jsonrpc":"2.0","id":4,"method":"server/discover"}"#,
            -32602,
            json!(4),
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"nope"}}"#,
            -32602,
            json!(5),
        ),
        (
            r#"{"jsonrpc":"2.0","id":6,"method":"initialize","params":{}}"#,
            -32602,
            json!(6),
        ),
    ] {
        echo.write(line.as_bytes());
        let answer = echo.receive();
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert_eq!(answer["id"], id, "{line}: {answer}");
    }
    // Answers and unknown notifications are taken without a word.
    echo.write(br#"{"jsonrpc":"2.0","id":9,"result":{}}"#);
    echo.write(br#"{"jsonrpc":"2.0","method":"notifications/unknown"}"#);
    assert_eq!(echo.request("ping", json!({}))["result"], json!({}));
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
fn a_batch_is_answered_in_the_revision_that_has_batches() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-03-26");
    echo.send(&json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/unknown"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "timing", "arguments": {"milliseconds": 1}}},
        {"jsonrpc": "2.0", "id": 3, "method": "nope"},
    ]));
    let answers = echo.receive();
    assert_eq!(answers[0]["id"], 1);
    assert_eq!(answers[1]["id"], 2);
    assert!(text(&answers[1]).starts_with("asked for 1 ms"));
    assert_eq!(answers[2]["error"]["code"], -32601);
    assert_eq!(answers.as_array().unwrap().len(), 3);
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
fn discover_tells_the_modern_revision() {
    let mut echo = Echo::start(&[]);
    let answer = echo.request("server/discover", modern(json!({})));
    let result = &answer["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["cacheScope"], "private");
    assert!(result["ttlMs"].is_u64(), "{result}");
    assert!(result["capabilities"]["tools"].is_object(), "{result}");
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "mcp-echo"
    );
}

#[test]
fn modern_requests_need_no_handshake() {
    let mut echo = Echo::start(&[]);
    let list = echo.request("tools/list", modern(json!({})));
    assert_eq!(list["result"]["resultType"], "complete");
    assert!(list["result"]["ttlMs"].is_u64(), "{list}");
    let call = echo.request(
        "tools/call",
        modern(json!({"name": "whoami", "arguments": {}})),
    );
    let result = &call["result"];
    assert_eq!(result["resultType"], "complete");
    assert!(result.get("ttlMs").is_none(), "{result}");
    assert_eq!(
        result["structuredContent"]["protocol"],
        json!({"version": "2026-07-28", "era": "modern"})
    );
    assert_eq!(result["structuredContent"]["client"]["name"], "test");
    assert_eq!(
        result["structuredContent"]["client_capabilities"],
        json!({"elicitation": {}})
    );
}

#[test]
fn modern_requests_are_held_to_their_form() {
    let mut echo = Echo::start(&[]);
    let unknown = echo.request("tools/list", modern_with("2099-01-01", json!({})));
    assert_eq!(unknown["error"]["code"], -32022);
    assert_eq!(
        unknown["error"]["data"],
        json!({"supported": ["2026-07-28"], "requested": "2099-01-01"})
    );
    let no_capabilities =
        json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    assert_eq!(
        echo.request("tools/list", no_capabilities)["error"]["code"],
        -32602
    );
    for removed in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        let answer = echo.request(removed, modern(json!({})));
        assert_eq!(answer["error"]["code"], -32601, "{removed}: {answer}");
    }
}

#[test]
fn a_server_of_one_era_refuses_the_other() {
    let mut legacy = Echo::start(&["--era", "legacy"]);
    let answer = legacy.request("server/discover", modern(json!({})));
    assert_eq!(answer["error"]["code"], -32601);
    assert_eq!(
        legacy.initialize("2025-11-25")["result"]["protocolVersion"],
        "2025-11-25"
    );

    let mut modern_only = Echo::start(&["--era", "modern"]);
    assert_eq!(
        modern_only.initialize("2025-11-25")["error"]["code"],
        -32601
    );
    let answer = modern_only.request("server/discover", modern(json!({})));
    assert_eq!(answer["result"]["resultType"], "complete");
}

#[test]
fn structured_content_is_left_out_where_it_is_unknown() {
    for (version, expected) in [("2025-03-26", false), ("2025-06-18", true)] {
        let mut echo = Echo::start(&[]);
        echo.initialize(version);
        let answer = echo.call("health", json!({}));
        let result = answer["result"].as_object().unwrap();
        assert_eq!(
            result.contains_key("structuredContent"),
            expected,
            "{answer}"
        );
    }
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
    assert_eq!(who["process"], echo.child.id());
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

#[test]
fn it_ends_with_its_input_even_while_a_call_waits() {
    let mut echo = Echo::start(&[]);
    echo.send(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "timing", "arguments": {"milliseconds": 60_000},
        }}),
    );
    assert_eq!(echo.request("ping", json!({}))["result"], json!({}));
    let begin = Instant::now();
    assert!(echo.end().success());
    assert!(begin.elapsed() < Duration::from_secs(5));
}
