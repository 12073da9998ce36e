//! Who listens is told what changes in an older server.

use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use super::{Journal, SUBSCRIPTION, call, told};
use crate::eras::{post, request};

#[tokio::test]
async fn listeners_are_told_what_they_asked_for_under_their_own_ids() {
    let journal = Journal::new();
    let capabilities = json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true }, "prompts": {} });
    let flags = ["--capabilities", &capabilities.to_string()];
    let bridge = journal.told(&flags).ready().await;
    let listen = async |id: Value, filter: Value, honoured: Value| {
        let body = request(
            id.clone(),
            "subscriptions/listen",
            json!({ "notifications": filter }),
        );
        let mut stream = post(&bridge, &body).send().await;
        assert_eq!(stream.header("x-accel-buffering"), Some("no"));
        let first = stream.event().await.unwrap().json();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(
            first["params"],
            json!({ "_meta": { SUBSCRIPTION: id }, "notifications": honoured })
        );
        stream
    };
    let all = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["file:///a"] });
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["file:///a"] });
    let mut one = listen(json!("1"), all.clone(), honoured.clone()).await;
    let mut two = listen(
        json!(1),
        json!({ "resourceSubscriptions": ["file:///a"] }),
        json!({ "resourceSubscriptions": ["file:///a"] }),
    )
    .await;
    let note = |method: &str, params: Value| json!({ "send": { "jsonrpc": "2.0", "method": method, "params": params } });
    let changes = json!([
        note("notifications/prompts/list_changed", json!({})),
        note("notifications/resources/updated", json!({ "uri": "file:///b" })),
        note("notifications/tools/list_changed", json!({})),
        note("notifications/resources/updated", json!({ "uri": "file:///a" })),
        { "answer": {} },
    ]);
    // A change in a leased child counts as well.
    for capabilities in [json!({}), json!({ "roots": {} })] {
        call(&bridge, 1, changes.clone(), capabilities)
            .send()
            .await
            .text()
            .await;
        let tools = one.event().await.unwrap().json();
        assert_eq!(tools["method"], "notifications/tools/list_changed");
        assert_eq!(tools["params"], json!({ "_meta": { SUBSCRIPTION: "1" } }));
        for (stream, id) in [(&mut one, json!("1")), (&mut two, json!(1))] {
            let updated = stream.event().await.unwrap().json();
            assert_eq!(
                updated["params"],
                json!({ "uri": "file:///a", "_meta": { SUBSCRIPTION: id } })
            );
        }
    }
    let told = |method: &str| journal.count(&format!("\"method\":\"{method}\""));
    assert_eq!(told("resources/subscribe"), 1, "however many listen");
    drop(one);
    let three = listen(json!(3), all, honoured).await;
    assert_eq!(told("resources/subscribe"), 1);
    drop(two);
    drop(three);
    wait::until_true("the subscription to end", PATIENCE, || {
        told("resources/unsubscribe") == 1
    })
    .await
    .unwrap();
    let mut wrong = post(&bridge, &request(9, "subscriptions/listen", json!({})))
        .send()
        .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json().await["error"]["code"], -32602);
}

#[tokio::test]
async fn what_is_watched_is_bounded() {
    let capabilities = json!({ "resources": { "subscribe": true } }).to_string();
    let bridge = told(&["--capabilities", &capabilities]).ready().await;
    // The first of all in their order.
    let long = format!("file:///{}", "+".repeat(8192));
    let short = (0..300).map(|number| format!("file:///{number}"));
    let wanted: Vec<String> = short.chain([long.clone()]).collect();
    let filter = json!({ "notifications": { "resourceSubscriptions": wanted } });
    let body = request(1, "subscriptions/listen", filter);
    let mut stream = post(&bridge, &body).send().await;
    let first = stream.event().await.unwrap().json();
    let honoured = &first["params"]["notifications"]["resourceSubscriptions"];
    let honoured = honoured.as_array().unwrap();
    assert_eq!(honoured.len(), 256);
    assert!(!honoured.contains(&json!(long)));
}

#[tokio::test]
async fn a_resource_that_cannot_be_watched_is_not_acknowledged() {
    let capabilities = json!({ "resources": { "subscribe": true } }).to_string();
    let bridge = told(&[
        "--capabilities",
        &capabilities,
        "--refuse",
        "resources/subscribe",
    ])
    .ready()
    .await;
    let filter = json!({ "notifications": { "resourceSubscriptions": ["file:///a"] } });
    let mut stream = post(&bridge, &request(1, "subscriptions/listen", filter))
        .send()
        .await;
    let first = stream.event().await.unwrap().json();
    assert_eq!(first["params"]["notifications"], json!({}));
}

#[tokio::test]
async fn listening_ends_with_its_completion_when_the_service_stops() {
    let bridge = told(&[]).ready().await;
    let mut stream = post(
        &bridge,
        &request("l", "subscriptions/listen", json!({ "notifications": {} })),
    )
    .send()
    .await;
    stream.event().await.unwrap();
    bridge
        .process
        .signal(testkit::process::Signal::TERM)
        .unwrap();
    let last = stream.event().await.unwrap().json();
    assert_eq!(last["id"], "l");
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], "l");
}
