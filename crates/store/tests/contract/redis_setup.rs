//! What a Redis must be like: who may use it, what it may not do with what it is given, who else has written to it.

use jiff::Timestamp;
use store::{
    Backend, Event, Index, Key, Kind, Record, RedisBackend, RedisOptions, Scan, Swap, Swapped,
};
use testkit::redis::RedisServer;
use testkit::wait;

use crate::redis::open;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

async fn store(backend: &dyn Backend) -> Result<Swapped, store::StoreError> {
    let key = Key::new(Kind::Client, "one");
    let new = Record::new(b"{}".to_vec(), None);
    let swap = Swap {
        key: &key,
        expected: None,
        new: Some(&new),
        event: Some(&Event::Everything),
    };
    backend.swap(swap, NOW).await
}

/// Readiness says it, and as long as somebody uses the service all the same, it works.
#[tokio::test]
async fn a_redis_that_may_drop_sessions_is_not_ready_until_it_is_told_not_to() {
    let server = RedisServer::start_with(&["maxmemory-policy allkeys-lru"])
        .await
        .unwrap();
    let backend = open(&server.url()).await;
    let error = backend.ping().await.unwrap_err().to_string();
    assert!(error.contains("maxmemory-policy allkeys-lru"), "{error}");
    assert!(error.contains("set maxmemory-policy noeviction"), "{error}");
    assert_eq!(store(&*backend).await.unwrap(), Swapped::Done);
    server
        .command("CONFIG SET maxmemory-policy noeviction", "+OK")
        .await
        .unwrap();
    wait::until("ready without a restart", wait::PATIENCE, || async {
        backend.ping().await.ok()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_newer_release_stored_is_left_alone() {
    let server = RedisServer::start().await.unwrap();
    drop(open(&server.url()).await);
    server
        .command("GET mcp-auth:format", "$1\r\n1")
        .await
        .unwrap();
    server
        .command("SET mcp-auth:format 2", "+OK")
        .await
        .unwrap();
    let backend = open(&server.url()).await;
    let key = Key::new(Kind::Client, "one");
    for error in [
        backend.ping().await.unwrap_err(),
        backend.read(&[key], NOW).await.unwrap_err(),
        store(&*backend).await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("format version 2"), "{error}");
        assert!(error.contains("use the newer release"), "{error}");
    }
    server
        .command("EXISTS mcp-auth:client:one", ":0")
        .await
        .unwrap();
}

/// The least rights with which everything works; they stand in the README of this crate.
#[tokio::test]
async fn an_acl_user_needs_its_prefix_only() {
    let server = RedisServer::start().await.unwrap();
    let user = "ACL SETUSER gateway on >of-the-user resetkeys resetchannels ~mcp-auth:* &mcp-auth:* -@all +@read +@write \
                +@connection +@scripting +@pubsub -@dangerous +info +time";
    server.command(user, "+OK").await.unwrap();
    let options = |prefix: &str| RedisOptions {
        password: Some("of-the-user".to_owned()),
        prefix: prefix.to_owned(),
        ..RedisOptions::new(server.url().replace("://", "://gateway@"))
    };
    let backend = RedisBackend::open(options("mcp-auth:")).await.unwrap();
    backend.ping().await.unwrap();
    assert_eq!(store(&backend).await.unwrap(), Swapped::Done);
    let index = Index::Clients;
    backend
        .index_insert(&index, "one", None, NOW)
        .await
        .unwrap();
    assert_eq!(backend.index_len(&index, NOW).await.unwrap(), 1);
    let names = backend.index_members(&index, None, 9, NOW).await.unwrap();
    assert_eq!(names, ["one"]);
    backend.index_remove(&index, "one").await.unwrap();
    let scan = Scan {
        kind: Kind::Client,
        prefix: "",
        cursor: None,
        limit: 100,
    };
    let page = backend.scan(scan, NOW).await.unwrap();
    assert_eq!(page.records.len(), 1);
    let mut connected = backend.events().connected();
    let connecting = connected.wait_for(|connected| *connected);
    tokio::time::timeout(wait::PATIENCE, connecting)
        .await
        .unwrap()
        .unwrap();
    backend.publish(&Event::Everything).await.unwrap();
    let elsewhere = RedisBackend::open(options("other:")).await.unwrap();
    let error = store(&elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("no permissions"), "{error}");
}
