//! What the log says: enough to find a request, a person and a session, and never what is secret.

use serde_json::json;

use crate::bridge::{initialize, scripted, tool};
use crate::eras;
use crate::people::ANNA;

/// The lines of a log with a text.
fn lines(log: &str, text: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

fn hash(session: &str) -> String {
    let hash = <sha2::Sha256 as sha2::Digest>::digest(session.as_bytes());
    format!(
        "{:02x}{:02x}{:02x}{:02x}",
        hash[0], hash[1], hash[2], hash[3]
    )
}

#[tokio::test]
async fn the_log_names_person_and_session_but_never_the_session_id() {
    let bridge = scripted(&[])
        .with("REQUIRE_IDENTITY", "true")
        .with("LOG_LEVEL", "trace")
        .ready()
        .await;
    let session = bridge.open_as("2025-11-25", &ANNA).await;
    let call = bridge.post(&tool(
        1,
        "stderr",
        json!({ "lines": 1, "secret": "param-of-mcp" }),
    ));
    call.session(&session)
        .headers(&ANNA)
        .send()
        .await
        .message()
        .await;
    bridge.logs.wait_for("eeeeeeeeee").await.unwrap();
    let hash = hash(&session);
    let text = bridge.logs.text();
    let line = text
        .lines()
        .find(|line| line.contains("eeeeeeeeee"))
        .unwrap();
    for label in [&*hash, "anna", "github:1"] {
        assert!(line.contains(label), "{label} in {line}");
    }
    for never in [&*session, "param-of-mcp"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
}

#[tokio::test]
async fn each_answer_carries_the_id_of_its_request() {
    let bridge = scripted(&[]).start().await;
    let given = bridge
        .post(&initialize("2025-11-25"))
        .header("x-request-id", "abc-1");
    assert_eq!(
        given.send().await.header("x-request-id"),
        Some("abc-1"),
        "the caller's, where there is a good one"
    );
    let session = bridge.open("2025-11-25").await;
    let mut seen = vec!["a b".to_owned()];
    for call in [
        bridge.post(&tool(1, "echo", json!({}))).session(&session),
        bridge
            .post(&tool(1, "echo", json!({})))
            .header("x-request-id", "a b"),
        bridge.call(reqwest::Method::GET).session(&session),
        bridge.call(reqwest::Method::DELETE).session(&session),
        bridge.call(reqwest::Method::PUT),
        bridge.call(reqwest::Method::GET).path("/elsewhere"),
        bridge.post_text("{"),
    ] {
        let answer = call.send().await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(!seen.contains(&id), "{id} in {seen:?}");
        seen.push(id);
    }
}

#[tokio::test]
async fn what_went_wrong_is_logged_with_request_session_and_person() {
    for flags in [&[][..], &["--modern"][..]] {
        let bridge = scripted(flags)
            .with("REQUIRE_IDENTITY", "true")
            .with("REQUEST_TIMEOUT", "1")
            .with_file("[proxy.tools]\ndeny = [\"regional\"]\n")
            .ready()
            .await;
        let session = bridge.open_as("2025-11-25", &ANNA).await;
        let call = async |id: &str, name: &str, arguments| {
            let call = if flags.is_empty() {
                let body = tool(1, name, arguments);
                bridge.post(&body).session(&session)
            } else {
                eras::modern(&bridge, 1, name, arguments)
            };
            let call = call.headers(&ANNA).header("x-request-id", id);
            call.send().await.message().await
        };
        call("r-denied", "regional", json!({})).await;
        call("r-late", "hold", json!({})).await;
        call("r-lost", "exit", json!({ "status": 7 })).await;
        for (id, text) in [
            ("r-denied", "refused a call of a tool"),
            ("r-late", "the request is given up"),
            ("r-lost", "lost with its MCP server process"),
        ] {
            bridge.logs.wait_for(id).await.unwrap();
            let line = lines(&bridge.logs.text(), id).join(" ");
            assert!(line.contains(text) && line.contains("anna"), "{line}");
            if flags.is_empty() && id != "r-denied" {
                assert!(line.contains(&hash(&session)), "{line}");
                assert!(line.contains("github:1"), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_request_is_logged_with_request_session_and_person() {
    let bridge = scripted(&[])
        .with("REQUIRE_IDENTITY", "true")
        .with("MAX_SESSIONS", "1")
        .with("LOG_LEVEL", "debug")
        .ready()
        .await;
    let session = bridge.open_as("2025-11-25", &ANNA).await;
    let full = bridge.post(&initialize("2025-11-25")).headers(&ANNA);
    assert_eq!(
        full.header("x-request-id", "r-full").send().await.status,
        503
    );
    let nobody = bridge.post(&initialize("2025-11-25"));
    assert_eq!(
        nobody.header("x-request-id", "r-401").send().await.status,
        401
    );
    let unknown = bridge
        .post(&tool(1, "echo", json!({})))
        .session("unknown")
        .headers(&ANNA);
    assert_eq!(
        unknown.header("x-request-id", "r-404").send().await.status,
        404
    );
    let good = bridge
        .post(&tool(1, "echo", json!({})))
        .session(&session)
        .headers(&ANNA);
    assert_eq!(
        good.header("x-request-id", "r-200").send().await.status,
        200
    );
    for (id, words) in [
        (
            "r-full",
            &[
                "WARN",
                "refused a request",
                "503",
                "anna",
                "github:1",
                "too many",
            ][..],
        ),
        (
            "r-401",
            &["WARN", "refused a request", "401", "no identity"],
        ),
        ("r-404", &["DEBUG", "refused a request", "404", "anna"]),
        ("r-200", &["DEBUG", "answered a request", "200", "anna"]),
    ] {
        bridge.logs.wait_for(id).await.unwrap();
        let line = lines(&bridge.logs.text(), id).join(" ");
        for word in words {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
    let text = bridge.logs.text();
    assert!(lines(&text, "r-200").join(" ").contains(&hash(&session)));
    assert!(!text.contains(&session));
}
