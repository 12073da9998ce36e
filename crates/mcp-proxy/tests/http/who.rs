//! Who may call: Host, Origin, and the identity headers.

use reqwest::Method;
use serde_json::json;

use crate::bridge::{initialize, scripted, tool};
use crate::people::{ANNA, ANNA_ELSEWHERE, BEN};

#[tokio::test]
async fn a_foreign_origin_is_forbidden_on_every_method_and_path() {
    let bridge = scripted(&[])
        .with("ALLOWED_ORIGINS", "https://app.example.com")
        .start()
        .await;
    for method in [
        Method::POST,
        Method::GET,
        Method::DELETE,
        Method::PUT,
        Method::OPTIONS,
    ] {
        for path in ["/mcp", "/mcp/", "/elsewhere"] {
            for origin in [
                "https://evil.example.com",
                "null",
                "file:///",
                "http://localhost.evil.com",
            ] {
                let call = bridge
                    .call(method.clone())
                    .path(path)
                    .header("origin", origin);
                assert_eq!(call.send().await.status, 403, "{method} {path} {origin}");
            }
        }
    }
    for origin in [
        "http://localhost:6274",
        "http://127.0.0.1",
        "https://app.example.com",
    ] {
        let call = bridge
            .post(&initialize("2025-11-25"))
            .header("origin", origin);
        assert_eq!(call.send().await.status, 200, "{origin}");
    }
    let twice = bridge.post(&initialize("2025-11-25"));
    let twice = twice
        .header("origin", "http://localhost")
        .header("origin", "http://localhost");
    assert_eq!(twice.send().await.status, 403);
}

#[tokio::test]
async fn a_foreign_host_is_forbidden() {
    let bridge = scripted(&[])
        .with("ALLOWED_HOSTS", "mcp-fetch.example.com,*.localhost")
        .start()
        .await;
    for host in [
        "localhost",
        "127.0.0.1:3000",
        "[::1]:80",
        "mcp-fetch.example.com",
        "mcp-echo.localhost:8080",
    ] {
        assert_eq!(
            bridge
                .post(&initialize("2025-11-25"))
                .header("host", host)
                .send()
                .await
                .status,
            200,
            "{host}"
        );
    }
    for host in [
        "evil.example.com",
        "localhost.evil.com",
        "127.0.0.1.nip.io",
        "169.254.169.254",
    ] {
        for path in ["/mcp", "/elsewhere"] {
            let call = bridge
                .post(&initialize("2025-11-25"))
                .path(path)
                .header("host", host);
            assert_eq!(call.send().await.status, 403, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn it_listens_on_loopback_unless_it_is_told_otherwise() {
    let bridge = scripted(&[]).start().await;
    assert!(bridge.public.ip().is_loopback(), "{}", bridge.public);
    assert!(bridge.private.ip().is_loopback(), "{}", bridge.private);
    let bridge = scripted(&[]).with("HOST", "0.0.0.0").start().await;
    assert!(bridge.public.ip().is_unspecified(), "{}", bridge.public);
    assert!(bridge.private.ip().is_loopback(), "{}", bridge.private);
}

#[tokio::test]
async fn identity_is_required_exactly_once() {
    let bridge = scripted(&[]).with("REQUIRE_IDENTITY", "true").start().await;
    let mut nobody = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.text().await.contains("gateway"));
    assert_eq!(
        bridge.call(Method::GET).session("x").send().await.status,
        401
    );
    assert_eq!(
        bridge.call(Method::DELETE).session("x").send().await.status,
        401
    );
    assert_eq!(
        bridge.call(Method::GET).path("/other").send().await.status,
        401
    );
    for (index, (name, _)) in ANNA.iter().enumerate() {
        let mut some = ANNA.to_vec();
        some.remove(index);
        let call = bridge.post(&initialize("2025-11-25")).headers(&some);
        assert_eq!(call.send().await.status, 500, "without {name}");
        let call = bridge
            .post(&initialize("2025-11-25"))
            .headers(&ANNA)
            .header(name, "twice");
        assert_eq!(call.send().await.status, 500, "{name} twice");
        if *name != "x-auth-scope" {
            let call = bridge
                .post(&initialize("2025-11-25"))
                .headers(&some)
                .header(name, "");
            assert_eq!(call.send().await.status, 500, "{name} empty");
        }
    }
    bridge.open_as("2025-11-25", &ANNA).await;
}

#[tokio::test]
async fn a_session_answers_only_to_the_person_and_client_that_opened_it() {
    let bridge = scripted(&[]).with("REQUIRE_IDENTITY", "true").start().await;
    let session = bridge.open_as("2025-11-25", &ANNA).await;
    let ask = |who: &'static [(&str, &str)]| {
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .headers(who)
    };
    let mut unknown = bridge
        .post(&tool(1, "echo", json!({})))
        .session("unknown")
        .headers(&BEN)
        .send()
        .await;
    let unknown = (unknown.status, unknown.text().await);
    for other in [&BEN, &ANNA_ELSEWHERE] {
        let mut answer = ask(other).send().await;
        assert_eq!(
            (answer.status, answer.text().await),
            unknown,
            "the same answer as for an unknown session"
        );
        for method in [Method::GET, Method::DELETE] {
            let call = bridge.call(method.clone()).session(&session).headers(other);
            assert_eq!(call.send().await.status, 404, "{method}");
        }
    }
    // Whoever knows the id of a session is still nobody.
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            bridge.call(method).session(&session).send().await.status,
            401
        );
    }
    assert_eq!(ask(&[]).send().await.status, 401);
    // Nobody else resumes its streams.
    let stream = ask(&ANNA)
        .body(progress().to_string().into_bytes())
        .send()
        .await
        .events()
        .await;
    for (who, status) in [(&BEN, 404), (&ANNA_ELSEWHERE, 404), (&ANNA, 200)] {
        let call = bridge.call(Method::GET).session(&session).headers(who);
        let resumed = call.header("last-event-id", &stream[0].id).send().await;
        assert_eq!(resumed.status, status);
    }
    assert_eq!(ask(&ANNA).send().await.status, 200);
}

