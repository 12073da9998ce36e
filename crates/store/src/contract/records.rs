//! Single records: read, swapped, updated.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{Counter, Fixture, at, increment, key, next_event, put, read, record, swap};
use crate::{
    Event, Found, Index, Key, Kind, Record, Records, StoreError, StoredRecord, Swapped, Transition,
};

/// The same record as a later release writes it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LaterCounter {
    total: u64,
}

impl StoredRecord for LaterCounter {
    const KIND: Kind = Kind::Person;
    const VERSION: u32 = 2;

    fn read_older(version: u32, json: &str) -> Option<serde_json::Result<Self>> {
        (version == 1)
            .then(|| serde_json::from_str::<Counter>(json).map(|old| Self { total: old.count }))
    }
}

/// Nothing stored: nothing found.
pub async fn an_absent_record_is_none(fixture: impl Fixture) {
    assert_eq!(read(&*fixture.backend(), &key("none"), at(0)).await, None);
    assert!(fixture.backend().read(&[], at(0)).await.unwrap().is_empty());
}

/// The end itself no longer counts.
pub async fn a_record_is_found_until_its_end(fixture: impl Fixture) {
    let backend = fixture.backend();
    let (mortal, immortal) = (record("mortal", Some(at(10))), record("immortal", None));
    put(&*backend, &key("mortal"), &mortal, at(0)).await;
    put(&*backend, &key("immortal"), &immortal, at(0)).await;
    let just_before = at(10) - SignedDuration::from_millis(1);
    for backend in [backend, fixture.second().await] {
        let found = read(&*backend, &key("mortal"), just_before).await;
        assert_eq!(found, Some(mortal.clone()));
        assert_eq!(read(&*backend, &key("mortal"), at(10)).await, None);
        let found = read(&*backend, &key("immortal"), at(1_000_000_000)).await;
        assert_eq!(found, Some(immortal.clone()));
    }
}

/// Several keys in one call, also absent and repeated ones, and kinds that share an id.
pub async fn records_come_in_the_order_of_their_keys(fixture: impl Fixture) {
    let backend = fixture.backend();
    let client = Key::new(Kind::Client, "one");
    put(&*backend, &key("one"), &record("1", None), at(0)).await;
    put(&*backend, &key("two"), &record("2", None), at(0)).await;
    put(&*backend, &client, &record("c", None), at(0)).await;
    let keys = [key("two"), key("none"), client, key("one"), key("two")];
    let found = backend.read(&keys, at(1)).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|record| record.as_ref().map(Record::bytes))
        .collect();
    let expected = [Some(&b"2"[..]), None, Some(b"c"), Some(b"1"), Some(b"2")];
    assert_eq!(found, expected);
}

/// Bytes are bytes, and an id is any text.
pub async fn bytes_come_back_as_they_were(fixture: impl Fixture) {
    let backend = fixture.backend();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![b'x'; 300_000];
    let ids = ["https://example.com/client?x={1}", "ä:ö", ":", ""];
    for (id, bytes) in ids.into_iter().zip([all, large, b":".to_vec(), Vec::new()]) {
        let record = Record::new(bytes, Some(at(10)));
        put(&*backend, &key(id), &record, at(0)).await;
        assert_eq!(read(&*backend, &key(id), at(1)).await, Some(record));
    }
}

/// Any other expectation than the stored record is a conflict and changes nothing.
pub async fn a_swap_needs_what_is_stored(fixture: impl Fixture) {
    let backend = fixture.backend();
    let key = key("one");
    let (first, second) = (record("first", None), record("second", None));
    let from_nothing = swap(&*backend, &key, Some(&first), Some(&second), at(0)).await;
    assert_eq!(from_nothing, Swapped::Conflict);
    assert_eq!(read(&*backend, &key, at(0)).await, None);
    put(&*backend, &key, &first, at(0)).await;
    for wrong in [None, Some(&second)] {
        let wrongly = swap(&*backend, &key, wrong, Some(&second), at(1)).await;
        assert_eq!(wrongly, Swapped::Conflict);
        let removal = swap(&*backend, &key, wrong, None, at(1)).await;
        assert_eq!(removal, Swapped::Conflict);
        assert_eq!(read(&*backend, &key, at(1)).await.as_ref(), Some(&first));
    }
    let rightly = swap(&*backend, &key, Some(&first), Some(&second), at(2)).await;
    assert_eq!(rightly, Swapped::Done);
    assert_eq!(read(&*backend, &key, at(2)).await, Some(second));
}

