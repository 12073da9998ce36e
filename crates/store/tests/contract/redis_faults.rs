//! What can go wrong with Redis: cut and silent connections, a restart, a wrong password.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use store::{
    Backend, Event, EventFeed, Index, Key, Kind, Notice, Record, RedisBackend, RedisOptions,
    StoreError, Swap, Swapped,
};
use testkit::chaos::{ChaosProxy, Direction};
use testkit::redis::RedisServer;
use testkit::wait;

use crate::redis::open;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// No call takes longer; `/verify` and `/token` must answer within 2.2 s.
const LONGEST_CALL: Duration = Duration::from_secs(2);

/// How soon everything works again once Redis is back.
const RECOVERY: Duration = Duration::from_secs(2);

fn key() -> Key {
    Key::new(Kind::Session, "one")
}

fn record(text: &str) -> Record {
    Record::new(text.as_bytes().to_vec(), None)
}

async fn swap(
    backend: &dyn Backend,
    expected: Option<&Record>,
    new: &Record,
) -> Result<Swapped, StoreError> {
    let key = key();
    let swap = Swap {
        key: &key,
        expected,
        new: Some(new),
        event: Some(&Event::SessionChanged("one".to_owned())),
    };
    backend.swap(swap, NOW).await
}

/// Stores a record where there is none.
async fn store(backend: &dyn Backend, new: &Record) {
    let swapped = swap(backend, None, new).await.unwrap();
    assert_eq!(swapped, Swapped::Done);
}

async fn read(backend: &dyn Backend) -> Result<Option<Record>, StoreError> {
    Ok(backend.read(&[key()], NOW).await?.pop().flatten())
}

async fn through(proxy: &ChaosProxy) -> Arc<RedisBackend> {
    open(&format!("redis://{}", proxy.address())).await
}

async fn until_connected(backend: &dyn Backend, connected: bool) {
    let mut state = backend.events().connected();
    let waiting = state.wait_for(|state| *state == connected);
    tokio::time::timeout(wait::PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
}

/// The next notice that is not about an event: one may still be under way.
async fn next_state(feed: &mut EventFeed) -> Notice {
    loop {
        let next = tokio::time::timeout(wait::PATIENCE, feed.next()).await;
        match next.unwrap().unwrap() {
            Notice::Changed(_) => {}
            state => return state,
        }
    }
}

/// Cuts at every byte of a swap, in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_is_cut_off_is_done_or_not_done() {
    let server = RedisServer::start().await.unwrap();
    let direct = open(&server.url()).await;
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let proxied = through(&proxy).await;
    until_connected(&*proxied, true).await;
    let mut stored = record("0");
    assert_eq!(swap(&*direct, None, &stored).await.unwrap(), Swapped::Done);
    let (mut done, mut unknown_done, mut not_done) = (0, 0, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut uncut = 0;
        for bytes in 0.. {
            let new = record(&format!("{direction:?} {bytes}"));
            proxy.cut_after(direction, bytes);
            let answer = swap(&*proxied, Some(&stored), &new).await;
            if proxy.forgive() {
                uncut += 1;
            }
            let now = read(&*direct).await.unwrap().unwrap();
            match answer {
                Ok(Swapped::Done) => {
                    assert_eq!(now, new, "answered as done");
                    done += 1;
                }
                Ok(Swapped::Conflict) => panic!("nobody else changes it"),
                Err(StoreError::Unavailable { .. }) => {
                    assert!(
                        now == new || now == stored,
                        "neither before nor after: {now:?}"
                    );
                    if now == new {
                        unknown_done += 1;
                    } else {
                        not_done += 1;
                    }
                }
                Err(error) => panic!("{error}"),
            }
            stored = now;
            // Heartbeats pass too, so one swap may go uncut early.
            if uncut == 5 {
                break;
            }
        }
    }
    assert!(done >= 10, "uncut ones are done: {done}");
    assert!(unknown_done > 0, "some were cut on the way back");
    assert!(not_done > 100, "many were cut on the way there: {not_done}");
}