/// A call that is answered with a stream.
fn progress() -> serde_json::Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "progress", "arguments": { "steps": 1 }, "_meta": { "progressToken": "t" } } })
}

#[tokio::test]
async fn forwarded_headers_change_nothing() {
    let bridge = scripted(&[]).with("REQUIRE_IDENTITY", "true").start().await;
    let call = bridge.post(&initialize("2025-11-25")).headers(&ANNA);
    let call = call
        .header("host", "evil.example.com")
        .header("x-forwarded-host", "localhost");
    assert_eq!(call.send().await.status, 403);
    let call = bridge
        .post(&initialize("2025-11-25"))
        .headers(&ANNA)
        .header("x-forwarded-host", "evil.example.com");
    assert_eq!(
        call.header("forwarded", "host=evil").send().await.status,
        200
    );
}

#[tokio::test]
async fn modern_requests_share_a_child_per_person_and_never_between_persons() {
    let bridge = scripted(&["--modern"])
        .with("REQUIRE_IDENTITY", "true")
        .ready()
        .await;
    let pid = async |who: &[(&str, &str)]| {
        let mut answer = crate::eras::modern(&bridge, 1, "pid", json!({}))
            .headers(who)
            .send()
            .await;
        answer.message().await["result"]["content"][0]["text"].to_string()
    };
    let anna = pid(&ANNA).await;
    assert_eq!(anna, pid(&ANNA).await);
    assert_eq!(anna, pid(&ANNA_ELSEWHERE).await, "one person, two clients");
    assert_ne!(anna, pid(&BEN).await);
}

#[tokio::test]
async fn an_absolute_target_names_the_host_too() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bridge = scripted(&[]).start().await;
    for (target, status) in [
        ("/mcp", "400"),
        ("http://localhost/mcp", "400"),
        ("http://evil.example.com/mcp", "403"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(bridge.public).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{target}: {answer}");
    }
}
