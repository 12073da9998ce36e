//! Signing keys: their algorithms, their rotation, and the secret that seals them.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use oauth::{ManualClock, Timestamp};
use serde_json::Value;
use testkit::redis::RedisServer;
use testkit::wait::{PATIENCE, until};

use crate::administration;
use crate::service::{AUTH, Auth, JWT_SECRET, in_redis, run, settings};
use crate::sign_in::{Client, Tokens, signed_in};

const NEW_SECRET: &str = "new-secret-0123456789-abcdefghijklmnop";

fn header(token: &str) -> Value {
    let first = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap()
}

/// The `kid`s at `/jwks`.
async fn published(auth: &Auth) -> BTreeSet<String> {
    let keys = auth.get(AUTH, "/jwks").await.json();
    let keys = keys.get("keys").and_then(Value::as_array).unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn refreshed(auth: &Auth, client: &Client, tokens: &Tokens) -> Tokens {
    Tokens::of(&auth.refresh(client, &tokens.refresh).await)
}

#[tokio::test]
async fn every_algorithm_signs_and_verifies_and_publishes_public_parts_only() {
    for (algorithm, members) in [
        ("ES256", "alg crv kid kty use x y"),
        ("EdDSA", "alg crv kid kty use x"),
        ("RS256", "alg e kid kty n use"),
    ] {
        let auth = Auth::start_with(&[("JWT_ALGORITHM", algorithm)]).await;
        let (_, tokens) = signed_in(&auth).await;
        assert_eq!(header(&tokens.access)["alg"], algorithm);
        assert_eq!(auth.verify(&tokens.access).await.status, 200, "{algorithm}");
        let mut forged = tokens.access.clone();
        let last = if forged.ends_with("AAAA") {
            "BBBB"
        } else {
            "AAAA"
        };
        forged.replace_range(forged.len() - 4.., last);
        assert_eq!(auth.verify(&forged).await.status, 401, "{algorithm}");
        let keys = auth.get(AUTH, "/jwks").await.json();
        let key = keys.pointer("/keys/0").and_then(Value::as_object).unwrap();
        let shown: BTreeSet<&str> = key.keys().map(String::as_str).collect();
        assert_eq!(shown.into_iter().collect::<Vec<_>>().join(" "), members);
        assert_eq!(key["alg"], algorithm);
    }
}

#[tokio::test]
async fn another_algorithm_takes_over_without_ending_a_token() {
    let auth = Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await;
    let (client, tokens) = signed_in(&auth).await;
    let auth = auth
        .kill_and_start_with(&[("JWT_ALGORITHM", "EdDSA"), ("KEY_PUBLISHED_BEFORE", "0")])
        .await;
    assert_eq!(published(&auth).await.len(), 2);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let second = refreshed(&auth, &client, &tokens).await;
    assert_eq!(header(&second.access)["alg"], "EdDSA");
    assert_eq!(auth.verify(&second.access).await.status, 200);
}

/// Two instances on one Redis and one clock that the test turns: half an hour by half an hour over three rotations, with a
/// refresh and a check at each step. Nothing fails, and every key was published before it signed.
#[tokio::test]
async fn over_three_rotations_no_check_and_no_refresh_fails() {
    let redis = RedisServer::start().await.unwrap();
    let url = redis.url();
    let settings = [&in_redis(&url)[..], &[("KEY_LIFETIME", "86400")]].concat();
    let clock = Arc::new(ManualClock::at(
        Timestamp::from_second(1_800_000_000).unwrap(),
    ));
    let instances = [
        Auth::start_at(&clock, &settings).await,
        Auth::start_at(&clock, &settings).await,
    ];
    let (client, mut tokens) = signed_in(&instances[0]).await;
    let mut signers = Vec::new();
    let mut known = published(&instances[1]).await;
    for step in 0..150_usize {
        let (here, there) = (&instances[step % 2], &instances[(step + 1) % 2]);
        here.keep_keys_up().await;
        there.keep_keys_up().await;
        assert_eq!(here.verify(&tokens.access).await.status, 200, "step {step}");
        assert_eq!(
            there.verify(&tokens.access).await.status,
            200,
            "step {step}"
        );
        let earlier = tokens.access.clone();
        tokens = refreshed(here, &client, &tokens).await;
        assert_eq!(
            there.verify(&tokens.access).await.status,
            200,
            "step {step}"
        );
        assert_eq!(there.verify(&earlier).await.status, 200, "step {step}");
        let signer = header(&tokens.access)["kid"].as_str().unwrap().to_owned();
        assert!(
            known.contains(&signer),
            "step {step}: {signer} was not published"
        );
        if signers.last() != Some(&signer) {
            signers.push(signer);
        }
        known = published(there).await;
        assert_eq!(known, published(here).await);
        clock.advance(1800);
    }
    assert_eq!(signers.len(), 4, "three rotations: {signers:?}");
    assert_eq!(known.len(), 1, "what is over is gone: {known:?}");
}

#[tokio::test]
async fn the_secret_changes_instance_by_instance_without_a_failure() {
    let redis = RedisServer::start().await.unwrap();
    let first = Auth::start_on(&redis, &[]).await;
    let second = Auth::start_on(&redis, &[]).await;
    let (client, tokens) = signed_in(&first).await;
    let changing = [
        ("GATEWAY_JWT_SECRET", NEW_SECRET),
        ("GATEWAY_JWT_SECRET_PREVIOUS", JWT_SECRET),
    ];
    let first = first.kill_and_start_with(&changing).await;
    // One has both secrets, the other only the old one.
    for auth in [&first, &second] {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    let tokens = refreshed(&first, &client, &tokens).await;
    let tokens = refreshed(&second, &client, &tokens).await;
    let second = second.kill_and_start_with(&changing).await;
    let changed = [("GATEWAY_JWT_SECRET_PREVIOUS", "")];
    let first = first.kill_and_start_with(&changed).await;
    // One has only the new secret, the other both.
    for auth in [&first, &second] {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    let tokens = refreshed(&second, &client, &tokens).await;
    let second = second.kill_and_start_with(&changed).await;
    assert_eq!(second.verify(&tokens.access).await.status, 200);
    refreshed(&second, &client, &tokens).await;
    // The old secret opens nothing any more.
    let old = settings(&in_redis(&redis.url()));
    let output = run(&[], &old, second.directory(), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("GATEWAY_JWT_SECRET does not open the keys"),
        "{said}"
    );
    // What is closed at its end is not lost.
    assert!(!said.contains("lost the"), "{said}");
}

#[tokio::test]
async fn a_store_that_lost_its_keys_is_not_given_new_ones() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    signed_in(&auth).await;
    drop(auth);
    redis
        .command("DEL mcp-auth:keyring:main", ":1")
        .await
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let output = run(&[], &settings(&in_redis(&redis.url())), place.path(), "");
    assert_snapshot!(String::from_utf8(output.stderr).unwrap().trim(), @"mcp-auth: the store has sessions (1) but no keys, so it has lost something: new keys could read none of their refresh tokens. Restore a backup that has the keys, or start with an empty store (everybody signs in anew)");
}

#[tokio::test]
async fn an_instance_puts_lost_keys_back() {
    let redis = RedisServer::start().await.unwrap();
    let url = redis.url();
    let base = in_redis(&url);
    let clock = Arc::new(ManualClock::at(
        Timestamp::from_second(1_800_000_000).unwrap(),
    ));
    let auth = Auth::start_at(&clock, &base).await;
    signed_in(&auth).await;
    redis
        .command("DEL mcp-auth:keyring:main", ":1")
        .await
        .unwrap();
    auth.keep_keys_up().await;
    let another = Auth::start_at(&clock, &base).await;
    assert_eq!(published(&another).await, published(&auth).await);
}

/// Two real processes on one Redis, asked all the time while the keys are rotated by command: nothing fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_fails_no_check_and_no_refresh() {
    let redis = RedisServer::start().await.unwrap();
    let soon = [("KEY_PUBLISHED_BEFORE", "1")];
    let start = || Auth::start_on(&redis, &soon);
    let instances = Arc::new([start().await, start().await]);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(signed_in(&instances[0]).await);
    }
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = sessions
        .into_iter()
        .enumerate()
        .map(|(number, (client, mut tokens))| {
            let (instances, done) = (Arc::clone(&instances), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut checks, mut signers) = (0_u32, BTreeSet::new());
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    for turn in 0..20 {
                        let status = instances[(number + turn) % 2]
                            .verify(&tokens.access)
                            .await
                            .status;
                        assert_eq!(status, 200);
                        checks += 1;
                    }
                    tokens = refreshed(&instances[number % 2], &client, &tokens).await;
                    signers.insert(header(&tokens.access)["kid"].as_str().unwrap().to_owned());
                }
                (checks, signers)
            })
        });
    let load: Vec<_> = load.collect();
    for rotation in 1..=3_usize {
        let rotated = administration::post(&instances[rotation % 2], "/admin/keys/rotate").await;
        assert_eq!(rotated.status, 200, "{rotated:?}");
        let kid = rotated.text("kid");
        until("the new key to sign", PATIENCE, async || {
            let keys = administration::get(&instances[0], "/admin/keys")
                .await
                .json();
            let keys = keys["items"].as_array().unwrap();
            let is_current = |key: &Value| key["kid"] == kid.as_str() && key["state"] == "current";
            keys.iter().any(is_current).then_some(())
        })
        .await
        .unwrap();
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let (mut checks, mut signers) = (0, BTreeSet::new());
    for task in load {
        let (counted, seen) = task.await.unwrap();
        checks += counted;
        signers.extend(seen);
    }
    assert!(checks > 100, "{checks}");
    assert!(signers.len() >= 3, "{signers:?}");
}

