//! Guesses that come all at once: as many are told that they are wrong as one after the other would be.

use std::sync::Arc;

use futures_util::future::join_all;
use oauth::{ManualClock, Timestamp};
use testkit::redis::RedisServer;

use crate::answer::Answer;
use crate::device::type_code;
use crate::service::{Auth, USERNAME, in_redis};
use crate::sign_in::{
    Client, Held, Tokens, approve, confidential_client, log_in, public_client, tokens,
};

/// How many come at once.
const BURST: usize = 50;
/// The limits are those of a service that nobody has configured; only what else would be hit is off.
const LIMITS: [(&str, &str); 1] = [("LIMIT_TOKEN_FAILURES", "")];
const SECRETS: usize = 10;
const USER_CODES: usize = 5;
const PASSWORDS: usize = 10;

/// Instances on a clock that stands still, so that no time pays for a guess.
async fn instances<const N: usize>(settings: &[(&str, &str)]) -> [Auth; N] {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Arc::new(ManualClock::at(now));
    let settings = [&LIMITS, settings].concat();
    let started = join_all((0..N).map(|_| Auth::start_at(&clock, &settings))).await;
    started
        .try_into()
        .unwrap_or_else(|_| unreachable!("N were started"))
}

/// A burst over the instances in turn.
async fn burst<A: AsyncFn(&Auth) -> Answer>(instances: &[Auth], guess: A) -> Vec<Answer> {
    let turns = instances.iter().cycle().take(BURST);
    join_all(turns.map(|instance| guess(instance))).await
}

fn assert_told(answers: &[Answer], wrong: u16, most: usize) {
    let told = answers.iter().filter(|answer| answer.status == wrong);
    assert_eq!(told.count(), most, "{:?}", statuses(answers));
    for other in answers.iter().filter(|answer| answer.status != wrong) {
        assert_eq!(other.status, 429, "{other:?}");
        let wait: u64 = other.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

async fn guess_secret(auth: &Auth, client: &Client) -> Answer {
    let wrong = Client {
        secret: Some("guess".to_owned()),
        ..client.clone()
    };
    auth.refresh(&wrong, "guess").await
}

async fn guess_user_code(auth: &Auth) -> Answer {
    type_code(auth, "BCDF-GHJK").await
}

async fn guess_password(auth: &Auth, held: &Held) -> Answer {
    log_in(auth, held, USERNAME, "guess").await
}

/// Everything that can be guessed.
async fn guess_all(instances: &[Auth]) {
    let first = instances.first().unwrap();
    let client = confidential_client(first).await;
    let secrets = burst(instances, async |auth| guess_secret(auth, &client).await);
    assert_told(&secrets.await, 401, SECRETS);
    let codes = burst(instances, async |auth| guess_user_code(auth).await).await;
    assert_told(&codes, 400, USER_CODES);
    let client = public_client(first).await;
    let held = approve(first, &client.id, &[]).await;
    let passwords = burst(instances, async |auth| guess_password(auth, &held).await);
    assert_told(&passwords.await, 401, PASSWORDS);
}

#[tokio::test]
async fn of_a_burst_of_guesses_so_many_are_answered_as_there_may_be() {
    let instances: [Auth; 1] = instances(&[]).await;
    guess_all(&instances).await;
}

#[tokio::test]
async fn of_a_burst_over_two_instances_no_more_are_answered() {
    let redis = RedisServer::start().await.unwrap();
    let url = redis.url();
    let instances: [Auth; 2] = instances(&in_redis(&url)).await;
    guess_all(&instances).await;
}

/// What goes well is not counted, however much of it comes at once.
#[tokio::test]
async fn a_burst_of_right_requests_is_answered_and_leaves_the_limit_as_it_was() {
    let [auth] = instances(&[]).await;
    let client = confidential_client(&auth).await;
    let given = tokens(&auth, &client).await;
    let answers = join_all((0..BURST).map(|_| auth.refresh(&client, &given.refresh))).await;
    for answer in &answers {
        Tokens::of(answer);
    }
    let instances = [auth];
    let guesses = burst(&instances, async |auth| guess_secret(auth, &client).await);
    assert_told(&guesses.await, 401, SECRETS);
}
