//! 2026-07-28 at its edges: what a POST may be, how its headers may be written, and what its stream carries.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bridge::{Bridge, Setup, scripted};
use crate::eras::{VERSION, meta, modern, post, request};

/// A server of this revision, and an older one that is translated.
fn both() -> [(&'static str, Setup); 2] {
    [
        ("modern", scripted(&["--modern"])),
        ("translated", scripted(&[])),
    ]
}

async fn refused(bridge: &Bridge, body: &Value, status: u16, code: i32) {
    let mut answer = post(bridge, body).send().await;
    let said = answer.json().await;
    assert_eq!(
        (answer.status.as_u16(), &said["error"]["code"]),
        (status, &json!(code)),
        "{body}: {said}"
    );
}

#[tokio::test]
async fn a_notification_is_accepted_and_a_response_or_a_batch_is_not() {
    for (name, setup) in both() {
        let bridge = setup.ready().await;
        let note =
            json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": { "_meta": meta() } });
        let mut answer = post(&bridge, &note).send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().await.as_str()),
            (202, ""),
            "{name}"
        );
        for body in [
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            json!([request(1, "server/discover", json!({}))]),
        ] {
            let call = bridge.post(&body).header("mcp-protocol-version", VERSION);
            let mut answer = call.header("mcp-method", "server/discover").send().await;
            assert_eq!(answer.status, 400, "{name}: {body}");
            assert_eq!(answer.json().await["error"]["code"], -32600);
        }
    }
}

#[tokio::test]
async fn what_belongs_to_sessions_is_ignored_and_nothing_of_it_comes_back() {
    for (name, setup) in both() {
        let bridge = setup.ready().await;
        let session = bridge.open("2025-11-25").await;
        let call = modern(&bridge, 1, "echo", json!({}));
        let call = call.session(&session).header("last-event-id", "1-1");
        let mut answer = call.send().await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.header("mcp-session-id"), None);
        assert_eq!(answer.message().await["id"], 1);
        // GET and DELETE of this era are no methods, even where there is a session.
        for method in [Method::GET, Method::DELETE] {
            let call = bridge.call(method).session(&session);
            let answer = call.header("mcp-protocol-version", VERSION).send().await;
            assert_eq!(answer.status, 405, "{name}");
        }
        bridge.tool(&session, "echo", json!({})).await;
    }
}

#[tokio::test]
async fn each_member_of_meta_is_needed_but_the_name_of_the_client() {
    for (_, setup) in both() {
        let bridge = setup.ready().await;
        let discover = |meta: Value| request(7, "server/discover", json!({ "_meta": meta }));
        for missing in ["protocolVersion", "clientCapabilities"] {
            let mut meta = meta();
            let key = format!("io.modelcontextprotocol/{missing}");
            meta.as_object_mut().unwrap().remove(&key).unwrap();
            refused(&bridge, &discover(meta), 400, -32602).await;
        }
        let mut unknown = meta();
        unknown["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
        let call = post(&bridge, &discover(unknown)).without("mcp-protocol-version");
        let mut answer = call
            .header("mcp-protocol-version", "2099-01-01")
            .send()
            .await;
        let error = answer.json().await["error"].clone();
        assert_eq!(
            (answer.status.as_u16(), &error["code"]),
            (400, &json!(-32022))
        );
        assert_eq!(
            error["data"],
            json!({ "supported": [VERSION], "requested": "2099-01-01" })
        );
        assert_eq!(post(&bridge, &discover(meta())).send().await.status, 200);
    }
}

#[tokio::test]
async fn header_names_have_no_case_and_values_no_space_around_them() {
    let bridge = scripted(&["--modern"]).ready().await;
    let arguments = json!({ "region": "us-west1" });
    let params = json!({ "name": "regional", "arguments": arguments });
    let body = request(1, "tools/call", params).to_string();
    for (name, region, status) in [
        ("regional", "us-west1", "200"),
        ("Regional", "us-west1", "400"),
        ("regional", "US-WEST1", "400"),
        ("regional", "=?base64?!!!!?=", "400"),
        ("=?BASE64?cmVnaW9uYWw=?=", "us-west1", "400"),
    ] {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\
             MCP-PROTOCOL-VERSION: \t{VERSION} \r\nmCP-mETHOD:   tools/call\t\r\nMCP-Name:  {name}  \r\nMcP-pArAm-ReGiOn: {region} \r\n\r\n",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(bridge.public).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(
            answer.split(' ').nth(1),
            Some(status),
            "{name} {region}: {answer}"
        );
        if status == "400" {
            assert!(answer.contains("-32020"), "{answer}");
        }
    }
    // What cannot be decoded is refused although the body says the same.
    let mut refused = modern(&bridge, 1, "=?base64?!!!!?=", json!({}))
        .send()
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json().await["error"]["code"], -32020);
}

