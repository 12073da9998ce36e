//! The one key ring of all instances.

use oauth::key_ring::SigningKeys;

use super::events::connected;
use super::world::{World, all};
use super::{Fixture, at, next_event};
use crate::{Event, FirstRing, SealedKeyRing, Store};

/// Instances that start at once on an empty store agree.
pub async fn all_instances_get_the_same_keys(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let starts = (0..10).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let fresh = ring(&number.to_string());
            let made = store.create_key_ring(&fresh, at(0)).await.unwrap();
            let FirstRing::Made(ring) = made else {
                panic!("{made:?}");
            };
            ring.derivation
        })
    });
    let mut rings = all(starts).await;
    rings.dedup();
    assert_eq!(rings.len(), 1, "{rings:?}");
}

pub(super) fn ring(derivation: &str) -> SealedKeyRing {
    SealedKeyRing {
        seals: vec!["sealed".to_owned()],
        derivation: derivation.to_owned(),
        signing: SigningKeys::from_keys(Vec::new()),
    }
}

/// Of ten instances that make the same step at once one makes it, and the others see that it was made.
pub async fn one_instance_changes_the_keys(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let first = &stores[0];
    let other = stores[1].backend();
    connected(other).await;
    let mut events = other.events();
    let created = first.create_key_ring(&ring(""), at(0)).await.unwrap();
    assert_eq!(created, FirstRing::Made(ring("")));
    let changes = (0..10).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let change = |ring: &mut SealedKeyRing| {
                let is_mine = ring.derivation.is_empty();
                if is_mine {
                    ring.derivation = number.to_string();
                }
                is_mine
            };
            store.change_key_ring(at(1), change).await.unwrap().unwrap()
        })
    });
    let answers = all(changes).await;
    assert_eq!(answers.iter().filter(|(_, is_mine)| *is_mine).count(), 1);
    let seen = &answers[0].0;
    assert!(answers.iter().all(|(ring, _)| ring == seen));
    // Of the creation, then of the change.
    assert_eq!(next_event(&mut events).await, Event::KeysChanged);
    assert_eq!(next_event(&mut events).await, Event::KeysChanged);
}

/// A ring that was lost is not replaced by another that could read none of the refresh tokens; the same one comes back.
pub async fn a_lost_ring_is_not_replaced_while_there_are_sessions(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    let store = world.store(0);
    let refused = store.create_key_ring(&ring("new"), at(0)).await.unwrap();
    assert_eq!(refused, FirstRing::Refused { sessions: 1 });
    assert_eq!(store.key_ring(at(0)).await.unwrap(), None);
    let restored = store.put_key_ring_if_gone(&ring("old"), at(0)).await;
    assert_eq!(restored.unwrap(), ring("old"));
    let other = store.put_key_ring_if_gone(&ring("new"), at(0)).await;
    assert_eq!(other.unwrap(), ring("old"));
}
