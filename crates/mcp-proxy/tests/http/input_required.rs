//! What an older server asks in the middle of a modern call: it goes out as `input_required` and comes back with the next request.

use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Bridge, Call};
use crate::eras::{post, request};
use crate::translation::{call, steps, told};

/// A question of the server under an id.
fn ask(id: Value, method: &str, params: Value) -> Value {
    json!({ "send": { "jsonrpc": "2.0", "id": id, "method": method, "params": params } })
}

fn form(id: &str) -> Value {
    ask(
        json!(id),
        "elicitation/create",
        json!({ "message": id, "requestedSchema": {} }),
    )
}

/// Asks one thing, waits for the answer, and tells what was heard.
fn one_question() -> Value {
    json!([form("user_name"), { "await": ["user_name"] }, { "heard": null }])
}

fn elicitation() -> Value {
    json!({ "elicitation": {} })
}

fn accept(name: &str) -> Value {
    json!({ "action": "accept", "content": { "name": name } })
}

/// The call again, with answers and state.
fn again<'b>(
    bridge: &'b Bridge,
    what: &Value,
    capabilities: &Value,
    state: &Value,
    answers: Value,
) -> Call<'b> {
    let mut params = steps(what.clone(), capabilities.clone());
    params["requestState"] = state.clone();
    params["inputResponses"] = answers;
    post(bridge, &request("again", "tools/call", params))
}

/// Sends a call in the name of a person.
async fn as_person(call: Call<'_>, subject: &str) -> crate::bridge::Answer {
    let headers = [
        ("x-auth-subject", subject),
        ("x-auth-login", subject),
        ("x-auth-client", "c"),
        ("x-auth-scope", ""),
    ];
    call.headers(&headers).send().await
}

/// Makes the first call and gives its `input_required` result.
async fn begin(bridge: &Bridge, what: &Value, capabilities: &Value) -> Value {
    let mut answer = call(bridge, "first", what.clone(), capabilities.clone())
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let answer = answer.message().await;
    assert_eq!(answer["id"], "first");
    let result = answer["result"].clone();
    assert_eq!(result["resultType"], "input_required", "{answer}");
    result
}

fn refused(status: u16, body: &Value, code: i32) {
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!(code)),
        "{body}"
    );
}

