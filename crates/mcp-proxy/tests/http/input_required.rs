//! What an older server asks in the middle of a modern call: it goes out as `input_required` and comes back with the next request.

mod leases;
mod unusual;

use serde_json::{Value, json};

use crate::bridge::{Bridge, Call};
use crate::eras::{post, request};
use crate::translation::{Journal, call, steps, told};

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
async fn a_state_is_good_for_one_request_also_while_that_is_in_flight() {
    let journal = Journal::new();
    let bridge = journal.told(&[]).ready().await;
    let what = json!([form("a"), { "await": ["a", "never"] }]);
    let first = begin(&bridge, &what, &elicitation()).await;
    let answers = || json!({ "a": accept("A") });
    let send = || {
        let state = &first["requestState"];
        again(&bridge, &what, &elicitation(), state, answers()).send()
    };
    let late = async {
        journal.hears("\"action\"").await;
        send().await
    };
    let mut late = tokio::select! {
        _ = send() => panic!("nothing answers"),
        late = late => late,
    };
    let body = late.json().await;
    refused(late.status.as_u16(), &body, -32602);
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