/// A question is asked again on a new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_survives_a_cut() {
    let server = RedisServer::start().await.unwrap();
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let backend = through(&proxy).await;
    store(&*backend, &record("x")).await;
    for _ in 0..20 {
        proxy.cut_all();
        let found = read(&*backend).await.unwrap();
        assert_eq!(found, Some(record("x")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_is_an_error_in_time_and_comes_back() {
    let server = RedisServer::start().await.unwrap();
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let backend = through(&proxy).await;
    store(&*backend, &record("x")).await;
    until_connected(&*backend, true).await;
    proxy.pause(true);
    until_connected(&*backend, false).await;
    for _ in 0..3 {
        let started = Instant::now();
        assert!(read(&*backend).await.is_err());
        assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
        let started = Instant::now();
        assert!(swap(&*backend, None, &record("y")).await.is_err());
        assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
        let started = Instant::now();
        assert!(backend.ping().await.is_err());
        assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
    }
    proxy.pause(false);
    let started = Instant::now();
    wait::until("an answer", wait::PATIENCE, || async {
        read(&*backend).await.ok().flatten()
    })
    .await
    .unwrap();
    assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
    until_connected(&*backend, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_again_after_a_restart() {
    let mut server = RedisServer::start().await.unwrap();
    let backend = open(&server.url()).await;
    until_connected(&*backend, true).await;
    store(&*backend, &record("kept")).await;
    let mut feed = backend.events();
    assert!(feed.is_connected());
    server.kill().await.unwrap();
    assert_eq!(next_state(&mut feed).await, Notice::Lost);
    for _ in 0..10 {
        let started = Instant::now();
        let error = read(&*backend).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(swap(&*backend, None, &record("never")).await.is_err());
        assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
    }
    server.restart().await.unwrap();
    let started = Instant::now();
    let found = wait::until("an answer", wait::PATIENCE, || async {
        read(&*backend).await.ok()
    })
    .await
    .unwrap();
    assert_eq!(found, Some(record("kept")));
    let swapped = swap(&*backend, found.as_ref(), &record("new"))
        .await
        .unwrap();
    assert_eq!(swapped, Swapped::Done);
    assert_eq!(next_state(&mut feed).await, Notice::Restored);
    assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
}

/// The service may start before its Redis does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_later_is_found() {
    let mut server = RedisServer::start().await.unwrap();
    server.kill().await.unwrap();
    let backend = open(&server.url()).await;
    assert!(backend.ping().await.is_err());
    assert!(!backend.events().is_connected());
    server.restart().await.unwrap();
    wait::until("an answer", RECOVERY, || async {
        backend.ping().await.ok()
    })
    .await
    .unwrap();
    until_connected(&*backend, true).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let server = RedisServer::start().await.unwrap();
    for (url, password) in [
        (server.url(), Some("topsecret".to_owned())),
        (server.url().replace("://", "://:topsecret@"), None),
        (server.url(), None),
    ] {
        let options = RedisOptions {
            password,
            ..RedisOptions::new(url)
        };
        let backend = RedisBackend::open(options).await.unwrap();
        for error in [
            backend.ping().await.unwrap_err(),
            swap(&backend, None, &record("x")).await.unwrap_err(),
        ] {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("REDIS_PASSWORD"), "{shown}");
            assert!(!shown.contains("topsecret"), "{shown}");
        }
    }
}

/// Each key has a life, a little longer than what it is for; what has no end has none.
#[tokio::test]
async fn each_key_ends_a_little_after_its_record() {
    let server = RedisServer::start().await.unwrap();
    let backend = open(&server.url()).await;
    let end = Timestamp::from_second(100).unwrap();
    let mortal = Record::new(b"x".to_vec(), Some(end));
    store(&*backend, &mortal).await;
    let index = Index::SessionsOfPerson("p".to_owned());
    backend
        .index_insert(&index, "one", Some(end), NOW)
        .await
        .unwrap();
    backend
        .index_insert(&Index::People, "p", None, NOW)
        .await
        .unwrap();
    // 100 s and the grace of 60 s, rounded.
    let minutes = "EVAL \"return math.ceil((redis.call('PTTL', ARGV[1]) + 0.0) / 80000)\" 0";
    for key in [
        "mcp-auth:session:one",
        "mcp-auth:{index:sessions-of-person:p}:names",
        "mcp-auth:{index:sessions-of-person:p}:ends",
    ] {
        let command = format!("{minutes} {key}");
        server.command(&command, ":2\r\n").await.unwrap();
    }
    let command = "PTTL mcp-auth:{index:people}:names";
    server.command(command, ":-1\r\n").await.unwrap();
    // Those five, and the version of the format, which stays.
    server.command("DBSIZE", ":6\r\n").await.unwrap();
}

/// Names that ended are removed by later insertions, not kept for ever.
#[tokio::test]
async fn an_index_does_not_grow_without_bound() {
    let server = RedisServer::start().await.unwrap();
    let backend = open(&server.url()).await;
    for second in 0..100 {
        let now = Timestamp::from_second(second).unwrap();
        let end = Timestamp::from_second(second + 5).unwrap();
        let name = second.to_string();
        backend
            .index_insert(&Index::Sessions, &name, Some(end), now)
            .await
            .unwrap();
    }
    for half in ["names", "ends"] {
        let command = format!("ZCARD mcp-auth:{{index:sessions}}:{half}");
        server.command(&command, ":5\r\n").await.unwrap();
    }
}

/// A Redis that takes no writes (a replica after a fail-over, or one whose memory is full) is an error that says so, and
/// reads go on.
#[tokio::test]
async fn a_redis_that_takes_no_writes_is_an_error_that_says_so() {
    let server = RedisServer::start().await.unwrap();
    let backend = open(&server.url()).await;
    store(&*backend, &record("x")).await;
    for (end, what, begin) in [
        (
            "REPLICAOF NO ONE",
            "read only replica",
            "REPLICAOF 127.0.0.1 1",
        ),
        (
            "CONFIG SET maxmemory 0",
            "maxmemory",
            "CONFIG SET maxmemory 1",
        ),
    ] {
        server.command(begin, "+OK").await.unwrap();
        let now = read(&*backend).await.unwrap();
        let error = swap(&*backend, now.as_ref(), &record(what))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(read(&*backend).await.unwrap(), now);
        server.command(end, "+OK").await.unwrap();
        let swapped = swap(&*backend, now.as_ref(), &record(what)).await.unwrap();
        assert_eq!(swapped, Swapped::Done);
    }
}

/// What the log says about a Redis that would lose sessions, and that it says nothing secret.
#[tokio::test]
async fn a_careless_redis_is_named_in_the_log() {
    let lines = LogLines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    // This runtime has one thread, so that the tasks of the backend write here too.
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut server = RedisServer::start_with(&["maxmemory-policy allkeys-lru", "appendonly no"])
        .await
        .unwrap();
    let backend = open(&server.url()).await;
    until_connected(&*backend, true).await;
    let text = lines.text();
    assert!(text.contains("maxmemory-policy allkeys-lru"), "{text}");
    assert!(text.contains("appendonly yes"), "{text}");
    server.kill().await.unwrap();
    until_connected(&*backend, false).await;
    let lost = || lines.text().matches("lost the").count() == 2;
    wait::until_true("both losses in the log", wait::PATIENCE, lost)
        .await
        .unwrap();
    assert!(
        !lines.text().contains(RedisServer::PASSWORD),
        "{}",
        lines.text()
    );
}

/// A log in memory.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<u8>>>);

impl LogLines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
