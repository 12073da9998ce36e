//! Who may call which tool: by login and by scope, in every era, and while the rules change.

mod declared;
mod smuggled;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Answer, Bridge, Setup, scripted, tool};
use crate::eras;
use crate::people::{Person, person};
use crate::translation::{self, told};

const ANNA: Person = person("1", "Anna", "a", "mcp");
const BEN: Person = person("2", "ben", "a", "mcp");
const BEN_WITH_MORE: Person = person("2", "ben", "a", "mcp tools:all");

/// `regional` is for Anna, and for who has a scope.
const RULES: &str = r#"
[proxy.tools]
deny = ["reg*"]

[[proxy.rules]]
logins = ["anna"]

[[proxy.rules]]
scopes = ["tools:all"]
"#;

fn ruled(flags: &[&str]) -> Setup {
    scripted(flags)
        .with("REQUIRE_IDENTITY", "true")
        .with_file(RULES)
}

fn list(id: impl Into<Value>) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/list" })
}

fn names(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("{answer}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn refused(mut answer: Answer, id: Value) {
    assert_eq!(answer.status, 200);
    let answer = answer.message().await;
    assert_eq!(answer["id"], id);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(
        answer["error"]["message"],
        "the tool `regional` is not allowed for you on this service"
    );
}

#[tokio::test]
async fn a_refused_tool_is_not_listed_and_cannot_be_called_in_a_session() {
    let bridge = ruled(&[]).start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        for (who, allowed) in [(&ANNA, true), (&BEN, false)] {
            let session = bridge.open_as(version, who).await;
            let send = async |body: Value| {
                let call = bridge.post(&body).session(&session).headers(who);
                call.send().await
            };
            let listed = send(list("l")).await.message().await;
            assert_eq!(names(&listed).contains(&"regional".to_owned()), allowed);
            assert!(names(&listed).contains(&"echo".to_owned()));
            let call = send(tool("c", "regional", json!({}))).await;
            if allowed {
                assert!(bridge_answer(call).await["result"].is_object());
            } else {
                refused(call, json!("c")).await;
            }
            assert!(
                bridge_answer(send(tool(1, "echo", json!({}))).await).await["result"].is_object()
            );
        }
        // The token of this request decides, not the one that opened the session.
        let session = bridge.open_as(version, &BEN).await;
        let call = bridge
            .post(&list(1))
            .session(&session)
            .headers(&BEN_WITH_MORE);
        assert_eq!(names(&call.send().await.message().await).len(), 2);
    }
    let metrics = bridge.private("/metrics").await;
    assert!(metrics.contains("mcp_tools_refused_total 4\n"), "{metrics}");
}

async fn bridge_answer(mut answer: Answer) -> Value {
    answer.message().await
}

#[tokio::test]
async fn a_name_in_another_spelling_is_the_same_name() {
    let bridge = ruled(&[]).start().await;
    let session = bridge.open_as("2025-11-25", &BEN).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"\u0072egional","arguments":{}}}"#;
    let call = bridge.post_text(body).session(&session).headers(&BEN);
    refused(call.send().await, json!(1)).await;
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"regional"}}"#;
    let call = bridge.post_text(twice).session(&session).headers(&BEN);
    assert_eq!(call.send().await.status, 400);
}

