//! Lines and messages, whatever they ask for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::echo::{Echo, text};

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
