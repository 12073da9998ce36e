//! What survives a power cut, and what is answered while the store is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::redis::{RedisSentinels, RedisServer};
use testkit::wait::{PATIENCE, until};

use crate::answer::answer;
use crate::service::{Auth, PASSWORD, USERNAME, in_redis};
use crate::sign_in::{
    Tokens, approve, code, log_in, public_client, redemption, refreshing, signed_in,
};

/// How soon an outage is noticed, and how soon everything works again after it.
const RECOVERY: Duration = Duration::from_secs(2);

/// The longest that anybody waits for an answer during an outage.
const LONGEST_ANSWER: Duration = Duration::from_millis(2200);

async fn redb() -> Auth {
    Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await
}

#[tokio::test]
async fn a_session_survives_kill_9() {
    let auth = redb().await;
    let (client, tokens) = signed_in(&auth).await;
    let keys = auth.get(crate::service::AUTH, "/jwks").await;
    let auth = auth.kill_and_start().await;
    assert_eq!(
        auth.get(crate::service::AUTH, "/jwks").await.shown(&[]),
        keys.shown(&[])
    );
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    let second = Tokens::of(&refreshed);
    let auth = auth.kill_and_start().await;
    assert_eq!(auth.verify(&second.access).await.status, 200);
    // The rotation before the cut counts: the spent token leads to the same successor.
    let repeated = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(Tokens::of(&repeated).refresh, second.refresh);
}

#[tokio::test]
async fn a_sign_in_and_a_code_survive_kill_9() {
    let auth = redb().await;
    let client = public_client(&auth).await;
    let held = approve(&auth, &client.id, &[]).await;
    let code = code(&auth, &client.id).await;
    let auth = auth.kill_and_start().await;
    assert_eq!(
        auth.post("/token", &redemption(&client, &code))
            .await
            .status,
        200
    );
    assert_eq!(log_in(&auth, &held, USERNAME, PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_revocation_survives_kill_9() {
    let auth = redb().await;
    let (client, tokens) = signed_in(&auth).await;
    let form = [
        ("token", tokens.refresh.as_str()),
        ("client_id", &client.id),
    ];
    assert_eq!(auth.post("/revoke", &form).await.status, 200);
    let auth = auth.kill_and_start().await;
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

/// What the store has lost is over: nothing is revived, everybody signs in anew.
#[tokio::test]
async fn an_empty_store_honours_no_token() {
    let auth = redb().await;
    let (client, tokens) = signed_in(&auth).await;
    std::fs::remove_file(auth.directory().join("auth.redb")).unwrap();
    let auth = auth.kill_and_start().await;
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "401 invalid_client");
}

/// On 401 or 400 clients throw their tokens away; while the store cannot be asked they are told to try again.
#[tokio::test]
async fn while_redis_is_away_nobody_is_told_to_sign_in_again() {
    let mut redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    let (client, tokens) = signed_in(&auth).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    redis.kill().await.unwrap();
    // Until the broken connection is noticed the decision is remembered; from then on nothing is.
    let refused = until("a 503 of /verify", PATIENCE, async || {
        let answer = auth.verify(&tokens.access).await;
        (answer.status != 200).then_some(answer)
    })
    .await
    .unwrap();
    assert_eq!(refused.refusal(), "503 temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), "2");
    for (path, form) in [
        ("/token", refreshing(&client, &tokens.refresh)),
        (
            "/revoke",
            vec![
                ("token", tokens.refresh.as_str()),
                ("client_id", &client.id),
            ],
        ),
    ] {
        let refused = auth.post(path, &form).await;
        assert_eq!(refused.refusal(), "503 temporarily_unavailable", "{path}");
        assert_eq!(refused.header("retry-after"), "2", "{path}");
        assert_eq!(refused.header("cache-control"), "no-store", "{path}");
    }
    let page = crate::sign_in::ask(&auth, &client.id, &[]).await;
    assert_eq!((page.status, page.count("location")), (503, 0));
    assert!(page.body.contains("Try again in a moment"), "{page:?}");
    // A forged token is refused all the same: it never reaches the store.
    assert_eq!(auth.verify("a.b.c").await.status, 401);
    let without = answer(auth.verification("mcp-fetch")).await;
    assert_eq!(without.status, 401);
    redis.restart().await.unwrap();
    let back = until("a 200 of /verify", PATIENCE, async || {
        let answer = auth.verify(&tokens.access).await;
        (answer.status != 503).then_some(answer)
    })
    .await
    .unwrap();
    assert_eq!(back.status, 200);
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
}

/// Redis goes away under load: every answer is 200 or 503 and comes in time, readiness follows, and when Redis is back so is
/// the service, the same process with the same sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_under_load_gives_503_and_ends_with_it() {
    let mut redis = RedisServer::start().await.unwrap();
    let auth = Arc::new(Auth::start_on(&redis, &[]).await);
    let (client, tokens) = signed_in(&auth).await;
    let ready = async || {
        let url = format!("http://{}/health/ready", auth.private);
        testkit::network::http_client()
            .unwrap()
            .get(url)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ready().await, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..8)
        .map(|number| {
            let (auth, stop, refused) =
                (Arc::clone(&auth), Arc::clone(&stop), Arc::clone(&refused));
            let (client, tokens) = (client.clone(), tokens.clone());
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = if number == 0 {
                        auth.refresh(&client, &tokens.refresh).await
                    } else {
                        auth.verify(&tokens.access).await
                    };
                    longest = longest.max(asked.elapsed());
                    match answer.status {
                        200 => {}
                        503 => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("{answer:?}"),
                    }
                }
                longest
            })
        })
        .collect();
    redis.kill().await.unwrap();
    let killed = Instant::now();
    until("not ready", PATIENCE, async || {
        (ready().await == 503).then_some(())
    })
    .await
    .unwrap();
    assert!(killed.elapsed() < RECOVERY, "{:?}", killed.elapsed());
    until("many refusals", PATIENCE, async || {
        (refused.load(Ordering::Relaxed) > 50).then_some(())
    })
    .await
    .unwrap();
    redis.restart().await.unwrap();
    let back = Instant::now();
    until("a 200 of /verify", PATIENCE, async || {
        (auth.verify(&tokens.access).await.status == 200).then_some(())
    })
    .await
    .unwrap();
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    until("ready", PATIENCE, async || {
        (ready().await == 200).then_some(())
    })
    .await
    .unwrap();
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    stop.store(true, Ordering::Relaxed);
    for worker in load {
        let longest = worker.await.unwrap();
        assert!(longest < LONGEST_ANSWER, "{longest:?}");
    }
}

