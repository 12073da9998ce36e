//! The children that calls with questions have to themselves, and the calls that are parked in them.

use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use super::{accept, again, as_person, begin, elicitation, form, one_question, refused};
use crate::translation::{Journal, call, told};

#[tokio::test]
async fn leases_are_used_again_by_their_person_only() {
    let bridge = told(&[]).with("REQUIRE_IDENTITY", "true").ready().await;
    let pid = async |subject: &str, capabilities: Value| {
        let call = call(&bridge, 1, json!([{ "heard": null }]), capabilities);
        let answer = as_person(call, subject).await.message().await;
        answer["result"]["pid"].as_u64().unwrap()
    };
    let leased = pid("alice", elicitation()).await;
    assert_eq!(pid("alice", elicitation()).await, leased);
    let others = [
        pid("alice", json!({})).await,
        pid("alice", json!({ "sampling": {} })).await,
        pid("bob", elicitation()).await,
        pid("bob", json!({})).await,
    ];
    assert!(!others.contains(&leased));
    assert_ne!(
        others[0], others[3],
        "plain calls are not shared between people either"
    );
    assert_eq!(pid("alice", elicitation()).await, leased);
}

#[tokio::test]
async fn a_parked_call_whose_client_stays_away_ends_and_its_child_is_told() {
    let journal = Journal::new();
    let bridge = journal.told(&[]).with("PARKED_TIMEOUT", "1").ready().await;
    let first = begin(&bridge, &one_question(), &elicitation()).await;
    assert!(
        bridge
            .private("/metrics")
            .await
            .contains("mcp_parked_calls 1")
    );
    journal.hears("notifications/cancelled").await;
    wait::until("the lease to be gone", PATIENCE, || async {
        let metrics = bridge.private("/metrics").await;
        (metrics.contains("mcp_parked_calls 0") && metrics.contains("mcp_leases 0")).then_some(())
    })
    .await
    .unwrap();
    let mut late = again(
        &bridge,
        &one_question(),
        &elicitation(),
        &first["requestState"],
        json!({ "user_name": accept("A") }),
    )
    .send()
    .await;
    let body = late.json().await;
    refused(late.status.as_u16(), &body, -32602);
}

#[tokio::test]
async fn a_parked_call_whose_server_dies_is_over() {
    let bridge = told(&[]).ready().await;
    let what = json!([form("a"), { "await": ["a"] }, { "exit": 3 }]);
    let first = begin(&bridge, &what, &elicitation()).await;
    let answers = json!({ "a": accept("A") });
    let dead = again(
        &bridge,
        &what,
        &elicitation(),
        &first["requestState"],
        answers,
    )
    .send()
    .await
    .message()
    .await;
    assert!(
        dead["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exit status 3"),
        "{dead}"
    );
}

#[tokio::test]
async fn parked_calls_are_bounded_and_idle_leases_make_room() {
    let bridge = told(&[])
        .with("MAX_LEASES", "1")
        .with_file("[proxy.limits]\nlease_wait = 0\n")
        .ready()
        .await;
    // A lease that nobody needs makes room for another kind.
    let can = json!({ "sampling": {} });
    assert_eq!(
        call(&bridge, 1, json!([{ "answer": {} }]), can)
            .send()
            .await
            .status,
        200
    );
    let first = wait::until("room", PATIENCE, || async {
        let mut answer = call(&bridge, "first", one_question(), elicitation())
            .send()
            .await;
        (answer.status == 200).then_some(())?;
        Some(answer.message().await)
    })
    .await
    .unwrap();
    let mut full = call(&bridge, 2, one_question(), elicitation()).send().await;
    assert_eq!(full.status, 503);
    assert!(full.header("retry-after").is_some());
    assert_eq!(full.json().await["error"]["code"], -32603);
    assert_eq!(
        call(&bridge, 3, json!([{ "answer": {} }]), json!({}))
            .send()
            .await
            .status,
        200,
        "plain calls need none"
    );
    let answers = json!({ "user_name": accept("A") });
    let last = again(
        &bridge,
        &one_question(),
        &elicitation(),
        &first["result"]["requestState"],
        answers,
    )
    .send()
    .await
    .message()
    .await;
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(
        call(&bridge, 4, json!([{ "answer": {} }]), elicitation())
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_call_waits_for_a_lease_that_is_about_to_be_free() {
    let bridge = told(&[]).with("MAX_LEASES", "1").ready().await;
    let calls = (0..5).map(|id| {
        call(
            &bridge,
            id,
            json!([{ "answer": { "n": id } }]),
            elicitation(),
        )
    });
    let answers = futures_util::future::join_all(
        calls.map(|call| async move { call.send().await.message().await }),
    )
    .await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["result"]["n"], number, "{answer}");
    }
}
