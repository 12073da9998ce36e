//! Events and readiness.

use super::{Fixture, PATIENCE, at, key, next_event, record};
use crate::{Backend, Event, Swap, Swapped};

/// Waits until events of other instances arrive.
pub(super) async fn connected(backend: &dyn Backend) {
    let mut connected = backend.events().connected();
    let waiting = connected.wait_for(|connected| *connected);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
}

/// Every event comes out as it went in, here and there.
pub async fn an_event_reaches_each_instance(fixture: impl Fixture) {
    let (here, there) = (fixture.backend(), fixture.second().await);
    connected(&*here).await;
    connected(&*there).await;
    let events = [
        Event::SessionChanged("s".to_owned()),
        Event::ClientChanged("https://example.com/\"c\"".to_owned()),
        Event::PersonChanged("github:1".to_owned()),
        Event::KeysChanged,
        Event::Everything,
    ];
    for event in events {
        let mut feeds = [here.events(), there.events()];
        here.publish(&event).await.unwrap();
        for feed in &mut feeds {
            // What came before may arrive twice.
            while next_event(feed).await != event {}
        }
    }
}

/// The event is part of the swap.
pub async fn a_swap_tells_exactly_when_it_is_done(fixture: impl Fixture) {
    let (here, there) = (fixture.backend(), fixture.second().await);
    connected(&*there).await;
    let mut feed = there.events();
    let key = key("one");
    let first = record("first", None);
    let event = |name: &str| Event::SessionChanged(name.to_owned());
    let attempts = [
        (None, Swapped::Done, event("stored")),
        (None, Swapped::Conflict, event("never")),
        (Some(&first), Swapped::Done, event("again")),
    ];
    for (expected, outcome, event) in &attempts {
        let swap = Swap {
            key: &key,
            expected: *expected,
            new: Some(&first),
            event: Some(event),
        };
        assert_eq!(here.swap(swap, at(0)).await.unwrap(), *outcome);
    }
    let mut told = vec![next_event(&mut feed).await];
    while told.last() != Some(&event("again")) {
        told.push(next_event(&mut feed).await);
    }
    told.dedup();
    assert_eq!(told, [event("stored"), event("again")]);
}

/// Readiness asks the store itself.
pub async fn a_ping_is_answered(fixture: impl Fixture) {
    fixture.backend().ping().await.unwrap();
}
