use std::io;
use std::sync::{Arc, Mutex};

use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::test as server;
use actix_web::{App, HttpResponse, web};
use tracing::instrument::WithSubscriber;

use super::*;
use crate::peer::TrustedProxies;

/// A writer that keeps what it gets.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(level: &str, format: LogFormat) -> LogConfig {
    LogConfig {
        level: level.to_owned(),
        format,
    }
}

/// Sends one request to a small app behind a trusted proxy and returns what was logged.
async fn logged(level: &str, format: LogFormat, request: server::TestRequest) -> String {
    answered("private", level, format, request).await.0
}

/// The same with other trusted proxies; also returns the request id in the answer.
async fn answered(
    trusted: &str,
    level: &str,
    format: LogFormat,
    request: server::TestRequest,
) -> (String, String) {
    let mut named = String::new();
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(&log(level, format), false, move || writer.clone(), None).unwrap();
    async {
        let app = server::init_service(
            App::new()
                .app_data(QuietPaths(&["/verify", "/verify-down"]))
                .route("/verify", web::get().to(HttpResponse::Ok))
                .route(
                    "/verify-down",
                    web::get().to(HttpResponse::ServiceUnavailable),
                )
                .route(
                    "/clients/{id}",
                    web::get().to(|| async {
                        tracing::warn!(target: "auth", "inside");
                        HttpResponse::Ok().finish()
                    }),
                )
                .app_data(TrustedProxies::parse(&[trusted]).unwrap())
                .wrap(from_fn(name_answer))
                .wrap(request_logger()),
        )
        .await;
        let request = request.peer_addr("127.0.0.1:4711".parse().unwrap());
        let answer = server::call_service(&app, request.to_request()).await;
        if let Some(id) = answer.headers().get(REQUEST_ID_HEADER) {
            id.to_str().unwrap().clone_into(&mut named);
        }
    }
    .with_subscriber(subscriber)
    .await;
    (captured.text(), named)
}

#[actix_web::test]
async fn only_a_trusted_proxy_names_a_request_and_the_answer_has_the_name() {
    let request = || {
        server::TestRequest::get()
            .uri("/clients/7")
            .insert_header((REQUEST_ID_HEADER, "from-the-proxy"))
    };
    let (text, named) = answered("private", "info", LogFormat::Json, request()).await;
    assert!(text.contains("from-the-proxy"), "{text}");
    assert_eq!(named, "from-the-proxy");
    let (text, named) = answered("off", "info", LogFormat::Json, request()).await;
    assert!(!text.contains("from-the-proxy"), "{text}");
    assert!(named.len() == 36 && text.contains(&named), "{named} {text}");
}

#[actix_web::test]
async fn a_request_line_has_the_route_and_never_path_query_or_credentials() {
    for format in [LogFormat::Json, LogFormat::Pretty] {
        for level in ["info", "trace"] {
            let request = server::TestRequest::get()
                .uri("/clients/path-canary?code=query-canary")
                .insert_header((header::AUTHORIZATION, "Bearer bearer-canary"))
                .insert_header((header::COOKIE, "session=cookie-canary"));
            let text = logged(level, format, request).await;
            assert!(text.contains("/clients/{id}"), "{text}");
            assert!(text.contains("200"), "{text}");
            assert!(text.contains("GET"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

#[actix_web::test]
async fn the_fields_of_a_json_line_are_there() {
    let request = server::TestRequest::get()
        .uri("/clients/7")
        .insert_header((REQUEST_ID_HEADER, "from-the-proxy"));
    let text = logged("info", LogFormat::Json, request).await;
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [inside, request] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(inside["span"]["request_id"], "from-the-proxy");
    assert_eq!(request["span"]["request_id"], "from-the-proxy");
    assert_eq!(request["span"]["method"], "GET");
    assert_eq!(request["route"], "/clients/{id}");
    assert_eq!(request["status"], 200);
    assert_eq!(request["target"], "http");
    assert!(request["duration_ms"].is_f64(), "{text}");
}

#[actix_web::test]
async fn a_malformed_request_id_is_replaced() {
    let too_long = "x".repeat(129);
    for id in ["has a space", too_long.as_str(), ""] {
        let request = server::TestRequest::get()
            .uri("/clients/7")
            .insert_header((REQUEST_ID_HEADER, id));
        let text = logged("info", LogFormat::Json, request).await;
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let ours = line["span"]["request_id"].as_str().unwrap();
        assert_eq!(ours.len(), 36, "{ours}");
    }
}

#[actix_web::test]
async fn a_quiet_path_is_logged_only_at_debug() {
    let request = || server::TestRequest::get().uri("/verify");
    assert_eq!(logged("info", LogFormat::Json, request()).await, "");
    let text = logged("debug", LogFormat::Json, request()).await;
    assert!(text.contains(r#""route":"/verify""#), "{text}");
}

#[actix_web::test]
async fn a_failure_of_a_quiet_path_is_logged_with_its_request_id() {
    let request = server::TestRequest::get()
        .uri("/verify-down")
        .insert_header((REQUEST_ID_HEADER, "abc"));
    let text = logged("info", LogFormat::Json, request).await;
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["status"], 503);
    assert_eq!(line["request_id"], "abc");
}

#[test]
fn text_of_a_client_cannot_forge_a_line() {
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber =
            subscriber(&log("info", format), false, move || writer.clone(), None).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let name = "Claude\n2026-01-01T00:00:00Z ERROR forged \u{1b}[2J\u{202e}";
            tracing::info!(target: "auth", client = %untrusted(name), "registered");
        });
        let text = captured.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn colours_are_for_terminals_only() {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = log("info", LogFormat::Pretty);
    let subscriber = subscriber(&log, false, move || writer.clone(), None).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::error!("plain"));
    assert!(captured.text().contains("plain"));
    assert!(!captured.text().contains('\u{1b}'));
}
