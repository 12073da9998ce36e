//! HTTP as an attacker sends it: odd bytes, odd methods, slow bodies, and what the logs hold afterwards.

use std::time::Duration;

use testkit::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::answer::answer;
use crate::service::{AUTH, Auth, FETCH, ISSUER, JWT_SECRET, PASSWORD, USERNAME};
use crate::sign_in::{
    STATE, Tokens, VERIFIER, approve, ask, confidential_client, consent_page, log_in, redemption,
};

#[tokio::test]
async fn an_unknown_path_is_a_json_404_with_any_method() {
    let auth = Auth::start().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/token/"),
        ("GET", "/verify/x"),
        ("GET", "/register/"),
        ("GET", "/register/a/b"),
        ("POST", "/oauth/token"),
        ("TRACE", "/"),
        ("BREW", "/"),
        ("OPTIONS", "/"),
        ("GET", "//token"),
    ] {
        let answer = answer(auth.request(method, AUTH, path)).await;
        assert_eq!(answer.refusal(), "404 not_found", "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_known_path_with_another_method_is_405_with_the_right_ones() {
    let auth = Auth::start().await;
    for (path, allow) in [
        ("/verify", "GET"),
        ("/.well-known/oauth-authorization-server", "GET, HEAD"),
        ("/.well-known/oauth-protected-resource/mcp", "GET, HEAD"),
        ("/jwks", "GET, HEAD"),
        ("/register", "POST"),
        ("/register/x", "GET, PUT, DELETE"),
        ("/token", "POST"),
        ("/revoke", "POST"),
        ("/authorize", "GET, HEAD"),
        ("/consent", "POST"),
        ("/login", "GET, POST"),
        ("/callback", "GET, HEAD"),
        ("/assets/style.css", "GET, HEAD"),
        ("/health", "GET, HEAD"),
    ] {
        for method in ["PATCH", "TRACE", "BREW"] {
            let answer = answer(
                auth.request(method, AUTH, path)
                    .header("X-Secret", "echo-me-not"),
            )
            .await;
            assert_eq!(
                answer.refusal(),
                "405 method_not_allowed",
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
            assert!(!answer.body.contains("echo-me-not"), "{method} {path}");
        }
    }
}

/// Bytes that no HTTP library sends: every answer is a whole one below 500.
#[tokio::test]
async fn odd_bytes_are_answered_and_break_nothing() {
    let auth = Auth::start().await;
    let client = crate::sign_in::public_client(&auth).await;
    let long_header = "x".repeat(7000);
    let targets = [
        "/authorize?\u{e4}=\u{e4}&client_id=\u{202e}".to_owned(),
        "/authorize?x=\"<>{}|^`".to_owned(),
        "/authorize?%".to_owned(),
        "/authorize?%zz=%ff&%00=%00".to_owned(),
        "/authorize?client_id=%0d%0aSet-Cookie:%20a=b".to_owned(),
        format!(
            "/authorize?client_id={}&redirect_uri=%0d%0aLocation:%20x",
            client.id
        ),
        format!("/authorize?{}", "&".repeat(5000)),
        format!("/authorize?{}", "resource=x&".repeat(700)),
        "/callback?state=%ff%fe&code=%00".to_owned(),
        "/login?state=\u{e4}".to_owned(),
        "/register/%ff%fe".to_owned(),
        "/register/\u{e4}".to_owned(),
        "/register/%00".to_owned(),
        "/register/%2e%2e%2f".to_owned(),
        "/verify?resource=%ff".to_owned(),
        "/verify?resource=\u{e4}&%".to_owned(),
        "/.well-known/\u{e4}%ff".to_owned(),
        "/%ff%fe".to_owned(),
        "*".to_owned(),
        "http://evil.example/authorize?x".to_owned(),
    ];
    for target in &targets {
        for host in [AUTH, FETCH, "\u{e4}", "[::1]:80", "a:b:c", ""] {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: \u{e4}=\u{0}; ;=; a; {long_header}\r\nConnection: close\r\n\r\n"
            );
            // A NUL is no part of any header: that variant may be refused by the parser.
            for request in [request.replace('\u{0}', ""), request] {
                let answer = raw::exchange(auth.public, &request).await.unwrap();
                let status = raw::status(&answer);
                assert!((200..500).contains(&status), "{target} {host}: {answer}");
                assert!(
                    raw::header(&answer, "set-cookie")
                        .iter()
                        .all(|cookie| !cookie.contains("a=b"))
                );
                for location in raw::header(&answer, "location") {
                    let is_ours = location.starts_with("http://auth.localhost:8080/");
                    assert!(is_ours, "{target} {host}: {location}");
                }
            }
        }
    }
    let last = auth
        .request("GET", AUTH, "/health")
        .header("X-Request-ID", "the-last");
    assert_eq!(answer(last).await.status, 200);
    // What was written before is there with it.
    auth.logs.wait_for("the-last").await.unwrap();
    assert!(!auth.logs.contain("panicked"));
}

/// Without `Host`, or with two, nothing of ours is meant.
#[tokio::test]
async fn a_request_without_one_host_finds_nothing_of_ours() {
    let auth = Auth::start().await;
    for hosts in ["", "Host: mcp-fetch.localhost\r\nHost: evil.example\r\n"] {
        let request = format!(
            "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        );
        let answer = raw::exchange(auth.public, &request).await.unwrap();
        let status = raw::status(&answer);
        assert!((400..500).contains(&status), "{hosts:?}: {answer}");
    }
}

/// Two lengths, or a length and chunks: the way to smuggle a second request past a proxy.
#[tokio::test]
async fn an_ambiguous_body_is_refused() {
    let auth = Auth::start().await;
    for head in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let request = format!(
            "POST /token HTTP/1.1\r\nHost: {AUTH}\r\nContent-Type: application/x-www-form-urlencoded\r\n{head}\r\na=b\r\nGET /jwks HTTP/1.1\r\nHost: {AUTH}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw::exchange(auth.public, &request).await.unwrap();
        assert!(!answer.contains("\"keys\""), "{head}: {answer}");
        assert_eq!(raw::status(&answer), 400, "{head}: {answer}");
    }
}

/// A body that never ends keeps its connection for seconds, not for ever.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let auth = Auth::start().await;
    let mut stream = tokio::net::TcpStream::connect(auth.public).await.unwrap();
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: {AUTH}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("the connection is closed")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(raw::status(&answer), 408, "{answer}");
}

#[tokio::test]
async fn health_is_told_and_the_style_is_there() {
    let auth = Auth::start().await;
    let health = auth.get(AUTH, "/health").await;
    assert_eq!(health.body, r#"{"status":"ok"}"#);
    let style = auth.get(AUTH, "/assets/style.css").await;
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(auth.get(AUTH, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_private_listener_knows_health_and_metrics_and_nothing_else() {
    let auth = Auth::start().await;
    let http = testkit::network::http_client().unwrap();
    let get = async |path: &str| answer(http.get(format!("http://{}{path}", auth.private))).await;
    assert_eq!(get("/health/live").await.status, 200);
    assert_eq!(get("/health/ready").await.status, 200);
    assert_eq!(get("/metrics").await.status, 200);
    for path in ["/verify", "/token", "/jwks"] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
}

/// Nobody finds a header here that only Traefik may set: answers to browsers of other sites are its business.
#[tokio::test]
async fn the_service_itself_opens_nothing_to_other_origins() {
    let auth = Auth::start().await;
    for path in ["/jwks", "/authorize", "/health"] {
        let request = auth.request("GET", AUTH, path);
        let answer = answer(request.header("Origin", "https://evil.example")).await;
        assert_eq!(answer.count("access-control-allow-origin"), 0, "{path}");
        assert_eq!(answer.count("server"), 0, "{path}");
    }
}

/// Everything that a sign-in and its tokens bring over the wire and that is worth something to a thief.
async fn secrets_of_a_whole_session(auth: &Auth) -> Vec<String> {
    let client = confidential_client(auth).await;
    let mut secrets = vec![
        PASSWORD.to_owned(),
        VERIFIER.to_owned(),
        client.secret.clone().unwrap(),
        client.registration_token.clone(),
    ];
    let consent = consent_page(&ask(auth, &client.id, &[]).await);
    secrets.push(consent.cookie.split_once('=').unwrap().1.to_owned());
    secrets.push(consent.fields[1].1.clone());
    let held = approve(auth, &client.id, &[]).await;
    secrets.push(held.cookie.split_once('=').unwrap().1.to_owned());
    secrets.push(held.fields[0].1.clone());
    let wrong = "wrong-password-of-ada";
    assert_eq!(log_in(auth, &held, USERNAME, wrong).await.status, 401);
    secrets.push(wrong.to_owned());
    let granted = log_in(auth, &held, USERNAME, PASSWORD).await;
    let code = granted.parameter("code").unwrap();
    secrets.push(code.clone());
    // A code and a sign-in that are never finished.
    secrets.push(crate::sign_in::code(auth, &client.id).await);
    let open = approve(auth, &client.id, &[]).await;
    secrets.push(open.cookie.split_once('=').unwrap().1.to_owned());
    secrets.push(open.fields[0].1.clone());
    let first = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    let refreshed = auth.refresh(&client, &first.refresh).await;
    let second = Tokens::of(&refreshed);
    assert_eq!(auth.verify(&second.access).await.status, 200);
    let request = auth
        .request("GET", AUTH, &format!("/register/{}", client.id))
        .bearer_auth(&client.registration_token);
    assert_eq!(answer(request).await.status, 200);
    for tokens in [first, second] {
        secrets.extend([tokens.access, tokens.refresh]);
    }
    // Codes and states carry an id that is not secret; the part before it is.
    let parts: Vec<String> = secrets
        .iter()
        .filter(|secret| secret.starts_with("mcp_ac_") || secret.starts_with("mcp_st_"))
        .map(|secret| secret.split('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(parts.len(), 4);
    secrets.extend(parts);
    secrets
}

/// A fault of the Python gateway: refresh tokens were kept in the clear.
#[tokio::test]
async fn nothing_in_the_store_is_of_use_to_a_thief() {
    let auth = Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await;
    let mut secrets = secrets_of_a_whole_session(&auth).await;
    secrets.push(JWT_SECRET.to_owned());
    let auth = auth.kill_and_start().await;
    let file = std::fs::read(auth.directory().join("auth.redb")).unwrap();
    let contains = |text: &str| {
        file.windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(contains("local:ada"), "the store is readable at all");
    for secret in secrets {
        assert!(!contains(&secret), "{secret} is in the store");
    }
}

/// A fault of the Python gateway: states and tokens stood in the logs.
#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let auth = Auth::start_with(&[("LOG_LEVEL", "trace")]).await;
    let mut secrets = secrets_of_a_whole_session(&auth).await;
    secrets.push(url::form_urlencoded::byte_serialize(STATE.as_bytes()).collect());
    secrets.push(JWT_SECRET.to_owned());
    auth.logs.wait_for("token_refreshed").await.unwrap();
    let text = auth.logs.text();
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log");
    }
}

/// Each parameter is compared with those before it, so thousands of them would cost more than they look.
#[tokio::test]
async fn a_form_has_a_bounded_number_of_parameters() {
    let auth = Auth::start().await;
    let form = |count: usize| -> Vec<(String, &str)> {
        (0..count)
            .map(|number| (format!("p{number}"), "x"))
            .collect()
    };
    for (count, told) in [
        (64, "token is missing"),
        (65, "a form may have at most 64 parameters"),
    ] {
        let request = auth.request("POST", AUTH, "/revoke").form(&form(count));
        let refused = answer(request).await;
        assert_eq!(refused.refusal(), "400 invalid_request", "{count}");
        assert_eq!(refused.text("error_description"), told, "{count}");
    }
}

/// Traefik leads every host's pages here; cookies and passwords belong to the authorization server's host alone.
#[tokio::test]
async fn pages_for_people_are_on_one_host_only() {
    let auth = Auth::start().await;
    for path in [
        "/authorize?x=1",
        "/login?state=x",
        "/callback?state=x&code=y",
        "/device?user_code=BCDF-GHJK",
        "/account",
    ] {
        for host in [FETCH, "MCP-FETCH.localhost."] {
            let moved = auth.get(host, path).await;
            assert_eq!(moved.status, 303, "{host}{path}: {moved:?}");
            assert_eq!(moved.header("location"), format!("{ISSUER}{path}"));
            assert_eq!(moved.count("set-cookie"), 0, "{host}{path}");
        }
    }
    for path in [
        "/consent",
        "/login",
        "/device",
        "/account/sign-in",
        "/account/revoke",
        "/account/revoke-all",
        "/account/sign-out",
    ] {
        let form = auth
            .request("POST", FETCH, path)
            .header("Sec-Fetch-Site", "same-origin")
            .form(&[("username", USERNAME), ("password", PASSWORD)]);
        let refused = answer(form).await;
        assert_eq!(
            (refused.status, refused.count("set-cookie")),
            (400, 0),
            "{path}"
        );
        assert!(refused.body.contains("This sign-in cannot go on"), "{path}");
    }
}