/// The primary of Redis is lost, and Sentinel names another: 503 in between, nothing else, and then the same sessions without a
/// restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_of_redis_gives_503_and_ends_by_itself() {
    let mut redis = RedisSentinels::start(1).await.unwrap();
    let url = redis.url();
    let sentinels = [("REDIS_SENTINEL_PASSWORD", RedisServer::PASSWORD)];
    let auth = Auth::start_with(&[&in_redis(&url)[..], &sentinels].concat()).await;
    let (client, tokens) = signed_in(&auth).await;
    let (other, revoked) = signed_in(&auth).await;
    let form = [
        ("token", revoked.refresh.as_str()),
        ("client_id", &other.id),
    ];
    assert_eq!(auth.post("/revoke", &form).await.status, 200);
    redis.in_step().await.unwrap();
    redis.servers[0].kill().await.unwrap();
    let back = until("a 200 of the new primary", PATIENCE, async || {
        let (alive, dead) = (
            auth.verify(&tokens.access).await,
            auth.verify(&revoked.access).await,
        );
        assert!(matches!(alive.status, 200 | 503), "{alive:?}");
        assert!(matches!(dead.status, 401 | 503), "{dead:?}");
        (alive.status == 200 && dead.status == 401).then_some(())
    });
    // At first the decision is remembered; it counts when it has been asked for again.
    until("a 503", PATIENCE, async || {
        (auth.verify(&tokens.access).await.status == 503).then_some(())
    })
    .await
    .unwrap();
    back.await.unwrap();
    redis.until_failed_over().await.unwrap();
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
    let refused = auth.refresh(&other, &revoked.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}