/// Two records with the same bytes and different ends are different.
pub async fn a_swap_compares_the_end_too(fixture: impl Fixture) {
    let backend = fixture.backend();
    let key = key("one");
    let (short, long) = (record("same", Some(at(10))), record("same", Some(at(20))));
    put(&*backend, &key, &short, at(0)).await;
    let wrongly = swap(&*backend, &key, Some(&long), None, at(1)).await;
    assert_eq!(wrongly, Swapped::Conflict);
    let rightly = swap(&*backend, &key, Some(&short), Some(&long), at(1)).await;
    assert_eq!(rightly, Swapped::Done);
    assert_eq!(read(&*backend, &key, at(15)).await, Some(long));
}

/// From its end on, a record is no longer expected and may be replaced as if it were not there.
pub async fn an_expired_record_counts_as_absent(fixture: impl Fixture) {
    let backend = fixture.backend();
    let key = key("one");
    let (old, new) = (record("old", Some(at(10))), record("new", Some(at(30))));
    put(&*backend, &key, &old, at(0)).await;
    let too_early = swap(&*backend, &key, None, Some(&new), at(9)).await;
    assert_eq!(too_early, Swapped::Conflict);
    let too_late = swap(&*backend, &key, Some(&old), Some(&new), at(10)).await;
    assert_eq!(too_late, Swapped::Conflict);
    put(&*backend, &key, &new, at(10)).await;
    assert_eq!(read(&*backend, &key, at(11)).await, Some(new));
}

/// A removed record can be stored anew.
pub async fn a_removed_record_is_absent(fixture: impl Fixture) {
    let backend = fixture.backend();
    let key = key("one");
    let record = record("once", Some(at(10)));
    put(&*backend, &key, &record, at(0)).await;
    let removed = swap(&*backend, &key, Some(&record), None, at(1)).await;
    assert_eq!(removed, Swapped::Done);
    assert_eq!(read(&*backend, &key, at(1)).await, None);
    let again = swap(&*backend, &key, Some(&record), None, at(1)).await;
    assert_eq!(again, Swapped::Conflict);
    put(&*backend, &key, &record, at(2)).await;
}

/// 100 at once from two instances, each from the same record to its own.
pub async fn of_many_swaps_exactly_one_is_done(fixture: impl Fixture) {
    let backends = [fixture.backend(), fixture.second().await];
    let key = key("code");
    let issued = record("issued", Some(at(60)));
    put(&*fixture.backend(), &key, &issued, at(0)).await;
    let attempts = (0..100).map(|number| {
        let backend = Arc::clone(backends.get(number % 2).unwrap());
        let (key, issued) = (key.clone(), issued.clone());
        tokio::spawn(async move {
            let redeemed = record(&format!("redeemed by {number}"), Some(at(60)));
            let outcome = swap(&*backend, &key, Some(&issued), Some(&redeemed), at(1)).await;
            (outcome == Swapped::Done).then_some(redeemed)
        })
    });
    let winners: Vec<_> = join_all(attempts)
        .await
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(
        read(&*backends[0], &key, at(2)).await.as_ref(),
        winners.first()
    );
}

/// 50 updates of one record at once from two instances.
pub async fn no_update_is_lost(fixture: impl Fixture) {
    let records = [
        Records::new(fixture.backend()),
        Records::new(fixture.second().await),
    ];
    let updates = (0..50).map(|number| {
        let records = records.get(number % 2).unwrap().clone();
        tokio::spawn(async move { records.update("counter", at(0), increment).await.unwrap() })
    });
    let mut answers: Vec<_> = join_all(updates)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=50).collect::<Vec<_>>());
    let counter = records[0].get::<Counter>("counter", at(1)).await.unwrap();
    assert_eq!(counter, Some(Counter { count: 50 }));
}

