//! Questions that are not simply asked: undeclared, of nobody, taken back, before the call, or as an error.

use serde_json::json;

use super::{again, ask, begin, elicitation, form, refused};
use crate::translation::{Journal, call, told};

#[tokio::test]
async fn what_the_client_did_not_declare_is_not_asked() {
    let bridge = told(&[]).ready().await;
    let sampling = ask(
        json!("s"),
        "sampling/createMessage",
        json!({ "messages": [], "maxTokens": 1 }),
    );
    let url = ask(
        json!("u"),
        "elicitation/create",
        json!({ "mode": "url", "url": "https://example.com", "message": "m" }),
    );
    let cases = [
        (sampling.clone(), json!({}), json!({ "sampling": {} })),
        (sampling, elicitation(), json!({ "sampling": {} })),
        (url, elicitation(), json!({ "elicitation": { "url": {} } })),
        (
            form("s"),
            json!({ "sampling": {} }),
            json!({ "elicitation": { "form": {} } }),
        ),
    ];
    for (question, capabilities, needed) in cases {
        let what = json!([question, { "await": ["s"] }, { "answer": {} }]);
        let mut answer = call(&bridge, 5, what, capabilities).send().await;
        let body = answer.json().await;
        refused(answer.status.as_u16(), &body, -32021);
        assert_eq!(body["id"], 5);
        assert_eq!(
            body["error"]["data"],
            json!({ "requiredCapabilities": needed })
        );
    }
}

#[tokio::test]
async fn a_question_on_a_shared_child_fails_alone_and_pings_are_answered() {
    let journal = Journal::new();
    let bridge = journal.told(&[]).ready().await;
    // With two calls in the child nobody knows whose question it is, so both go on.
    let first = call(
        &bridge,
        1,
        json!([{ "await": ["q", "of both"] }, { "answer": {} }]),
        json!({}),
    );
    let second = async {
        journal.hears("of both").await;
        let what = json!([
            ask(json!("q"), "roots/list", json!({})),
            ask(json!("p"), "ping", json!({})),
            ask(json!("of both"), "no/such", json!({})),
            { "await": ["q", "p", "of both"] },
            { "heard": null },
        ]);
        call(&bridge, 2, what, json!({})).send().await
    };
    let (mut first, mut second) = tokio::join!(first.send(), second);
    assert_eq!(first.message().await["result"]["resultType"], "complete");
    let answer = second.message().await;
    let heard = answer["result"]["heard"].as_array().unwrap();
    let to = |id: &str| {
        let mut answers = heard.iter().filter(|it| it.get("method").is_none());
        answers.find(|it| it["id"] == id).unwrap()
    };
    assert_eq!(to("q")["error"]["code"], -32601);
    assert_eq!(to("of both")["error"]["code"], -32601);
    assert_eq!(to("p")["result"], json!({}));
}

#[tokio::test]
async fn a_question_that_the_server_takes_back_is_not_asked() {
    let bridge = told(&[]).ready().await;
    let back = json!({ "send": { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "a" } } });
    let what = json!([form("a"), back, { "answer": { "done": true } }]);
    let answer = call(&bridge, 1, what, elicitation())
        .send()
        .await
        .message()
        .await;
    assert_eq!(answer["result"]["done"], true);
}

#[tokio::test]
async fn what_a_server_asks_after_its_handshake_is_answered_before_the_call() {
    let roots = json!({ "jsonrpc": "2.0", "id": 0, "method": "roots/list" }).to_string();
    let bridge = told(&["--greet", &roots]).ready().await;
    let can = json!({ "roots": {} });
    let what = json!([{ "heard": null }]);
    let first = begin(&bridge, &what, &can).await;
    assert_eq!(
        first["inputRequests"],
        json!({ "0": { "method": "roots/list", "params": {} } })
    );
    let answers = json!({ "0": { "roots": [{ "uri": "file:///a" }] } });
    let second = again(&bridge, &what, &can, &first["requestState"], answers)
        .send()
        .await
        .message()
        .await;
    let heard = second["result"]["heard"].as_array().unwrap();
    let names: Vec<&str> = heard
        .iter()
        .map(|it| it["method"].as_str().unwrap_or("answer"))
        .collect();
    assert_eq!(
        names,
        [
            "initialize",
            "notifications/initialized",
            "ping",
            "answer",
            "tools/call"
        ]
    );
    // The next call finds a child that was told.
    let third = call(&bridge, 3, what, can).send().await.message().await;
    assert_eq!(third["result"]["resultType"], "complete");
}

#[tokio::test]
async fn a_url_that_must_be_visited_first_becomes_a_question() {
    let bridge = told(&[]).ready().await;
    let elicitation = json!({ "mode": "url", "elicitationId": "e", "url": "https://example.com/e", "message": "m" });
    let what = json!([{ "error": { "code": -32042, "message": "m", "data": { "elicitations": [elicitation] } } }]);
    let first = begin(&bridge, &what, &json!({ "elicitation": { "url": {} } })).await;
    assert_eq!(
        first["inputRequests"]["url-1"],
        json!({ "method": "elicitation/create", "params": elicitation })
    );
    assert_eq!(
        first.get("requestState"),
        None,
        "the next call stands for itself"
    );
    let mut answer = call(&bridge, 1, what, json!({})).send().await;
    let body = answer.json().await;
    refused(answer.status.as_u16(), &body, -32021);
}
