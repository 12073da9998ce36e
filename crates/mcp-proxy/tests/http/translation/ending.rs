//! Calls that end without an answer of the older server, and the end of the server itself.

use serde_json::json;
use testkit::wait::{self, PATIENCE};

use super::{Journal, call, plain, told};

#[tokio::test]
async fn a_closed_connection_cancels_in_the_child_whether_shared_or_leased() {
    let journal = Journal::new();
    let bridge = journal.told(&[]).ready().await;
    for capabilities in [json!({}), json!({ "roots": {} })] {
        let before = journal.count("notifications/cancelled");
        let waiting = call(
            &bridge,
            1,
            json!([{ "await": ["never"] }]),
            capabilities.clone(),
        )
        .send();
        let begun = wait::until_true("the call to begin", PATIENCE, || {
            journal.count("never") > before
        });
        tokio::select! {
            _ = waiting => panic!("nothing answers"),
            begun = begun => begun.unwrap(),
        }
        wait::until_true("the cancellation", PATIENCE, || {
            journal.count("notifications/cancelled") == before + 1
        })
        .await
        .unwrap();
        // What comes next is served.
        assert_eq!(
            call(&bridge, 2, plain(), capabilities).send().await.status,
            200
        );
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_given_up_and_cancelled() {
    let journal = Journal::new();
    let bridge = journal.told(&[]).with("REQUEST_TIMEOUT", "1").ready().await;
    let mut answer = call(&bridge, "t", json!([{ "await": ["never"] }]), json!({}))
        .send()
        .await;
    let body = answer.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!("t"), &json!(-32001))
    );
    journal.hears("notifications/cancelled").await;
}

#[tokio::test]
async fn a_shared_child_that_answers_nothing_three_times_is_replaced() {
    let bridge = told(&[]).with("REQUEST_TIMEOUT", "1").ready().await;
    let pid = async || {
        let call = call(&bridge, 1, json!([{ "heard": null }]), json!({}));
        call.send().await.message().await["result"]["pid"].clone()
    };
    let first = pid().await;
    let hang = || call(&bridge, 2, json!([{ "await": ["never"] }]), json!({})).send();
    // What it says between two of them clears it.
    hang().await;
    assert_eq!(pid().await, first);
    let mut answers = futures_util::future::join_all((0..3).map(|_| hang())).await;
    for answer in &mut answers {
        assert_eq!(answer.json().await["error"]["code"], -32001);
    }
    assert_ne!(pid().await, first);
}

#[tokio::test]
async fn a_child_that_dies_fails_what_waits_and_is_replaced() {
    let bridge = told(&[]).ready().await;
    for capabilities in [json!({}), json!({ "sampling": {} })] {
        let dies = json!([{ "exit": 3 }]);
        let body = call(&bridge, 1, dies, capabilities.clone())
            .send()
            .await
            .json()
            .await;
        assert_eq!(body["error"]["code"], -32603);
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.contains("exit status 3"), "{text}");
        assert_eq!(
            call(&bridge, 2, plain(), capabilities).send().await.status,
            200
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_handshake_is_said_to_do_so() {
    let bridge = told(&["--refuse", "initialize"]).start().await;
    // The probe asks for the answer to `initialize` only where `server/discover` has none.
    let mut answer = call(&bridge, 1, plain(), json!({})).send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    let text = answer.json().await["error"]["message"].to_string();
    assert!(text.contains("handshake"), "{text}");
}

#[tokio::test]
async fn calls_are_counted_by_what_became_of_them() {
    let journal = Journal::new();
    let bridge = journal
        .told(&[])
        .with("REQUEST_TIMEOUT", "1")
        .with("PARKED_TIMEOUT", "1")
        .ready()
        .await;
    let never = json!([{ "await": ["never"] }]);
    // Its client goes away.
    let begun = journal.hears("never");
    tokio::select! {
        _ = call(&bridge, 1, never.clone(), json!({})).send() => panic!("nothing answers"),
        () = begun => {}
    }
    let can = || json!({ "elicitation": {} });
    let question = json!({ "send": { "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
        "params": { "message": "q", "requestedSchema": {} } } });
    let asked = json!([question, { "await": ["q"] }]);
    for (steps, capabilities) in [
        (plain(), json!({})),
        (plain(), can()),
        (
            json!([{ "error": { "code": -32602, "message": "no" } }]),
            json!({}),
        ),
        // What nobody can be asked fails; what nobody comes back for is cancelled.
        (asked.clone(), json!({})),
        (asked, can()),
        (never, can()),
        (json!([{ "exit": 3 }]), json!({})),
    ] {
        call(&bridge, 1, steps, capabilities).send().await;
    }
    let counts = [
        ("answered", 2),
        ("failed", 2),
        ("cancelled", 2),
        ("timed_out", 1),
        ("lost", 1),
    ];
    wait::until("the counts", PATIENCE, || async {
        let metrics = bridge.private("/metrics").await;
        let shown = |(outcome, count): (&str, u32)| {
            metrics.contains(&format!(
                "mcp_calls_total{{outcome=\"{outcome}\"}} {count}\n"
            ))
        };
        counts.into_iter().all(shown).then_some(())
    })
    .await
    .unwrap();
}
