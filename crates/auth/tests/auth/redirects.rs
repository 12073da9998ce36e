//! The redirect URIs of clients in use, registered and then asked for, and near misses of them.

use serde_json::json;

use crate::service::Auth;
use crate::sign_in::{ask, register_with};

/// (registered, requested)
const ADMITTED: [(&str, &str); 14] = [
    (
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.ai/api/mcp/auth_callback",
    ),
    (
        "https://chatgpt.com/connector/oauth/abc123",
        "https://chatgpt.com/connector/oauth/abc123",
    ),
    ("https://vscode.dev/redirect", "https://vscode.dev/redirect"),
    (
        "https://app.example/cb?tenant=1",
        "https://app.example/cb?tenant=1",
    ),
    (
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ),
    ("com.example.app:/callback", "com.example.app:/callback"),
    ("http://127.0.0.1/", "http://127.0.0.1:33418/"),
    ("http://127.0.0.1:33418/", "http://127.0.0.1/"),
    (
        "http://127.0.0.1:5555/callback/id",
        "http://127.0.0.1:6666/callback/id",
    ),
    (
        "http://localhost/callback",
        "http://localhost:51234/callback",
    ),
    (
        "http://localhost:1/oauth/callback",
        "http://localhost:65535/oauth/callback",
    ),
    ("http://[::1]/cb", "http://[::1]:9/cb"),
    ("http://localhost:8080/cb?x=1", "http://localhost:9/cb?x=1"),
    ("http://localhost:8080", "http://localhost:9"),
];

const LOOPBACK: &str = "http://localhost:8080/callback";
const WEB: &str = "https://app.example/cb";

const REFUSED: [(&str, &str); 46] = [
    (LOOPBACK, "http://localhost:8080/callback/"),
    (LOOPBACK, "http://localhost:8080/Callback"),
    (LOOPBACK, "http://localhost:8080/callback?x=1"),
    (LOOPBACK, "http://localhost:8080/callback#"),
    (LOOPBACK, "http://localhost:8080/callback#x"),
    (LOOPBACK, "http://localhost:8080"),
    (LOOPBACK, "http://localhost:8080/"),
    (LOOPBACK, "https://localhost:8080/callback"),
    (LOOPBACK, "http://127.0.0.1:8080/callback"),
    (LOOPBACK, "http://[::1]:8080/callback"),
    (LOOPBACK, "http://LOCALHOST:8080/callback"),
    (LOOPBACK, "HTTP://localhost:8080/callback"),
    (LOOPBACK, "http://localhost.:8080/callback"),
    (LOOPBACK, "http://localhost.evil:8080/callback"),
    (LOOPBACK, "http://localhost:0/callback"),
    (LOOPBACK, "http://localhost:00/callback"),
    (LOOPBACK, "http://localhost:08080/callback"),
    (LOOPBACK, "http://localhost:65536/callback"),
    (LOOPBACK, "http://localhost:/callback"),
    (LOOPBACK, "http://localhost:-1/callback"),
    (LOOPBACK, "http://localhost:+80/callback"),
    (LOOPBACK, "http://localhost:80 80/callback"),
    (LOOPBACK, "http://user@localhost:8080/callback"),
    (LOOPBACK, "http://localhost:8080@evil.example/callback"),
    (LOOPBACK, "http://localhost:8080/%63allback"),
    (LOOPBACK, "http://localhost:8080//callback"),
    (LOOPBACK, "http://localhost:8080/./callback"),
    (LOOPBACK, "http://localhost:8080/x/../callback"),
    (LOOPBACK, "http://localhost:8080/callback "),
    (LOOPBACK, " http://localhost:8080/callback"),
    (LOOPBACK, "http://localhost:8080/callback\r\nX: y"),
    (LOOPBACK, "http://localhost%3a8080/callback"),
    (LOOPBACK, "http://0x7f.1:8080/callback"),
    (LOOPBACK, "http://127.0.0.1.evil:8080/callback"),
    (LOOPBACK, "http:/localhost:8080/callback"),
    (LOOPBACK, "http:localhost:8080/callback"),
    (LOOPBACK, "http://localhost:8080\\callback"),
    (LOOPBACK, "//localhost:8080/callback"),
    (LOOPBACK, "/callback"),
    (WEB, "https://app.example/cb/"),
    (WEB, "https://app.example:443/cb"),
    (WEB, "https://app.example:8443/cb"),
    (WEB, "https://app.example/cb?"),
    (WEB, "https://app.example.evil/cb"),
    (WEB, "https://evil.example/?https://app.example/cb"),
    (WEB, "javascript:alert(1)//https://app.example/cb"),
];

/// A fault of the Python gateway: the port of a loopback redirect had to match.
#[tokio::test]
async fn redirects_of_clients_in_use_lead_to_the_consent_page() {
    let auth = Auth::start().await;
    for (registered, requested) in ADMITTED {
        let metadata = json!({"redirect_uris": [registered], "token_endpoint_auth_method": "none"});
        let client = register_with(&auth, &metadata).await;
        let answer = ask(&auth, &client.id, &[("redirect_uri", requested)]).await;
        assert_eq!(answer.status, 200, "{registered} {requested}: {answer:?}");
    }
}

#[tokio::test]
async fn near_misses_of_a_redirect_are_a_page_and_never_a_redirect() {
    let auth = Auth::start().await;
    let metadata = json!({"redirect_uris": [LOOPBACK, WEB], "token_endpoint_auth_method": "none"});
    let client = register_with(&auth, &metadata).await;
    for (registered, requested) in REFUSED {
        let answer = ask(&auth, &client.id, &[("redirect_uri", requested)]).await;
        assert_eq!(answer.status, 400, "{registered} {requested:?}: {answer:?}");
        assert_eq!(answer.count("location"), 0, "{requested:?}");
        assert_eq!(answer.count("set-cookie"), 0, "{requested:?}");
    }
}
