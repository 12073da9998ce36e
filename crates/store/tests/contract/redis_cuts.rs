//! Changes of indexes whose connection is cut at each byte: done wholly or not at all, and the answer is true.

use std::sync::Arc;

use jiff::Timestamp;
use store::{Backend, Index, RedisBackend, StoreError};
use testkit::chaos::{ChaosProxy, Direction};
use testkit::redis::RedisServer;

use crate::redis::open;

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