#[tokio::test]
async fn a_question_of_the_server_is_answered_by_the_next_request() {
    let bridge = told(&[]).ready().await;
    let asked = begin(&bridge, &one_question(), &elicitation()).await;
    let requests = json!({ "user_name": { "method": "elicitation/create",
        "params": { "message": "user_name", "requestedSchema": {} } } });
    assert_eq!(asked["inputRequests"], requests);
    assert_eq!(
        asked["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "told-server"
    );
    let answers = json!({ "user_name": accept("Alice"), "unknown": { "x": 1 } });
    let mut answer = again(
        &bridge,
        &one_question(),
        &elicitation(),
        &asked["requestState"],
        answers,
    )
    .send()
    .await;
    let answer = answer.message().await;
    assert_eq!(
        (&answer["id"], &answer["result"]["resultType"]),
        (&json!("again"), &json!("complete"))
    );
    let heard = answer["result"]["heard"].as_array().unwrap();
    assert_eq!(
        heard[0]["params"]["capabilities"],
        json!({ "elicitation": { "form": {} } })
    );
    let last = heard.last().unwrap();
    assert_eq!(
        *last,
        json!({ "jsonrpc": "2.0", "id": "user_name", "result": accept("Alice") })
    );
    let calls = heard
        .iter()
        .filter(|message| message["method"] == "tools/call");
    assert_eq!(calls.count(), 1, "the child hears the call once");
}

#[tokio::test]
async fn prompts_and_resources_may_ask_too() {
    let bridge = told(&[]).ready().await;
    for (method, name) in [("prompts/get", "name"), ("resources/read", "uri")] {
        let mut params = steps(Value::Null, elicitation());
        params.as_object_mut().unwrap().remove("arguments");
        params.as_object_mut().unwrap().remove("name");
        params[name] = json!(one_question().to_string());
        let first = post(&bridge, &request(1, method, params.clone()))
            .send()
            .await
            .message()
            .await;
        assert_eq!(first["result"]["resultType"], "input_required", "{first}");
        params["requestState"] = first["result"]["requestState"].clone();
        params["inputResponses"] = json!({ "user_name": accept("A") });
        let second = post(&bridge, &request(2, method, params))
            .send()
            .await
            .message()
            .await;
        assert_eq!(second["result"]["resultType"], "complete", "{second}");
    }
}

#[tokio::test]
async fn several_questions_go_out_at_once_and_rounds_follow_each_other() {
    let bridge = told(&[]).ready().await;
    let can = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let what = json!([
        form("a"),
        ask(json!(7), "sampling/createMessage", json!({ "messages": [], "maxTokens": 1 })),
        ask(json!("7"), "roots/list", json!({})),
        { "await": ["a", 7, "7"] },
        form("b"),
        { "await": ["b"] },
        { "heard": null },
    ]);
    let first = begin(&bridge, &what, &can).await;
    let keys: Vec<&String> = first["inputRequests"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["7", "7-2", "a"]);
    let answers = json!({ "a": accept("A"), "7": { "role": "assistant", "content": {}, "model": "m" }, "7-2": { "roots": [] } });
    let second = again(
        &bridge,
        &what,
        &can,
        &first["requestState"],
        answers.clone(),
    )
    .send()
    .await
    .message()
    .await;
    assert_eq!(
        second["result"]["inputRequests"].as_object().unwrap().len(),
        1,
        "{second}"
    );
    let state = &second["result"]["requestState"];
    assert_ne!(*state, first["requestState"]);
    // A state is good once.
    let mut used = again(&bridge, &what, &can, &first["requestState"], answers)
        .send()
        .await;
    let body = used.json().await;
    refused(used.status.as_u16(), &body, -32602);
    let last = again(&bridge, &what, &can, state, json!({ "b": accept("B") }))
        .send()
        .await
        .message()
        .await;
    let heard = last["result"]["heard"].as_array().unwrap();
    let ids: Vec<&Value> = heard
        .iter()
        .filter(|it| it.get("result").is_some())
        .map(|it| &it["id"])
        .collect();
    assert_eq!(ids.len(), 4, "{heard:?}");
    assert!(ids.contains(&&json!(7)) && ids.contains(&&json!("7")));
}

#[tokio::test]
async fn missing_answers_are_asked_for_again_and_malformed_ones_refused() {
    let bridge = told(&[]).ready().await;
    let what = json!([form("a"), form("b"), { "await": ["a", "b"] }, { "heard": null }]);
    let first = begin(&bridge, &what, &elicitation()).await;
    // What is no answer changes nothing: the state stays good.
    for wrong in [
        json!({ "a": { "action": "perhaps" } }),
        json!({ "a": 1 }),
        json!(null),
    ] {
        let mut answer = again(
            &bridge,
            &what,
            &elicitation(),
            &first["requestState"],
            wrong,
        )
        .send()
        .await;
        let body = answer.json().await;
        refused(answer.status.as_u16(), &body, -32602);
    }
    let second = again(
        &bridge,
        &what,
        &elicitation(),
        &first["requestState"],
        json!({ "a": accept("A") }),
    )
    .send()
    .await
    .message()
    .await;
    let requests = second["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(
        requests.keys().collect::<Vec<_>>(),
        ["b"],
        "only what is missing"
    );
    let third = again(
        &bridge,
        &what,
        &elicitation(),
        &second["result"]["requestState"],
        json!({ "wrong": {} }),
    )
    .send()
    .await
    .message()
    .await;
    let requests = third["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["b"]);
    let last = again(
        &bridge,
        &what,
        &elicitation(),
        &third["result"]["requestState"],
        json!({ "b": accept("B") }),
    )
    .send()
    .await
    .message()
    .await;
    assert_eq!(last["result"]["resultType"], "complete");
}

#[tokio::test]
async fn answers_that_come_with_the_first_request_need_no_round() {
    let bridge = told(&[]).ready().await;
    let mut params = steps(one_question(), elicitation());
    params["inputResponses"] = json!({ "user_name": accept("Alice"), "other": {} });
    let answer = post(&bridge, &request(1, "tools/call", params))
        .send()
        .await
        .message()
        .await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[tokio::test]
async fn a_state_is_worth_nothing_for_another_person_or_request_or_when_changed() {
    let bridge = told(&[]).with("REQUIRE_IDENTITY", "true").ready().await;
    let what = one_question();
    let first = call(&bridge, 1, what.clone(), elicitation());
    let first = as_person(first, "alice").await.message().await;
    let state = first["result"]["requestState"].clone();
    let answers = || json!({ "user_name": accept("A") });
    let mut other = what.clone();
    other[2] = json!({ "answer": {} });
    let tampered = json!(format!("{}A", state.as_str().unwrap()));
    let foreign = "A".repeat(state.as_str().unwrap().len());
    for (what, state, subject) in [
        (&what, &state, "mallory"),
        (&other, &state, "alice"),
        (&what, &tampered, "alice"),
        (&what, &json!(foreign), "alice"),
        (&what, &json!(""), "alice"),
    ] {
        let mut answer = as_person(
            again(&bridge, what, &elicitation(), state, answers()),
            subject,
        )
        .await;
        let body = answer.json().await;
        refused(answer.status.as_u16(), &body, -32602);
    }
    let good = again(&bridge, &what, &elicitation(), &state, answers());
    let good = as_person(good, "alice").await.message().await;
    assert_eq!(good["result"]["resultType"], "complete", "{good}");
}

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
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let bridge = told(&["--journal", journal.to_str().unwrap()])
        .ready()
        .await;
    // With two calls in the child nobody knows whose question it is, so both go on.
    let first = call(
        &bridge,
        1,
        json!([{ "await": ["q", "of both"] }, { "answer": {} }]),
        json!({}),
    );
    let second = async {
        wait::until_true("the first call", PATIENCE, || {
            std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("of both"))
        })
        .await
        .unwrap();
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
async fn an_answer_that_came_while_the_client_was_away_is_given_when_it_comes_back() {
    let bridge = told(&[]).ready().await;
    let what = json!([form("a"), form("b"), { "await": ["a"] }, { "answer": { "done": true } }]);
    let first = begin(&bridge, &what, &elicitation()).await;
    let second = again(
        &bridge,
        &what,
        &elicitation(),
        &first["requestState"],
        json!({ "a": accept("A") }),
    )
    .send()
    .await
    .message()
    .await;
    assert_eq!(second["result"]["done"], true, "{second}");
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

#[tokio::test]
async fn a_parked_call_whose_client_stays_away_ends_and_its_child_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let bridge = told(&["--journal", journal.to_str().unwrap()])
        .with("PARKED_TIMEOUT", "1")
        .ready()
        .await;
    let first = begin(&bridge, &one_question(), &elicitation()).await;
    assert!(
        bridge
            .private("/metrics")
            .await
            .contains("mcp_parked_calls 1")
    );
    wait::until_true("the cancellation", PATIENCE, || {
        std::fs::read_to_string(&journal)
            .unwrap()
            .contains("notifications/cancelled")
    })
    .await
    .unwrap();
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
