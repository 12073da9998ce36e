//! Calls whose connection is cut at each byte: a change is done wholly or not at all, and each answer is true.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use store::{
    Admission, Backend, Event, Index, Key, Kind, Notice, Page, Quota, Record, RedisBackend, Scan,
    StoreError, Swap, Swapped,
};
use testkit::chaos::{ChaosProxy, Direction};
use testkit::redis::RedisServer;
use testkit::wait;

use crate::redis::open;
use crate::redis_kinds::open_with;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Both halves of the index agree; whether they have the name.
async fn has(direct: &RedisBackend, name: &str) -> bool {
    let listed = direct.index_members(&Index::Clients, None, 10, NOW).await;
    let listed = listed.unwrap();
    let counted = direct.index_len(&Index::Clients, NOW).await.unwrap();
    assert_eq!(counted, listed.len() as u64, "{listed:?}");
    listed.iter().any(|listed| listed == name)
}

/// What a change answers to the cut at each byte, in both directions: `change` is done through the proxy, `undo` directly.
async fn cut_everywhere(
    is_insert: bool,
    proxy: &ChaosProxy,
    proxied: &Arc<RedisBackend>,
    direct: &Arc<RedisBackend>,
) {
    let (mut done, mut failed) = (0, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut uncut = 0;
        for bytes in 0.. {
            let name = format!("name {bytes}");
            if !is_insert {
                direct
                    .index_insert(&Index::Clients, &name, None, NOW)
                    .await
                    .unwrap();
            }
            proxy.cut_after(direction, bytes);
            let answer = if is_insert {
                proxied
                    .index_insert(&Index::Clients, &name, None, NOW)
                    .await
            } else {
                proxied.index_remove(&Index::Clients, &name).await
            };
            if proxy.forgive() {
                uncut += 1;
            }
            let there = has(direct, &name).await;
            match answer {
                Ok(()) => {
                    assert_eq!(there, is_insert, "answered as done");
                    done += 1;
                }
                Err(StoreError::Unavailable { .. }) => failed += 1,
                Err(error) => panic!("{error}"),
            }
            direct.index_remove(&Index::Clients, &name).await.unwrap();
            // Heartbeats pass too, so one change may go uncut early.
            if uncut == 5 {
                break;
            }
        }
    }
    assert!(done >= 10, "uncut ones are done: {done}");
    assert!(failed > 100, "cut ones are not answered as done: {failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_an_index_that_is_cut_off_is_done_or_not_done() {
    let server = RedisServer::start().await.unwrap();
    let direct = open(&server.url()).await;
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let proxied = open(&format!("redis://{}", proxy.address())).await;
    for is_insert in [true, false] {
        cut_everywhere(is_insert, &proxy, &proxied, &direct).await;
    }
}

/// Cuts the connection at every byte of a call, in both directions, `stride` bytes apart, until it is no longer reached. An answer
/// is a true one or "cannot be asked"; `check` looks at the true ones.
async fn cut_a_call<T>(
    proxy: &ChaosProxy,
    stride: usize,
    call: impl AsyncFn() -> Result<T, StoreError>,
    check: impl AsyncFn(T),
) {
    let (mut answered, mut failed) = (0, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut uncut = 0;
        for bytes in (0..).step_by(stride) {
            proxy.cut_after(direction, bytes);
            let answer = call().await;
            if proxy.forgive() {
                uncut += 1;
            }
            match answer {
                Ok(answer) => {
                    check(answer).await;
                    answered += 1;
                }
                Err(StoreError::Unavailable { .. }) => failed += 1,
                Err(error) => panic!("{error}"),
            }
            // Heartbeats pass too, so one call may go uncut early.
            if uncut == 5 {
                break;
            }
        }
    }
    assert!(answered >= 10, "uncut ones are answered: {answered}");
    eprintln!("{answered} answered, {failed} not");
}

/// A proxy of its own, and a store behind it that uses keys of its own.
async fn proxied(server: &RedisServer, prefix: &str) -> (ChaosProxy, Arc<RedisBackend>) {
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let url = format!("redis://{}", proxy.address());
    let backend = open_with(&url, prefix).await;
    (proxy, backend)
}

/// What is asked is answered truly or not at all, wherever the connection breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_cut_off_gets_no_wrong_answer() {
    let server = RedisServer::start().await.unwrap();
    let (key, record) = (
        Key::new(Kind::Client, "one"),
        Record::new(b"x".to_vec(), None),
    );
    let filled = async |prefix: &str| {
        let direct = open_with(&server.url(), prefix).await;
        let swap = Swap {
            key: &key,
            expected: None,
            new: Some(&record),
            event: None,
        };
        assert_eq!(direct.swap(swap, NOW).await.unwrap(), Swapped::Done);
        direct
            .index_insert(&Index::Clients, "one", None, NOW)
            .await
            .unwrap();
        proxied(&server, prefix).await
    };
    let read = async {
        let (proxy, backend) = filled("r:").await;
        let call = async || backend.read(std::slice::from_ref(&key), NOW).await;
        let check = async |found: Vec<Option<Record>>| assert_eq!(found, [Some(record.clone())]);
        cut_a_call(&proxy, 1, call, check).await;
    };
    let scan = async {
        let (proxy, backend) = filled("s:").await;
        let call = async || {
            let scan = Scan {
                kind: Kind::Client,
                prefix: "",
                cursor: None,
                limit: 100,
            };
            backend.scan(scan, NOW).await
        };
        let check = async |page: Page| {
            assert_eq!(page.records, [(key.clone(), record.clone())]);
        };
        cut_a_call(&proxy, 3, call, check).await;
    };
    let count = async {
        let (proxy, backend) = filled("c:").await;
        let call = async || backend.index_len(&Index::Clients, NOW).await;
        cut_a_call(&proxy, 3, call, async |count: u64| assert_eq!(count, 1)).await;
    };
    let members = async {
        let (proxy, backend) = filled("m:").await;
        let call = async || backend.index_members(&Index::Clients, None, 9, NOW).await;
        cut_a_call(&proxy, 1, call, async |names: Vec<String>| {
            assert_eq!(names, ["one"]);
        })
        .await;
    };
    tokio::join!(read, scan, count, members);
}

