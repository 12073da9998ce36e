//! `rediss://`: TLS with a certificate that the system trusts, and only with one.

use std::process::{Command, Stdio};

use jiff::Timestamp;
use store::{Backend as _, Event, Key, Kind, Notice, Record, Swap, Swapped};
use testkit::redis::RedisServer;
use testkit::{network, wait};

use crate::redis::open;

const URL: &str = "STORE_TEST_REDISS_URL";

/// Stores, reads and hears over TLS. Without the variable it is a test that does nothing.
#[tokio::test]
async fn child_that_talks_over_tls() {
    #[expect(clippy::disallowed_methods, reason = "how a test talks to its child")]
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let backend = open(&url).await;
    let mut feed = backend.events();
    if !feed.is_connected() {
        let notice = tokio::time::timeout(wait::PATIENCE, feed.next()).await;
        assert_eq!(notice.unwrap(), Some(Notice::Restored));
    }
    let (key, record) = (
        Key::new(Kind::Session, "one"),
        Record::new(b"x".to_vec(), None),
    );
    let swap = Swap {
        key: &key,
        expected: None,
        new: Some(&record),
        event: Some(&Event::KeysChanged),
    };
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(backend.swap(swap, now).await.unwrap(), Swapped::Done);
    assert_eq!(backend.read(&[key], now).await.unwrap(), [Some(record)]);
    assert_eq!(feed.next().await, Some(Notice::Changed(Event::KeysChanged)));
}

#[tokio::test]
async fn redis_is_reached_over_tls_if_its_certificate_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = directory.path().join("certificate.pem");
    let private_key = directory.path().join("key.pem");
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&private_key, certified.signing_key.serialize_pem()).unwrap();
    let port = network::free_port().unwrap();
    let server = RedisServer::start_with(&[
        &format!("tls-port {port}"),
        &format!("tls-cert-file {}", certificate.display()),
        &format!("tls-key-file {}", private_key.display()),
        "tls-auth-clients no",
    ])
    .await
    .unwrap();
    let url = format!("rediss://127.0.0.1:{port}");
    let distrusting = open(&url).await;
    let error = distrusting.ping().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    // What the system trusts is read from the environment of the process.
    let trusting = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redis_tls::child_that_talks_over_tls"])
        .env(URL, url)
        .env("SSL_CERT_FILE", &certificate)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&trusting.stdout);
    assert!(trusting.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    server
        .command("EXISTS mcp-auth:session:one", ":1")
        .await
        .unwrap();
}
