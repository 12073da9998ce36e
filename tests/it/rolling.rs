//! Two instances of the authorization server behind Traefik, on one Redis: one is replaced, then killed, and clients notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use serde_json::json;
use testkit::gateway::{Gateway, Store};
use testkit::redis::RedisServer;

/// Sessions that call one after the other.
const CALLERS: usize = 4;

#[tokio::test]
async fn a_rolling_restart_of_two_instances_fails_no_request() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut gateway = Gateway::start()
        .with_store(Store::Redis {
            url: format!("redis://{}", redis.address()),
            password: RedisServer::PASSWORD.to_owned(),
        })
        .with_more_instances(1)
        // Longer than Traefik takes to see that an instance is going.
        .with_auth_setting("SHUTDOWN_DRAIN", "2")
        .with_echo()
        .await?;
    let mut granted = gateway.sign_in("mcp-echo").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let session = granted.session().await?;
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let text = session
                    .call_tool("echo", json!({"message": "still here"}))
                    .await
                    .with_context(|| format!("after {} calls", done.load(Ordering::Relaxed)))?;
                assert!(text.contains("still here"), "{text}");
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }

    gateway.stop_auth().await?;
    // One instance is left: it answers, and refreshes.
    granted.refresh().await?;
    gateway.start_auth().await?;
    let before = done.load(Ordering::Relaxed);
    // Each caller has called again with both instances there.
    testkit::wait::until("more calls", testkit::wait::PATIENCE, || {
        let now = done.load(Ordering::Relaxed);
        async move { (now > before + 10 * CALLERS).then_some(()) }
    })
    .await?;

    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    assert!(done.load(Ordering::Relaxed) > 100, "too few calls to tell");

    // Without a farewell: what was in flight may be lost, the next request is not.
    let session = granted.session().await?;
    gateway.kill_auth().await?;
    session
        .call_tool("echo", json!({"message": "after the kill"}))
        .await?;
    Ok(())
}