/// What is counted is counted once or not at all, and never more often than it was answered or cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_cut_off_is_counted_once_or_not() {
    let server = RedisServer::start().await.unwrap();
    let direct = open_with(&server.url(), "a:").await;
    let (proxy, backend) = proxied(&server, "a:").await;
    let name = std::cell::Cell::new(0);
    let quota = Quota::new(NonZeroU32::MIN, Duration::from_secs(3600));
    let admit = async |backend: &RedisBackend| {
        let counter = format!("counter {}", name.get());
        backend.admit(&counter, quota, NOW).await
    };
    let call = async || {
        name.set(name.get() + 1);
        admit(&backend).await
    };
    let check = async |admission: Admission| {
        assert!(admission.is_granted());
        // There was room for one.
        let second = admit(&direct).await.unwrap();
        assert!(!second.is_granted());
    };
    cut_a_call(&proxy, 1, call, check).await;
}

/// An event that was answered as told has reached the other instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_cut_off_is_told_or_refused() {
    let server = RedisServer::start().await.unwrap();
    let direct = open_with(&server.url(), "p:").await;
    let (proxy, backend) = proxied(&server, "p:").await;
    let mut connected = direct.events().connected();
    connected.wait_for(|connected| *connected).await.unwrap();
    let feed = tokio::sync::Mutex::new(direct.events());
    let number = std::cell::Cell::new(0);
    let event = || Event::SessionChanged(number.get().to_string());
    let call = async || {
        number.set(number.get() + 1);
        backend.publish(&event()).await
    };
    let check = async |()| {
        let mut feed = feed.lock().await;
        let told = async { while feed.next().await != Some(Notice::Changed(event())) {} };
        tokio::time::timeout(wait::PATIENCE, told).await.unwrap();
    };
    cut_a_call(&proxy, 3, call, check).await;
}
