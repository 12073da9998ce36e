//! Bad input: each has its exact answer.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use serde_json::json;
use testkit::wait::{self, PATIENCE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bridge::{initialize, scripted, tool};

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{}{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let long = "x".repeat(1025);
    let id = format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#);
    let token = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"_meta":{{"progressToken":"{long}"}}}}}}"#
    );
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("hello", -32700),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} trailing"#,
            -32700,
        ),
        ("42", -32600),
        ("null", -32600),
        (r#"{"id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (&deep, -32600),
        (&id, -32600),
        (&token, -32600),
    ] {
        let mut answer = bridge.post_text(body).session(&session).send().await;
        assert_eq!(answer.status, 400, "{body}");
        let answer = answer.json().await;
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    let not_text = bridge
        .post_text("")
        .session(&session)
        .body(vec![b'"', 0xff, b'"'])
        .send()
        .await;
    assert_eq!(not_text.status, 400);
    // None of it reached the child, and the session goes on.
    let seen = bridge.tool(&session, "notified", json!({})).await;
    assert_eq!(seen.matches("method").count(), 1, "{seen}");
}

#[tokio::test]
async fn the_body_must_be_json() {
    let bridge = scripted(&[]).start().await;
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
    ] {
        let call = bridge
            .post(&initialize("2025-11-25"))
            .without("content-type")
            .header("content-type", good);
        assert_eq!(call.send().await.status, 200, "{good}");
    }
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/jsonx",
    ] {
        let call = bridge
            .post(&initialize("2025-11-25"))
            .without("content-type")
            .header("content-type", wrong);
        assert_eq!(call.send().await.status, 415, "{wrong}");
    }
    assert_eq!(
        bridge
            .post(&initialize("2025-11-25"))
            .without("content-type")
            .send()
            .await
            .status,
        415
    );
    let twice = bridge
        .post(&initialize("2025-11-25"))
        .header("content-type", "application/json");
    assert_eq!(twice.send().await.status, 415);
}

#[tokio::test]
async fn the_client_must_take_an_answer_of_ours() {
    let bridge = scripted(&[]).start().await;
    let call = bridge
        .post(&initialize("2025-11-25"))
        .without("accept")
        .header("accept", "text/html");
    assert_eq!(call.send().await.status, 406);
    let session = bridge.open("2025-11-25").await;
    let call = bridge
        .call(Method::GET)
        .session(&session)
        .without("accept")
        .header("accept", "application/json");
    assert_eq!(call.send().await.status, 406);
    let call = bridge
        .post(&tool(1, "echo", json!({})))
        .session(&session)
        .without("accept");
    let mut only_stream = call.header("accept", "text/event-stream").send().await;
    assert!(only_stream.is_stream());
    assert_eq!(only_stream.message().await["id"], 1);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let bridge = scripted(&[]).start().await;
    for method in [Method::PUT, Method::PATCH, Method::TRACE, Method::HEAD] {
        let answer = bridge.call(method.clone()).send().await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST, GET, DELETE"));
    }
}

#[tokio::test]
async fn a_large_body_is_refused_by_its_length_and_by_counting() {
    let bridge = scripted(&[])
        .with("MAX_MESSAGE_BYTES", "10000")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let fits = tool(1, "echo", json!({ "x": "y".repeat(9000) }));
    assert_eq!(
        bridge.post(&fits).session(&session).send().await.status,
        200
    );
    let large = tool(1, "echo", json!({ "x": "y".repeat(10_000) }));
    let mut announced = bridge.post(&large).session(&session).send().await;
    assert_eq!(announced.status, 413);
    assert_eq!(
        announced.json().await["error"]["message"],
        "the body is larger than 10000 bytes"
    );
    // Without a length it is counted while it comes, and its end is not waited for.
    let mut stream = TcpStream::connect(bridge.public).await.unwrap();
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("3e8\r\n{}\r\n", "y".repeat(1000));
    stream.write_all(chunk.repeat(11).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn large_bodies_are_bounded_together() {
    const LARGE: usize = 1_000_000;
    let bridge = scripted(&[])
        .with("MAX_MESSAGE_BYTES", &LARGE.to_string())
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let large = tool(1, "echo", json!({ "x": "y".repeat(LARGE / 2) }));
    // Twenty that begin and do not end: eight of them have room.
    let begin = async || {
        let mut stream = TcpStream::connect(bridge.public).await.unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {LARGE}\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        status
    };
    let mut uploads: FuturesUnordered<_> = (0..20).map(|_| begin()).collect();
    for _ in 0..12 {
        assert_eq!(&uploads.next().await.unwrap(), b"HTTP/1.1 503");
    }
    let refused = bridge.post(&large).session(&session).send().await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    // Small ones go on, and large ones again when those are gone.
    bridge.tool(&session, "echo", json!({})).await;
    drop(uploads);
    wait::until("room", PATIENCE, || async {
        let answer = bridge.post(&large).session(&session).send().await;
        (answer.status == 200).then_some(())
    })
    .await
    .unwrap();
}