/// `keep`, and `put` of what is there, leave the record and its end alone.
pub async fn an_update_that_keeps_writes_nothing(fixture: impl Fixture) {
    let records = Records::new(fixture.backend());
    let mut feed = fixture.backend().events();
    let kept = records
        .update("counter", at(0), |old: Option<Counter>| {
            Transition::keep(old).telling(Event::KeysChanged)
        })
        .await
        .unwrap();
    assert_eq!(kept, None);
    assert_eq!(
        records.get::<Counter>("counter", at(0)).await.unwrap(),
        None
    );
    records.update("counter", at(0), increment).await.unwrap();
    let removed = records
        .update("counter", at(0), |old: Option<Counter>| {
            Transition::remove(old).telling(Event::ClientChanged("told".to_owned()))
        })
        .await
        .unwrap();
    assert_eq!(removed, Some(Counter { count: 1 }));
    assert_eq!(
        records.get::<Counter>("counter", at(0)).await.unwrap(),
        None
    );
    // The first event that arrives is that of the removal: `keep` told nobody.
    let told = next_event(&mut feed).await;
    assert_eq!(told, Event::ClientChanged("told".to_owned()));
}

/// Unreadable JSON and unknown versions are refused by name; the version before is read.
pub async fn a_foreign_record_is_an_error_that_names_the_key(fixture: impl Fixture) {
    let records = Records::new(fixture.backend());
    records.update("counter", at(0), increment).await.unwrap();
    let later = records.get::<LaterCounter>("counter", at(0)).await.unwrap();
    assert_eq!(later, Some(LaterCounter { total: 1 }));
    let grow = |old: Option<LaterCounter>| {
        let total = old.map_or(0, |counter| counter.total) + 10;
        Transition::put(LaterCounter { total }, None, total)
    };
    assert_eq!(records.update("counter", at(0), grow).await.unwrap(), 11);
    let error = records.get::<Counter>("counter", at(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("person:counter"), "{text}");
    assert!(text.contains("version 2"), "{text}");
    for foreign in ["not json", "{}", r#"{"version":1,"record":{"count":"x"}}"#] {
        let key = Key::new(Kind::Person, "foreign");
        let old = read(&*fixture.backend(), &key, at(0)).await;
        let new = record(foreign, None);
        let swapped = swap(&*fixture.backend(), &key, old.as_ref(), Some(&new), at(0)).await;
        assert_eq!(swapped, Swapped::Done);
        let error = records.get::<Counter>("foreign", at(0)).await.unwrap_err();
        assert!(error.to_string().contains("person:foreign"), "{error}");
    }
}

/// `get3` answers for each id on its own.
pub async fn three_records_come_at_once(fixture: impl Fixture) {
    let records = Records::new(fixture.backend());
    records.update("a", at(0), increment).await.unwrap();
    let mortal = |_: Option<Counter>| Transition::put(Counter { count: 1 }, Some(at(10)), ());
    records.update("c", at(0), mortal).await.unwrap();
    let ids = ["a", "b", "c"];
    let found = records.get3::<Counter, LaterCounter, LaterCounter>(ids, at(0));
    let found = found.await.unwrap();
    let first = Found {
        record: Counter { count: 1 },
        expires_at: None,
    };
    let third = Found {
        record: LaterCounter { total: 1 },
        expires_at: Some(at(10)),
    };
    assert_eq!(found, (Some(first), None, Some(third)));
}

/// Records, their ends and indexes survive.
pub async fn what_was_answered_is_there_after_a_restart(mut fixture: impl Fixture) {
    let (mortal, immortal) = (record("mortal", Some(at(10))), record("immortal", None));
    {
        let backend = fixture.backend();
        put(&*backend, &key("mortal"), &mortal, at(0)).await;
        put(&*backend, &key("immortal"), &immortal, at(0)).await;
        backend
            .index_insert(&Index::Clients, "one", Some(at(10)), at(0))
            .await
            .unwrap();
    }
    fixture.restart().await;
    let backend = fixture.backend();
    assert_eq!(read(&*backend, &key("mortal"), at(9)).await, Some(mortal));
    assert_eq!(read(&*backend, &key("mortal"), at(10)).await, None);
    assert_eq!(
        read(&*backend, &key("immortal"), at(9)).await.as_ref(),
        Some(&immortal)
    );
    assert_eq!(backend.index_len(&Index::Clients, at(9)).await.unwrap(), 1);
    assert_eq!(backend.index_len(&Index::Clients, at(10)).await.unwrap(), 0);
    let replaced = swap(&*backend, &key("immortal"), Some(&immortal), None, at(9)).await;
    assert_eq!(replaced, Swapped::Done);
}
