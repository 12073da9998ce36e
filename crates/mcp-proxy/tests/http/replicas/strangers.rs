//! Ids that nobody gave out, requests that were handed over already, and peers that are not what they should be.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{handed_over, is_unknown, two};
use crate::bridge::{Answer, Bridge, scripted, tool};
use crate::people::ANNA;

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
