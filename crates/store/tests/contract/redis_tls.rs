//! `rediss://`: TLS with a certificate that the system trusts, and only with one.

use std::process::{Command, Stdio};

use jiff::Timestamp;
use store::{Backend as _, Event, Key, Kind, Notice, Record, StoreError, Swap, Swapped};
use testkit::chaos::{ChaosProxy, Direction};
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

/// A change over TLS whose connection is cut, in the handshake or after it, is done or not done, and the answer is true. Without
/// the variable it is a test that does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_cut_off_over_tls() {
    #[expect(clippy::disallowed_methods, reason = "how a test talks to its child")]
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let address = url.trim_start_matches("rediss://").parse().unwrap();
    let proxy = ChaosProxy::start(address).await.unwrap();
    let proxied = open(&format!("rediss://{}", proxy.address())).await;
    let direct = open(&url).await;
    let key = Key::new(Kind::Session, "cut");
    let now = Timestamp::UNIX_EPOCH;
    let mut stored: Option<Record> = None;
    let (mut done, mut failed) = (0, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut uncut = 0;
        // A handshake has thousands of bytes; a step that shares no factor with its records meets all parts of them.
        for bytes in (0..).step_by(37) {
            let new = Record::new(format!("{direction:?} {bytes}").into_bytes(), None);
            let swap = Swap {
                key: &key,
                expected: stored.as_ref(),
                new: Some(&new),
                event: None,
            };
            proxy.cut_after(direction, bytes);
            let answer = proxied.swap(swap, now).await;
            if proxy.forgive() {
                uncut += 1;
            }
            let there = direct.read(std::slice::from_ref(&key), now).await.unwrap();
            let there = there.into_iter().next().flatten();
            match answer {
                Ok(Swapped::Done) => {
                    assert_eq!(there.as_ref(), Some(&new), "answered as done");
                    done += 1;
                }
                Ok(Swapped::Conflict) => panic!("nobody else changes it"),
                Err(StoreError::Unavailable { .. }) => {
                    assert!(there.as_ref() == Some(&new) || there == stored, "{there:?}");
                    failed += 1;
                }
                Err(error) => panic!("{error}"),
            }
            stored = there;
            if uncut == 5 {
                break;
            }
        }
    }
    assert!(done >= 10, "uncut ones are done: {done}");
    assert!(failed > 5, "cut ones are not answered as done: {failed}");
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
    for child in ["talks_over_tls", "is_cut_off_over_tls"] {
        let trusting = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("redis_tls::child_that_{child}")])
            .env(URL, &url)
            .env("SSL_CERT_FILE", &certificate)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&trusting.stdout);
        assert!(trusting.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }
    server
        .command("EXISTS mcp-auth:session:one", ":1")
        .await
        .unwrap();
}