/// Whoever has the keys can do nothing with them any more, on both instances; who is signed in stays so.
#[tokio::test]
async fn compromised_keys_are_void_at_once_and_refresh_tokens_live() {
    let redis = RedisServer::start().await.unwrap();
    let first = Auth::start_on(&redis, &[]).await;
    let second = Auth::start_on(&redis, &[]).await;
    let (client, tokens) = signed_in(&first).await;
    for auth in [&first, &second] {
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
    let before = published(&first).await;
    let replaced = administration::post(&first, "/admin/keys/compromised").await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    assert_eq!(first.verify(&tokens.access).await.status, 401);
    until("the other instance to hear of it", PATIENCE, async || {
        (second.verify(&tokens.access).await.status == 401).then_some(())
    })
    .await
    .unwrap();
    assert!(before.is_disjoint(&published(&first).await));
    // The key signs at once, so the other instance may be asked about it before it has heard of it: that is not remembered for long.
    let given = refreshed(&first, &client, &tokens).await;
    until("the other instance to know the key", PATIENCE, async || {
        (second.verify(&given.access).await.status == 200).then_some(())
    })
    .await
    .unwrap();
    let tokens = given;
    let again = refreshed(&second, &client, &tokens).await;
    for auth in [&first, &second] {
        assert_eq!(auth.verify(&again.access).await.status, 200);
    }
}
