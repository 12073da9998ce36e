//! Slow clients, long heads, and a store that hangs.

use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use testkit::raw;
use testkit::redis::RedisServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::answer::answer;
use crate::service::{AUTH, Auth, PASSWORD, USERNAME};
use crate::sign_in::{code, public_client, signed_in};

/// Bytes of a head that are read.
const HEAD: usize = 16 * 1024;

#[tokio::test]
async fn a_head_of_more_than_16_kib_is_refused() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let ask = |length: usize| {
        let request = auth.request("GET", AUTH, "/.well-known/oauth-authorization-server");
        answer(request.header("X-Padding", "x".repeat(length)))
    };
    assert_eq!(ask(HEAD - 300).await.status, 200);
    assert_eq!(ask(HEAD).await.refusal(), "431 invalid_request");
    let request = auth.request("GET", AUTH, &format!("/register/{}", client.id));
    let many = (0..30).fold(request, |request, number| {
        request.header(format!("X-Padding-{number}"), "x".repeat(1000))
    });
    assert_eq!(answer(many).await.refusal(), "431 invalid_request");
    // Four answers, whatever is sent.
    let overlong = auth.verification("mcp-fetch").bearer_auth("x".repeat(HEAD));
    assert_eq!(answer(overlong).await.status, 401);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_given_up_after_five_seconds() {
    let auth = Auth::start().await;
    let mut stream = TcpStream::connect(auth.public).await.unwrap();
    let begun = Instant::now();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHos")
        .await
        .unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said))
        .await
        .expect("the connection is closed")
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(4500));
    let said = String::from_utf8(said).unwrap();
    assert_eq!(raw::status(&said), 408, "{said}");
}

/// A shell and many containers allow 1024 open files at first, and a balancer keeps more connections than that.
#[tokio::test]
async fn more_connections_are_answered_than_files_were_allowed_at_first() {
    let few = 100;
    let auth = Auth::start_with_few_files(few).await;
    let mut connections = Vec::new();
    for _ in 0..2 * few {
        let mut stream = TcpStream::connect(auth.public).await.unwrap();
        let request = b"GET /health HTTP/1.1\r\nHost: auth\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut start = [0; 15];
        let read = stream.read_exact(&mut start);
        tokio::time::timeout(testkit::wait::PATIENCE, read)
            .await
            .expect("an answer")
            .unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        connections.push(stream);
    }
}

/// Resident memory of the service in bytes.
pub(crate) async fn memory(auth: &Auth) -> u64 {
    let http = testkit::network::http_client().unwrap();
    let request = http.get(format!("http://{}/metrics", auth.private));
    let text = answer(request).await.body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.unwrap().parse().unwrap()
}

/// Argon2id takes 19 MiB a time, and several threads take turns.
#[tokio::test]
async fn passwords_leave_no_memory_behind() {
    let hash = Argon2::default()
        .hash_password(PASSWORD.as_bytes())
        .unwrap();
    let users = format!("{USERNAME}:{hash}");
    let auth = Auth::start_with(&[("LOCAL_USERS", &users)]).await;
    let client = public_client(&auth).await;
    let before = memory(&auth).await;
    for _ in 0..2 {
        let codes = (0..4).map(|_| code(&auth, &client.id));
        assert_eq!(futures_util::future::join_all(codes).await.len(), 4);
    }
    let kept = memory(&auth).await.saturating_sub(before);
    assert!(kept < 12 * 1024 * 1024, "{kept} bytes");
}

/// 2000 clients that begin a request and do not go on cost at most 64 MiB, and nobody else waits for them.
#[tokio::test]
async fn two_thousand_idle_connections_cost_little() {
    let auth = Auth::start().await;
    let before = memory(&auth).await;
    let mut idle = Vec::new();
    for number in 0..2000 {
        let mut stream = TcpStream::connect(auth.public)
            .await
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: auth.localhost\r\n")
            .await
            .unwrap();
        idle.push(stream);
    }
    assert_eq!(auth.get(AUTH, "/health").await.status, 200);
    let cost = memory(&auth).await.saturating_sub(before);
    println!("2000 idle connections cost {} KiB", cost / 1024);
    assert!(cost <= 64 * 1024 * 1024, "{cost} bytes");
}

#[tokio::test]
async fn while_the_store_hangs_verify_answers_in_time_and_lets_few_wait() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[("LIMIT_VERIFY_IN_FLIGHT", "4")]).await;
    let (_, tokens) = signed_in(&auth).await;
    redis.freeze().unwrap();
    let requests = (0..40).map(|_| async {
        let begun = Instant::now();
        let refused = auth.verify(&tokens.access).await;
        assert_eq!(refused.refusal(), "503 temporarily_unavailable");
        assert_eq!(refused.header("retry-after"), "2");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        refused.text("error_description").contains("too many")
    });
    let turned_away = futures_util::future::join_all(requests).await;
    let turned_away = turned_away.into_iter().filter(|busy| *busy).count();
    assert!((20..=36).contains(&turned_away), "{turned_away}");
    // A forged token needs no store.
    assert_eq!(auth.verify("a.b.c").await.status, 401);
    redis.thaw().unwrap();
    let again = testkit::wait::until("a 200", testkit::wait::PATIENCE, async || {
        (auth.verify(&tokens.access).await.status == 200).then_some(())
    });
    again.await.unwrap();
}