#[tokio::test]
async fn every_page_of_a_list_is_narrowed_and_a_page_may_become_empty() {
    for flags in [&["--paged"][..], &["--paged", "--modern"][..]] {
        let bridge = ruled(flags).ready().await;
        for (who, seen) in [(&ANNA, &["echo", "regional"][..]), (&BEN, &["echo"][..])] {
            let session = bridge.open_as("2025-11-25", who).await;
            let mut found = Vec::new();
            let mut cursor = None;
            loop {
                let params = cursor.map_or(json!({}), |cursor: String| json!({ "cursor": cursor }));
                let mut answer = if flags.len() == 2 {
                    let body = eras::request(1, "tools/list", params);
                    eras::post(&bridge, &body).headers(who).send().await
                } else {
                    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
                    bridge
                        .post(&body)
                        .session(&session)
                        .headers(who)
                        .send()
                        .await
                };
                let page = answer.message().await;
                found.extend(names(&page));
                let narrowed = who == &BEN;
                let scope = if narrowed { "private" } else { "public" };
                assert_eq!(
                    page["result"]["cacheScope"], scope,
                    "one person's list is not for all"
                );
                cursor = page["result"]["nextCursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, seen);
        }
    }
}

#[tokio::test]
async fn a_refused_tool_is_not_listed_and_cannot_be_called_without_sessions() {
    let bridge = ruled(&["--modern"]).ready().await;
    for (who, allowed) in [(&ANNA, true), (&BEN, false), (&BEN_WITH_MORE, true)] {
        let listed = eras::post(&bridge, &eras::request("l", "tools/list", json!({})));
        let listed = listed.headers(who).send().await.message().await;
        assert_eq!(names(&listed).contains(&"regional".to_owned()), allowed);
        let call = eras::modern(&bridge, "c", "regional", json!({})).headers(who);
        if allowed {
            let answer = call.send().await.message().await;
            assert_eq!(answer["id"], "c");
            assert!(answer["result"].is_object(), "{answer}");
        } else {
            refused(call.send().await, json!("c")).await;
        }
    }
}

#[tokio::test]
async fn who_takes_only_streams_gets_the_narrowed_list_as_an_event() {
    let bridge = ruled(&[]).start().await;
    let session = bridge.open_as("2025-11-25", &BEN).await;
    let call = bridge.post(&list(1)).session(&session).headers(&BEN);
    let mut answer = call
        .without("accept")
        .header("accept", "text/event-stream")
        .send()
        .await;
    assert!(answer.is_stream());
    let events = answer.events().await;
    assert_eq!(names(&events.last().unwrap().json()), ["echo"]);
}

#[tokio::test]
async fn rules_hold_for_the_members_of_a_batch() {
    let bridge = ruled(&[]).start().await;
    let session = bridge.open_as("2025-03-26", &BEN).await;
    let batch = json!([
        list("list"),
        tool("refused", "regional", json!({})),
        tool("called", "echo", json!({})),
    ]);
    let call = bridge.post(&batch).session(&session).headers(&BEN);
    let answers = call.send().await.json().await;
    let find = |id: &str| {
        let mut answers = answers.as_array().unwrap().iter();
        answers.find(|answer| answer["id"] == id).unwrap()
    };
    assert_eq!(answers.as_array().unwrap().len(), 3, "{answers}");
    assert_eq!(names(find("list")), ["echo"]);
    assert_eq!(find("refused")["error"]["code"], -32602);
    assert!(find("called")["result"].is_object());
}

/// What a person sees listed, in the era without sessions.
async fn seen(bridge: &Bridge, who: &[(&str, &str)]) -> Vec<String> {
    let call = eras::post(bridge, &eras::request(1, "tools/list", json!({})));
    names(&call.headers(who).send().await.message().await)
}

#[tokio::test]
async fn rules_change_while_the_service_runs_and_listeners_are_told() {
    let bridge = ruled(&["--modern"]).ready().await;
    let session = bridge.open_as("2025-11-25", &BEN).await;
    let get = bridge.call(Method::GET).session(&session).headers(&BEN);
    let mut stream = get.send().await;
    assert_eq!(stream.event().await.unwrap().data, "");
    let listen = async |id: &str, wanted: Value| {
        let body = eras::request(
            id,
            "subscriptions/listen",
            json!({ "notifications": wanted }),
        );
        let mut stream = eras::post(&bridge, &body).headers(&BEN).send().await;
        stream.event().await.unwrap();
        stream
    };
    let mut listening = listen("mine", json!({ "toolsListChanged": true })).await;
    let mut elsewhere = listen("other", json!({ "promptsListChanged": true })).await;
    assert_eq!(seen(&bridge, &BEN).await, ["echo"]);

    bridge.rewrite("[proxy.tools]\nallow = [\"reg*\"]\n");
    let told = stream.event().await.unwrap().json();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let told = listening.event().await.unwrap().json();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(
        told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "mine"
    );
    assert_eq!(seen(&bridge, &BEN).await, ["regional"]);
    // Only who asked for it was told.
    let call = eras::modern(&bridge, 1, "regional", json!({})).headers(&BEN);
    assert!(call.send().await.message().await["result"].is_object());
    drop(listening);
    bridge.process.signal(Signal::TERM).unwrap();
    let last = elsewhere.events().await;
    assert!(
        last.iter().all(|event| event.json()["method"].is_null()),
        "{last:?}"
    );
}

#[tokio::test]
async fn rules_hold_for_an_older_server_that_is_translated() {
    let capabilities = json!({ "tools": { "listChanged": true } }).to_string();
    let bridge = told(&["--capabilities", &capabilities])
        .with("REQUIRE_IDENTITY", "true")
        .with_file("[proxy.tools]\ndeny = [\"do\"]\n\n[[proxy.rules]]\nlogins = [\"anna\"]\n")
        .ready()
        .await;
    for (who, allowed) in [(&ANNA, true), (&BEN, false)] {
        assert_eq!(seen(&bridge, who).await.is_empty(), !allowed);
        // On a shared process and on a leased one.
        for capabilities in [json!({}), json!({ "roots": {} })] {
            let steps = json!([{ "answer": { "done": true } }]);
            let call = translation::call(&bridge, "c", steps, capabilities);
            let answer = call.headers(who).send().await.message().await;
            assert_eq!(answer["result"]["done"] == true, allowed, "{answer}");
            assert_eq!(answer["error"]["code"] == -32602, !allowed, "{answer}");
        }
    }
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let body = eras::request("mine", "subscriptions/listen", wanted);
    let mut listening = eras::post(&bridge, &body).headers(&BEN).send().await;
    listening.event().await.unwrap();
    bridge.rewrite("[proxy.tools]\nallow = [\"do\"]\n");
    let told = listening.event().await.unwrap().json();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(seen(&bridge, &BEN).await, ["do"]);
}

#[tokio::test]
async fn rules_that_cannot_be_read_change_nothing() {
    let bridge = ruled(&["--modern"]).ready().await;
    for (wrong, said) in [
        ("[proxy.tools]\ndeny = [\"a[b\"]\n", "a[b"),
        ("[proxy.tools]\ndenied = [\"echo\"]\n", "denied"),
        ("[proxy.tools\n", "not TOML"),
    ] {
        bridge.rewrite(wrong);
        let logged = || {
            let text = bridge.logs.text();
            text.lines()
                .any(|line| line.contains("stay as they were") && line.contains(said))
        };
        // A TOML error is worded by its parser.
        let logged = || {
            logged()
                || (said == "not TOML"
                    && bridge.logs.text().matches("stay as they were").count() == 3)
        };
        wait::until_true(said, PATIENCE, logged).await.unwrap();
        assert_eq!(seen(&bridge, &BEN).await, ["echo"]);
    }
    // Whoever asks for it is answered in the log.
    bridge.rewrite(RULES);
    bridge.process.signal(Signal::HUP).unwrap();
    bridge
        .logs
        .wait_for("the rules for tools are as they were")
        .await
        .unwrap();
    assert_eq!(seen(&bridge, &ANNA).await, ["echo", "regional"]);
}

#[tokio::test]
async fn variables_narrow_the_tools_of_everybody() {
    let bridge = scripted(&["--modern"])
        .with("TOOLS_ALLOW", "echo,reg*")
        .with("TOOLS_DENY", "*onal")
        .ready()
        .await;
    assert_eq!(seen(&bridge, &[]).await, ["echo"]);
}
