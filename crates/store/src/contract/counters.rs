//! Counters of rate limits.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Fixture, at};
use crate::{Admission, Backend, Count, Quota};

fn ten_per_hour() -> Quota {
    Quota::new(NonZeroU32::new(10).unwrap(), Duration::from_secs(3600))
}

async fn take(backend: &dyn Backend, counter: &str, seconds: i64) -> Admission {
    let admission = backend
        .admit(counter, ten_per_hour(), Count::Take, at(seconds))
        .await;
    admission.unwrap()
}

/// Ten at once, then one each six minutes; who asks too early is told how long to wait, and pays nothing for asking.
pub async fn so_many_are_admitted_and_then_one_after_the_other(fixture: impl Fixture) {
    let backend = fixture.backend();
    for number in 0..10 {
        assert_eq!(
            take(&*backend, "a", 0).await,
            Admission::Granted,
            "{number}"
        );
    }
    let refused = |seconds| Admission::Refused(Duration::from_secs(seconds));
    assert_eq!(take(&*backend, "a", 0).await, refused(360));
    assert_eq!(take(&*backend, "a", 100).await, refused(260));
    assert_eq!(take(&*backend, "a", 359).await, refused(1));
    assert_eq!(take(&*backend, "a", 360).await, Admission::Granted);
    assert_eq!(take(&*backend, "a", 360).await, refused(360));
    for number in 0..10 {
        assert_eq!(
            take(&*backend, "a", 5000).await,
            Admission::Granted,
            "{number}"
        );
    }
    assert_eq!(take(&*backend, "a", 5000).await, refused(360));
}

/// One counter says nothing about another, whatever is in its name.
pub async fn counters_do_not_mix(fixture: impl Fixture) {
    let backend = fixture.backend();
    for _ in 0..11 {
        let _ = take(&*backend, "token:a:b", 0).await;
    }
    assert_ne!(take(&*backend, "token:a:b", 0).await, Admission::Granted);
    for other in ["token:a", "token:a:", "token:b:a", "", "token:a:b\n", "ä"] {
        assert_eq!(
            take(&*backend, other, 0).await,
            Admission::Granted,
            "{other:?}"
        );
    }
}

/// A look changes nothing.
pub async fn a_look_at_a_counter_is_not_counted(fixture: impl Fixture) {
    let backend = fixture.backend();
    let look = async || {
        let admission = backend.admit("a", ten_per_hour(), Count::Look, at(0)).await;
        admission.unwrap()
    };
    for _ in 0..20 {
        assert_eq!(look().await, Admission::Granted);
    }
    for _ in 0..10 {
        assert_eq!(take(&*backend, "a", 0).await, Admission::Granted);
    }
    assert_eq!(look().await, Admission::Refused(Duration::from_secs(360)));
}

/// A clock that was put back, or a quota that was made smaller, locks nobody out for longer than a period.
pub async fn a_clock_that_was_put_back_costs_one_period_at_most(fixture: impl Fixture) {
    let backend = fixture.backend();
    for _ in 0..10 {
        assert_eq!(take(&*backend, "a", 1_000_000).await, Admission::Granted);
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
    let granted = admissions
        .iter()
        .filter(|admission| **admission == Admission::Granted);
    assert_eq!(granted.count(), 10);
}
