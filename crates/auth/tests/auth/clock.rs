//! A clock that differs from the one of Redis, and one that goes backwards.

use std::sync::Arc;

use oauth::{ManualClock, Timestamp};
use serde_json::Value;
use testkit::redis::RedisServer;
use testkit::wait::{PATIENCE, until};

use crate::answer::answer;
use crate::service::{Auth, in_redis};
use crate::sign_in::{Tokens, code, public_client, redemption};

/// The clock is looked at every so many seconds of its own, so that a jump by more is noticed at once.
const EVERY: i64 = 300;

/// What readiness says of the clock, and the figure of `/metrics`.
async fn seen(auth: &Auth) -> (u16, Option<String>, f64) {
    let http = testkit::network::http_client().unwrap();
    let ready = answer(http.get(format!("http://{}/health/ready", auth.private))).await;
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let clock = checks.iter().find(|check| check["name"] == "clock");
    let problem = clock.unwrap()["problem"].as_str().map(str::to_owned);
    let metrics = answer(http.get(format!("http://{}/metrics", auth.private))).await;
    let line = metrics
        .body
        .lines()
        .find_map(|line| line.strip_prefix("auth_clock_offset_seconds "))
        .map(|number| number.parse().unwrap());
    (ready.status, problem, line.unwrap_or(f64::NAN))
}

#[tokio::test]
async fn a_clock_that_differs_from_the_one_of_redis_is_told_and_then_takes_no_work() {
    let redis = RedisServer::start().await.unwrap();
    let redis_now = async || {
        let (seconds, _): (i64, i64) = redis.query(&["TIME"]).await.unwrap();
        seconds
    };
    let start = redis_now().await;
    let clock = Arc::new(ManualClock::at(Timestamp::from_second(start).unwrap()));
    let auth = Auth::start_at(&clock, &in_redis(&redis.url())).await;
    let (status, problem, offset) = seen(&auth).await;
    assert_eq!((status, problem), (200, None));
    assert!(offset.abs() < 5.0, "{offset}");
    let mut shown = start;
    // Far away in between, so that each is a jump that is looked at.
    for (ahead, is_ready) in [
        (2 * EVERY, false),
        (12, true),
        (-2 * EVERY, false),
        (-12, true),
        (-2 * EVERY, false),
        (35 + EVERY, false),
        (0, true),
    ] {
        let target = redis_now().await + ahead;
        clock.advance(target - shown);
        shown = target;
        // Figure and readiness are two questions, with perhaps a look between them: until both tell of this jump.
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let problem = until("a look at the clock", PATIENCE, async || {
            let (status, problem, offset) = seen(&auth).await;
            #[expect(clippy::cast_precision_loss, reason = "some seconds")]
            let is_near = (offset - ahead as f64).abs() < 5.0;
            let is_told = match &problem {
                Some(problem) => !is_ready && problem.contains(direction),
                None => is_ready,
            };
            (is_near && is_told && (status == 200) == is_ready).then_some(problem)
        })
        .await
        .unwrap();
        assert!(problem.is_none_or(|problem| problem.contains("NTP")));
    }
}

/// Neither makes a clock that goes backwards a spent code good, nor a session longer than it was to be.
#[tokio::test]
async fn a_clock_that_goes_backwards_gives_nothing_back() {
    let clock = Arc::new(ManualClock::at(
        Timestamp::from_second(1_800_000_000).unwrap(),
    ));
    let auth = Auth::start_at(&clock, &[("SESSION_LIFETIME", "7200")]).await;
    let client = public_client(&auth).await;
    let code = code(&auth, &client.id).await;
    let first = auth.post("/token", &redemption(&client, &code)).await;
    let first = Tokens::of(&first);
    let end = |access: &str| -> i64 {
        let claims = access.split('.').nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims)
                .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["exp"].as_i64().unwrap()
    };
    let absolute = 1_800_000_000 + 7200;
    clock.advance(7000);
    let late = auth.refresh(&client, &first.refresh).await;
    let late = Tokens::of(&late);
    assert!(end(&late.access) <= absolute, "{}", end(&late.access));
    // Far back: what is refreshed there ends no later than before.
    clock.advance(-5000);
    let again = auth.refresh(&client, &late.refresh).await;
    let again = Tokens::of(&again);
    assert!(end(&again.access) <= absolute, "{}", end(&again.access));
    // And when it is right again the end is where it was.
    clock.advance(5000 + 200);
    let over = auth.refresh(&client, &again.refresh).await;
    assert_eq!(over.refusal(), "400 invalid_grant");
    // A spent code is spent, whatever the clock says: whoever shows it ends what it gave.
    let code = self::code(&auth, &client.id).await;
    let given = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    assert_eq!(auth.verify(&given.access).await.status, 200);
    clock.advance(-3600);
    let spent = auth.post("/token", &redemption(&client, &code)).await;
    assert_eq!(spent.refusal(), "400 invalid_grant");
    clock.advance(3600);
    assert_eq!(auth.verify(&given.access).await.status, 401);
}