#[tokio::test]
async fn the_name_of_a_prompt_and_of_a_resource_is_mirrored_too() {
    for (_, setup) in both() {
        let bridge = setup.ready().await;
        for (method, member) in [("prompts/get", "name"), ("resources/read", "uri")] {
            let body = request(7, method, json!({ member: "file:///a" }));
            for call in [
                post(&bridge, &body).without("mcp-name"),
                post(&bridge, &body)
                    .without("mcp-name")
                    .header("mcp-name", "file:///b"),
            ] {
                let mut answer = call.send().await;
                assert_eq!(answer.status, 400, "{method}");
                assert_eq!(answer.json().await["error"]["code"], -32020);
            }
        }
    }
}

#[tokio::test]
async fn no_request_of_the_server_comes_to_the_client() {
    let bridge = scripted(&["--modern"]).ready().await;
    let mut answer = modern(&bridge, 1, "ask", json!({})).send().await;
    let answer = answer.message().await;
    // The server was refused, and said so in its answer.
    assert_eq!(answer["id"], 1);
    assert!(answer.to_string().contains("-32601"), "{answer}");
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_and_ends_with_the_answer() {
    for (name, setup) in both() {
        let bridge = setup
            .with_file("[proxy.limits]\nstream_after = 0\nkeep_alive = 1\n")
            .ready()
            .await;
        let mut held = modern(&bridge, 1, "hold", json!({})).send().await;
        assert!(held.is_stream(), "{name}");
        assert_eq!(held.header("x-accel-buffering"), Some("no"));
        assert_eq!(held.header("cache-control"), Some("no-store"));
        assert_eq!(held.line().await, ":", "{name}");
        modern(&bridge, 2, "release", json!({}))
            .send()
            .await
            .message()
            .await;
        let events = held.events().await;
        assert_eq!(events.len(), 1, "{name}: {events:?}");
        assert_eq!(events[0].json()["id"], 1);
    }
}

#[tokio::test]
async fn the_server_cannot_take_back_a_call_towards_the_client() {
    let bridge = scripted(&["--modern"]).ready().await;
    let mut answer = modern(&bridge, 1, "cancel_itself", json!({})).send().await;
    assert!(
        !answer.is_stream(),
        "no notification came before the answer"
    );
    assert_eq!(answer.message().await["id"], 1);
}

#[tokio::test]
async fn listening_ends_with_its_completion_when_the_service_stops() {
    let bridge = scripted(&["--modern"]).ready().await;
    let body = request("l", "subscriptions/listen", json!({ "notifications": {} }));
    let mut stream = post(&bridge, &body).send().await;
    stream.event().await.unwrap();
    bridge
        .process
        .signal(testkit::process::Signal::TERM)
        .unwrap();
    let last = stream.event().await.unwrap().json();
    assert_eq!(last["id"], "l");
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(
        last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "l"
    );
    assert_eq!(stream.event().await, None);
}
