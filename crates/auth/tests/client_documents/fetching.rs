//! The fetch itself: what is sent, what is taken, and where no connection goes.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auth::testing::{DocumentError, DocumentPolicy};
use oauth::client_document::{InvalidDocument, InvalidDocumentUrl};
use serde_json::json;

use crate::remote::{
    CLIENT, LookUp, PUBLIC, Reaction, Remote, TestNetwork, answer, document, json as as_json,
};

async fn setting() -> (Remote, Arc<TestNetwork>, LookUp) {
    let remote = Remote::start().await;
    let network = TestNetwork::new(&remote);
    let look_up = LookUp::new(&network);
    (remote, network, look_up)
}

/// What comes of one look at a host that reacts so.
async fn outcome(reaction: Reaction) -> Result<String, DocumentError> {
    let (remote, _network, look_up) = setting().await;
    remote.set(reaction);
    let found = look_up.of(CLIENT).await;
    found.map(|metadata| metadata.client_name.clone())
}

#[tokio::test]
async fn the_request_is_a_plain_get_with_a_fixed_user_agent() {
    let (remote, network, look_up) = setting().await;
    let metadata = look_up.of(CLIENT).await.unwrap();
    assert_eq!(metadata.client_name, "Example");
    assert_eq!(
        network.reached(),
        [PUBLIC.parse::<std::net::IpAddr>().unwrap()]
    );
    let request = remote.requests().pop().unwrap().to_lowercase();
    let mut lines: Vec<&str> = request.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "get /oauth/client.json http/1.1");
    lines.sort_unstable();
    let agent = format!(
        "user-agent: mcp-oauth-gateway/{}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        lines,
        ["accept: application/json", "host: client.example", &agent]
    );
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "fetching::the_request_is_a_plain_get_with_a_fixed_user_agent",
        ])
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
async fn a_url_that_may_not_name_a_client_is_not_fetched() {
    let (remote, _network, look_up) = setting().await;
    for (id, expected) in [
        ("https://client.example/c#x", InvalidDocumentUrl::Fragment),
        ("https://ada@client.example/c", InvalidDocumentUrl::UserInfo),
        ("https://127.0.0.1/c", InvalidDocumentUrl::Host),
        ("https://[::1]/c", InvalidDocumentUrl::Host),
        ("https://localhost/c", InvalidDocumentUrl::Host),
        ("https://client.example:8443/c", InvalidDocumentUrl::Port),
        ("https://auth.gateway.example/c", InvalidDocumentUrl::Own),
        ("https://client.example/", InvalidDocumentUrl::NoPath),
        (
            "https://client.example/a/../c",
            InvalidDocumentUrl::Spelling,
        ),
        ("http://client.example/c", InvalidDocumentUrl::Spelling),
    ] {
        assert_eq!(
            look_up.of(id).await.unwrap_err(),
            DocumentError::Url(expected),
            "{id}"
        );
    }
    assert_eq!(remote.connections(), 0);
}

#[tokio::test]
async fn the_document_must_be_the_urls_own_and_hold_no_secret() {
    for (member, value, expected) in [
        (
            "client_id",
            json!(format!("{CLIENT}/")),
            InvalidDocument::ClientId,
        ),
        (
            "client_id",
            json!("https://CLIENT.example/oauth/client.json"),
            InvalidDocument::ClientId,
        ),
        (
            "client_id",
            json!("https://other.example/oauth/client.json"),
            InvalidDocument::ClientId,
        ),
        ("client_secret", json!("x"), InvalidDocument::Secret),
        (
            "client_secret_expires_at",
            json!(0),
            InvalidDocument::Secret,
        ),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            InvalidDocument::AuthMethod,
        ),
        (
            "token_endpoint_auth_method",
            json!("client_secret_post"),
            InvalidDocument::AuthMethod,
        ),
        (
            "token_endpoint_auth_method",
            json!("client_secret_jwt"),
            InvalidDocument::AuthMethod,
        ),
        (
            "token_endpoint_auth_method",
            json!("private_key_jwt"),
            InvalidDocument::AuthMethod,
        ),
        ("client_name", json!(null), InvalidDocument::ClientName),
        ("redirect_uris", json!("x"), InvalidDocument::NotJson),
    ] {
        let mut document = document();
        document[member] = value;
        let refused = outcome(as_json(&document, &[])).await.unwrap_err();
        assert_eq!(refused, DocumentError::Invalid(expected), "{document}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (remote, _network, look_up) = setting().await;
        let elsewhere = "Location: https://other.example/oauth/client.json";
        remote.set(answer(
            status,
            &[elsewhere, "Content-Type: application/json"],
            &document().to_string(),
        ));
        assert!(
            matches!(look_up.of(CLIENT).await, Err(DocumentError::Answer(_))),
            "{status}"
        );
        assert_eq!(remote.connections(), 1);
    }
}

