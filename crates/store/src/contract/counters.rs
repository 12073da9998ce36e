//! Counters of rate limits.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Fixture, at};
use crate::{Admission, Backend, Quota, Taken};

fn ten_per_hour() -> Quota {
    Quota::new(NonZeroU32::new(10).unwrap(), Duration::from_secs(3600))
}

async fn take(backend: &dyn Backend, counter: &str, seconds: i64) -> Admission {
    let admission = backend.admit(counter, ten_per_hour(), at(seconds)).await;
    admission.unwrap()
}

async fn may_take(backend: &dyn Backend, counter: &str, seconds: i64) -> bool {
    take(backend, counter, seconds).await.is_granted()
}

/// How many are granted at that time.
async fn room(backend: &dyn Backend, counter: &str, seconds: i64) -> usize {
    let mut granted = 0;
    while may_take(backend, counter, seconds).await {
        granted += 1;
    }
    granted
}

async fn taken(backend: &dyn Backend, counter: &str, seconds: i64) -> Taken {
    match take(backend, counter, seconds).await {
        Admission::Granted(taken) => taken,
        Admission::Refused(wait) => unreachable!("refused for {wait:?}"),
    }
}

async fn give_back(backend: &dyn Backend, counter: &str, taken: Taken, seconds: i64) {
    let given = backend
        .give_back(counter, taken, ten_per_hour(), at(seconds))
        .await;
    given.unwrap();
}

/// Ten at once, then one each six minutes; who asks too early is told how long to wait, and pays nothing for asking.
pub async fn so_many_are_admitted_and_then_one_after_the_other(fixture: impl Fixture) {
    let backend = fixture.backend();
    for number in 0..10 {
        assert!(may_take(&*backend, "a", 0).await, "{number}");
    }
    let refused = |seconds| Admission::Refused(Duration::from_secs(seconds));
    assert_eq!(take(&*backend, "a", 0).await, refused(360));
    assert_eq!(take(&*backend, "a", 100).await, refused(260));
    assert_eq!(take(&*backend, "a", 359).await, refused(1));
    assert!(may_take(&*backend, "a", 360).await);
    assert_eq!(take(&*backend, "a", 360).await, refused(360));
    for number in 0..10 {
        assert!(may_take(&*backend, "a", 5000).await, "{number}");
    }
    assert_eq!(take(&*backend, "a", 5000).await, refused(360));
}

/// One counter says nothing about another, whatever is in its name.
pub async fn counters_do_not_mix(fixture: impl Fixture) {
    let backend = fixture.backend();
    for _ in 0..11 {
        let _ = take(&*backend, "token:a:b", 0).await;
    }
    assert!(!may_take(&*backend, "token:a:b", 0).await);
    for other in ["token:a", "token:a:", "token:b:a", "", "token:a:b\n", "ä"] {
        assert!(may_take(&*backend, other, 0).await, "{other:?}");
    }
}

/// What is given back may be taken again, and only that.
pub async fn what_is_given_back_is_there_again(fixture: impl Fixture) {
    let backend = fixture.backend();
    for _ in 0..30 {
        let one = taken(&*backend, "a", 0).await;
        give_back(&*backend, "a", one, 0).await;
    }
    let first = taken(&*backend, "a", 0).await;
    assert_eq!(room(&*backend, "a", 0).await, 9);
    give_back(&*backend, "a", first, 0).await;
    assert_eq!(room(&*backend, "a", 0).await, 1);
    // The end of a counter is the end of what was counted: nothing is owed to it.
    give_back(&*backend, "unknown", first, 0).await;
    assert_eq!(room(&*backend, "unknown", 0).await, 10);
}

/// What time has paid for is not given back once more: it would be taken from what was counted later.
pub async fn what_time_has_paid_is_not_given_back(fixture: impl Fixture) {
    let backend = fixture.backend();
    let early = taken(&*backend, "a", 0).await;
    assert_eq!(room(&*backend, "a", 360).await, 10);
    give_back(&*backend, "a", early, 360).await;
    assert_eq!(room(&*backend, "a", 360).await, 0);
    // Half of it is paid, half is given back.
    let early = taken(&*backend, "b", 0).await;
    assert_eq!(room(&*backend, "b", 0).await, 9);
    give_back(&*backend, "b", early, 180).await;
    assert_eq!(room(&*backend, "b", 180).await, 1);
}

/// A clock that was put back, or a quota that was made smaller, locks nobody out for longer than a period.
pub async fn a_clock_that_was_put_back_costs_one_period_at_most(fixture: impl Fixture) {
    let backend = fixture.backend();
    for _ in 0..10 {
        assert!(may_take(&*backend, "a", 1_000_000).await);
    }
    let Admission::Refused(wait) = take(&*backend, "a", 0).await else {
        unreachable!("ten were taken");
    };
    assert!(wait <= Duration::from_secs(3600), "{wait:?}");
}

/// Racing requests get no more than one after the other would.
pub async fn of_many_racing_exactly_so_many_are_admitted(fixture: impl Fixture) {
    let (backend, second) = (fixture.backend(), fixture.second().await);
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..50 {
        let backend = if number % 2 == 0 { &backend } else { &second };
        let backend = std::sync::Arc::clone(backend);
        racers.spawn(async move { take(&*backend, "a", 0).await });
    }
    let admissions = racers.join_all().await;
    let granted = admissions.iter().filter(|admission| admission.is_granted());
    assert_eq!(granted.count(), 10);
}
