//! Where rules narrow the list of tools, clients of every era are told that it may change, and then that it did, although the
//! MCP server says neither.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{BEN, RULES};
use crate::bridge::{Answer, Bridge, Setup, initialize, scripted};
use crate::eras;
use crate::translation::told;

const CHANGED: &str = "notifications/tools/list_changed";

fn with_rules(setup: Setup) -> Setup {
    setup.with("REQUIRE_IDENTITY", "true").with_file(RULES)
}

/// What the answer to `initialize` says of tools, and the session.
async fn opened(bridge: &Bridge, version: &str, accept: &str) -> (Value, String) {
    let call = bridge.post(&initialize(version)).headers(&BEN);
    let call = call.without("accept").header("accept", accept);
    let mut answer = call.send().await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let answer = answer.message().await;
    assert_eq!(answer["result"]["protocolVersion"], version);
    (answer["result"]["capabilities"].clone(), session)
}

/// What discovery says of tools.
async fn discovered(bridge: &Bridge) -> Value {
    let call = eras::post(bridge, &eras::request("d", "server/discover", json!({})));
    let answer = call.headers(&BEN).send().await.message().await;
    assert_eq!(answer["id"], "d");
    answer["result"]["capabilities"].clone()
}

/// A listening stream, and what its acknowledgement honours.
async fn listening(bridge: &Bridge) -> (Answer, Value) {
    let wanted =
        json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true } });
    let body = eras::request("mine", "subscriptions/listen", wanted);
    let mut stream = eras::post(bridge, &body).headers(&BEN).send().await;
    let first = stream.event().await.unwrap().json();
    (stream, first["params"]["notifications"].clone())
}

#[tokio::test]
async fn sessions_are_told_that_the_list_may_change_and_then_that_it_did() {
    let declared = json!({ "tools": { "listChanged": true } });
    for sharing in ["session", "person"] {
        let setup = with_rules(scripted(&[]));
        let bridge = setup.with("CHILD_SHARING", sharing).ready().await;
        let mut streams = Vec::new();
        for (version, accept) in [
            ("2025-11-25", "application/json, text/event-stream"),
            ("2025-06-18", "text/event-stream"),
            ("2024-11-05", "application/json"),
        ] {
            let (capabilities, session) = opened(&bridge, version, accept).await;
            assert_eq!(capabilities, declared, "{sharing}, {version}");
            let get = bridge.call(Method::GET).session(&session).headers(&BEN);
            streams.push(get.send().await);
        }
        bridge.rewrite("");
        for stream in &mut streams {
            let told = loop {
                let event = stream.event().await.unwrap();
                if !event.data.is_empty() {
                    break event.json();
                }
            };
            assert_eq!(told["method"], CHANGED);
        }
    }
}

#[tokio::test]
async fn clients_without_sessions_are_told_that_the_list_may_change_and_then_that_it_did() {
    let older = json!({ "tools": {} }).to_string();
    for setup in [
        scripted(&["--modern", "--still"]),
        told(&["--capabilities", &older]),
    ] {
        let bridge = with_rules(setup).ready().await;
        let declared = json!({ "tools": { "listChanged": true } });
        assert_eq!(discovered(&bridge).await, declared);
        let (mut stream, honoured) = listening(&bridge).await;
        assert_eq!(honoured, json!({ "toolsListChanged": true }));
        bridge.rewrite("");
        let told = stream.event().await.unwrap().json();
        assert_eq!(told["method"], CHANGED);
        assert_eq!(
            told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            "mine"
        );
    }
}

#[tokio::test]
async fn without_rules_nothing_is_declared_that_the_server_does_not_declare() {
    let older = json!({ "tools": {} }).to_string();
    for setup in [
        scripted(&["--modern", "--still"]),
        told(&["--capabilities", &older]),
    ] {
        let setup = setup.with("REQUIRE_IDENTITY", "true");
        let bridge = setup.ready().await;
        let (capabilities, _) = opened(&bridge, "2025-11-25", "application/json").await;
        assert_eq!(capabilities, json!({ "tools": {} }));
        assert_eq!(discovered(&bridge).await, json!({ "tools": {} }));
        let (_stream, honoured) = listening(&bridge).await;
        assert_eq!(honoured, json!({}));
    }
}

/// The first rules come while clients listen: a session is told at once; a request to listen hears what it was promised.
#[tokio::test]
async fn the_first_rules_are_told_to_sessions_and_to_who_was_promised_to_be_told() {
    let capabilities = |tools: Value| json!({ "tools": tools }).to_string();
    let still = capabilities(json!({}));
    let declares = capabilities(json!({ "listChanged": true }));
    for (setup, promised) in [
        (scripted(&["--modern", "--still"]), false),
        (scripted(&["--modern"]), true),
        (told(&["--capabilities", &still]), false),
        (told(&["--capabilities", &declares]), true),
    ] {
        let bridge = setup.with("REQUIRE_IDENTITY", "true").ready().await;
        let (_, session) = opened(&bridge, "2025-11-25", "application/json").await;
        let get = bridge.call(Method::GET).session(&session).headers(&BEN);
        let mut of_session = get.send().await;
        assert_eq!(of_session.event().await.unwrap().data, "");
        let (mut before, honoured) = listening(&bridge).await;
        assert_eq!(honoured["toolsListChanged"] == true, promised, "{honoured}");

        bridge.rewrite(RULES);
        let told = of_session.event().await.unwrap().json();
        assert_eq!(told["method"], CHANGED);
        // Who listens now is promised it. All who listen to one child are told in one go: once this one is, the other one was.
        let (mut after, honoured) = listening(&bridge).await;
        assert_eq!(honoured["toolsListChanged"], true);
        bridge.rewrite("");
        let next = after.event().await.unwrap().json();
        assert_eq!(next["method"], CHANGED);
        bridge.process.signal(Signal::TERM).unwrap();
        let heard = before.events().await;
        let changes = heard
            .iter()
            .filter(|event| event.json()["method"] == CHANGED);
        assert_eq!(changes.count() > 0, promised, "{heard:?}");
    }
}