#[tokio::test]
async fn only_200_is_an_answer() {
    let text = document().to_string();
    let with = |status| answer(status, &["Content-Type: application/json"], &text);
    for status in [201, 203, 400, 401, 404, 410] {
        let refused = outcome(with(status)).await.unwrap_err();
        assert!(
            matches!(refused, DocumentError::Answer(_)),
            "{status}: {refused}"
        );
    }
    for status in [403, 408, 429, 500, 502, 503] {
        assert_eq!(
            outcome(with(status)).await.unwrap_err(),
            DocumentError::Unavailable,
            "{status}"
        );
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let text = document().to_string();
    for content_type in [
        "Content-Type: application/json",
        "Content-Type: Application/JSON; charset=utf-8",
        "Content-Type: application/oauth-client+json",
    ] {
        assert_eq!(
            outcome(answer(200, &[content_type], &text))
                .await
                .as_deref(),
            Ok("Example")
        );
    }
    for headers in [
        &["Content-Type: text/html"][..],
        &["Content-Type: text/json"],
        &["Content-Type: application/jsonp"],
        &["Content-Type: text/plain; application/json"],
        &["Content-Type: application/json", "Content-Type: text/html"],
        &[],
    ] {
        let refused = outcome(answer(200, headers, &text)).await.unwrap_err();
        assert_eq!(
            refused,
            DocumentError::Answer("is not sent as application/json"),
            "{headers:?}"
        );
    }
    // Compressed bytes are not unpacked.
    let packed = ["Content-Type: application/json", "Content-Encoding: gzip"];
    let refused = outcome(answer(200, &packed, "\u{1f}\u{8b}"))
        .await
        .unwrap_err();
    assert_eq!(refused, DocumentError::Invalid(InvalidDocument::NotJson));
}

#[tokio::test]
async fn five_kib_are_read_and_no_more() {
    let padded = |length: usize| {
        let text = document().to_string();
        let padding = " ".repeat(length - text.len());
        answer(
            200,
            &["Content-Type: application/json"],
            &format!("{text}{padding}"),
        )
    };
    assert_eq!(outcome(padded(5 * 1024)).await.as_deref(), Ok("Example"));
    let too_long = DocumentError::Answer("has more than 5 KiB");
    assert_eq!(outcome(padded(5 * 1024 + 1)).await.unwrap_err(), too_long);
    // Without a length the stream is cut off. What the buffers of two sockets hold was sent, not read.
    let sent = Arc::new(AtomicUsize::new(0));
    assert_eq!(
        outcome(Reaction::Endless(Arc::clone(&sent)))
            .await
            .unwrap_err(),
        too_long
    );
    assert!(sent.load(Ordering::SeqCst) < 16 * 1024 * 1024, "{sent:?}");
}

#[tokio::test]
async fn a_slow_host_is_given_up_after_three_seconds() {
    let text = document().to_string();
    let Reaction::Bytes(bytes) = answer(200, &["Content-Type: application/json"], &text) else {
        panic!("an answer is bytes");
    };
    for (reaction, limit) in [
        (Reaction::NoTls, Duration::from_millis(2500)),
        (Reaction::Silence, Duration::from_millis(4500)),
        (Reaction::Drip(bytes), Duration::from_millis(4500)),
    ] {
        let started = Instant::now();
        let found = tokio::time::timeout(Duration::from_secs(10), outcome(reaction)).await;
        assert_eq!(found, Ok(Err(DocumentError::Unavailable)));
        assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn the_certificate_must_be_trusted_and_for_this_host() {
    let (remote, other) = (Remote::start().await, Remote::start().await);
    let distrusting = LookUp::new(&TestNetwork::trusting(&remote, &other));
    assert_eq!(
        distrusting.of(CLIENT).await.unwrap_err(),
        DocumentError::Unavailable
    );
    let elsewhere = Remote::start_as(vec!["elsewhere.example".to_owned()]).await;
    let look_up = LookUp::new(&TestNetwork::new(&elsewhere));
    assert_eq!(
        look_up.of(CLIENT).await.unwrap_err(),
        DocumentError::Unavailable
    );
    assert!(remote.requests().is_empty() && elsewhere.requests().is_empty());
}

#[tokio::test]
async fn no_connection_goes_to_an_address_that_is_not_public() {
    let (remote, network, look_up) = setting().await;
    for (number, address) in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.17.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001:0:1::1",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ]
    .into_iter()
    .enumerate()
    {
        let host = format!("h{number}.example");
        network.name(&host, &[&[address]]);
        let refused = look_up.of(&format!("https://{host}/c")).await.unwrap_err();
        assert_eq!(refused, DocumentError::Blocked, "{address}");
    }
    // One public address beside it does not help.
    network.name("both.example", &[&[PUBLIC, "127.0.0.1"]]);
    assert_eq!(
        look_up.of("https://both.example/c").await.unwrap_err(),
        DocumentError::Blocked
    );
    assert_eq!((network.reached().len(), remote.connections()), (0, 0));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_caught_at_the_connection() {
    let (remote, network, look_up) = setting().await;
    network.name("client.example", &[&[PUBLIC], &["127.0.0.1"], &[PUBLIC]]);
    // The address that was found good is the one that is connected to: nothing is resolved twice for one fetch.
    assert!(look_up.of(CLIENT).await.is_ok());
    assert_eq!(remote.connections(), 1);
    // The next fetch resolves anew, on a connection of its own, and is refused.
    look_up.clock.advance(24 * 60 * 60);
    assert_eq!(
        look_up.of(CLIENT).await.unwrap_err(),
        DocumentError::Blocked
    );
    assert_eq!(remote.connections(), 1);
    look_up.clock.advance(30);
    assert!(look_up.of(CLIENT).await.is_ok());
    assert_eq!(network.reached().len(), 2);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_host_that_does_not_answer() {
    let (_remote, network, look_up) = setting().await;
    network.name("client.example", &[]);
    assert_eq!(
        look_up.of(CLIENT).await.unwrap_err(),
        DocumentError::Unavailable
    );
}

#[tokio::test]
async fn a_policy_decides_whose_documents_are_fetched() {
    let remote = Remote::start().await;
    let network = TestNetwork::new(&remote);
    let off = LookUp::with_policy(&network, DocumentPolicy::Off);
    assert_eq!(off.of(CLIENT).await.unwrap_err(), DocumentError::Off);
    assert!(!off.documents.is_on());
    let hosts = BTreeSet::from(["other.example".to_owned()]);
    let listed = LookUp::with_policy(&network, DocumentPolicy::Hosts(hosts));
    assert_eq!(
        listed.of(CLIENT).await.unwrap_err(),
        DocumentError::HostNotListed
    );
    for near in [
        "https://x.other.example/c",
        "https://other.example.client.example/c",
    ] {
        assert_eq!(
            listed.of(near).await.unwrap_err(),
            DocumentError::HostNotListed,
            "{near}"
        );
    }
    assert_eq!(remote.connections(), 0);
    let id = "https://other.example/oauth/client.json";
    let mut document = document();
    document["client_id"] = json!(id);
    remote.set(as_json(&document, &[]));
    assert!(listed.of(id).await.is_ok() && listed.documents.is_on());
}
