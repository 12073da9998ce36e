//! What every backend must do: one suite of named behaviours (feature `contract`).
//!
//! [`contract_tests!`](crate::contract_tests) makes a test of each for a [`Fixture`]. A behaviour that fails panics with
//! what it saw.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a behaviour is a test: it fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Backend, Event, EventFeed, Index, Key, Kind, Notice, Record, Records, StoreError, StoredRecord,
    Swap, Swapped, Transition,
};

/// An empty store for one test.
#[async_trait]
pub trait Fixture: Sized + Send {
    /// Starts what the backend needs.
    async fn start() -> Self;

    /// The backend, as the first instance of the service sees it.
    fn backend(&self) -> Arc<dyn Backend>;

    /// The same store as another instance sees it; where there can be one instance only, that one.
    async fn second(&self) -> Arc<dyn Backend>;

    /// Ends the store as hard as this process can end it, and starts it again on what it left.
    async fn restart(&mut self);
}

/// Makes one test of each behaviour in [`contract`](crate::contract) for a [`Fixture`](crate::contract::Fixture) type:
/// `contract_tests!(Memory)`, or `contract_tests!(Redis, durable)` for a store that outlives the process.
#[macro_export]
macro_rules! contract_tests {
    ($fixture:ty) => {
        $crate::contract_tests!(@ $fixture:
            an_absent_record_is_none,
            a_record_is_found_until_its_end,
            records_come_in_the_order_of_their_keys,
            bytes_come_back_as_they_were,
            a_swap_needs_what_is_stored,
            a_swap_compares_the_end_too,
            an_expired_record_counts_as_absent,
            a_removed_record_is_absent,
            of_many_swaps_exactly_one_is_done,
            no_update_is_lost,
            an_update_that_keeps_writes_nothing,
            a_foreign_record_is_an_error_that_names_the_key,
            three_records_come_at_once,
            an_index_lists_in_order_and_page_by_page,
            a_name_in_an_index_ends,
            a_name_in_an_index_can_get_another_end,
            a_list_leaves_out_what_is_gone,
            a_sweep_removes_what_has_ended_and_nothing_else,
            an_event_reaches_each_instance,
            a_swap_tells_exactly_when_it_is_done,
            a_ping_is_answered,
        );
    };
    ($fixture:ty, durable) => {
        $crate::contract_tests!($fixture);
        $crate::contract_tests!(@ $fixture: what_was_answered_is_there_after_a_restart,);
    };
    (@ $fixture:ty: $($behaviour:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let fixture = <$fixture as $crate::contract::Fixture>::start().await;
                $crate::contract::$behaviour(fixture).await;
            }
        )*
    };
}

/// How long something that another instance is told may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The instant `seconds` after the beginning of the test's time. Nothing here depends on the clock of the machine.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn key(id: &str) -> Key {
    Key::new(Kind::Session, id)
}

fn record(bytes: &str, end: Option<Timestamp>) -> Record {
    Record::new(bytes.as_bytes().to_vec(), end)
}

async fn read(backend: &dyn Backend, key: &Key, now: Timestamp) -> Option<Record> {
    let mut records = backend.read(std::slice::from_ref(key), now).await.unwrap();
    assert_eq!(records.len(), 1, "one key, one answer");
    records.pop().unwrap()
}

async fn swap(
    backend: &dyn Backend,
    key: &Key,
    expected: Option<&Record>,
    new: Option<&Record>,
    now: Timestamp,
) -> Swapped {
    let swap = Swap {
        key,
        expected,
        new,
        event: None,
    };
    backend.swap(swap, now).await.unwrap()
}

/// Stores a record where there is none.
async fn put(backend: &dyn Backend, key: &Key, new: &Record, now: Timestamp) {
    assert_eq!(
        swap(backend, key, None, Some(new), now).await,
        Swapped::Done
    );
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

impl StoredRecord for Counter {
    const KIND: Kind = Kind::Person;
    const VERSION: u32 = 1;
}

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

fn increment(old: Option<Counter>) -> Transition<Counter, u64> {
    let count = old.map_or(0, |counter| counter.count) + 1;
    Transition::put(Counter { count }, None, count)
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
    records.update("c", at(0), increment).await.unwrap();
    let found: (Option<Counter>, Option<LaterCounter>, Option<LaterCounter>) =
        records.get3(["a", "b", "c"], at(0)).await.unwrap();
    let expected = (
        Some(Counter { count: 1 }),
        None,
        Some(LaterCounter { total: 1 }),
    );
    assert_eq!(found, expected);
}

/// Byte order, no matter in which order and with which ends the names came.
pub async fn an_index_lists_in_order_and_page_by_page(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::SessionsOfPerson("github:1".to_owned());
    let neighbour = Index::SessionsOfPerson("github:10".to_owned());
    for (number, name) in ["d", "a", "https://e.com/[x]", "(b", "c", "ä"]
        .into_iter()
        .enumerate()
    {
        let end = (name != "c").then(|| at(100 - i64::try_from(number).unwrap()));
        backend
            .index_insert(&index, name, end, at(0))
            .await
            .unwrap();
    }
    backend
        .index_insert(&neighbour, "b", None, at(0))
        .await
        .unwrap();
    let all = ["(b", "a", "c", "d", "https://e.com/[x]", "ä"];
    let listed = backend
        .index_members(&index, None, 100, at(1))
        .await
        .unwrap();
    assert_eq!(listed, all);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let after = paged.last().map(String::as_str);
        let page = backend
            .index_members(&index, after, 4, at(1))
            .await
            .unwrap();
        assert!(page.len() <= 4);
        let last = page.len() < 4;
        paged.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(paged, all);
    // A cursor whose name is gone still has a place.
    let rest = backend
        .index_members(&index, Some("b"), 2, at(1))
        .await
        .unwrap();
    assert_eq!(rest, ["c", "d"]);
    assert_eq!(backend.index_len(&index, at(1)).await.unwrap(), 6);
    assert_eq!(backend.index_len(&Index::Clients, at(1)).await.unwrap(), 0);
    let none = backend
        .index_members(&Index::Clients, None, 10, at(1))
        .await
        .unwrap();
    assert!(none.is_empty());
    backend.index_remove(&index, "c").await.unwrap();
    backend.index_remove(&index, "never there").await.unwrap();
    assert_eq!(backend.index_len(&index, at(1)).await.unwrap(), 5);
}

/// A name that has ended is neither listed nor counted, and takes no place in a page.
pub async fn a_name_in_an_index_ends(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::Clients;
    for number in 0..300 {
        let end = if number % 100 == 0 { at(20) } else { at(10) };
        let name = format!("{number:03}");
        backend
            .index_insert(&index, &name, Some(end), at(0))
            .await
            .unwrap();
    }
    assert_eq!(backend.index_len(&index, at(9)).await.unwrap(), 300);
    assert_eq!(backend.index_len(&index, at(10)).await.unwrap(), 3);
    let listed = backend
        .index_members(&index, None, 2, at(10))
        .await
        .unwrap();
    assert_eq!(listed, ["000", "100"]);
    let rest = backend
        .index_members(&index, Some("100"), 2, at(10))
        .await
        .unwrap();
    assert_eq!(rest, ["200"]);
    assert_eq!(backend.index_len(&index, at(20)).await.unwrap(), 0);
}

/// The last end that was given counts, be it later, earlier or none.
pub async fn a_name_in_an_index_can_get_another_end(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::Sessions;
    for end in [Some(at(10)), Some(at(30)), None, Some(at(20))] {
        backend
            .index_insert(&index, "one", end, at(0))
            .await
            .unwrap();
    }
    assert_eq!(backend.index_len(&index, at(19)).await.unwrap(), 1);
    assert_eq!(backend.index_len(&index, at(20)).await.unwrap(), 0);
    // The ends that were replaced are not swept as if they still counted.
    backend
        .index_insert(&index, "one", None, at(0))
        .await
        .unwrap();
    backend.sweep(at(100), 100).await.unwrap();
    assert_eq!(backend.index_len(&index, at(100)).await.unwrap(), 1);
}

/// An index may be ahead of or behind the records.
pub async fn a_list_leaves_out_what_is_gone(fixture: impl Fixture) {
    let backend = fixture.backend();
    let records = Records::new(fixture.backend());
    for id in ["a", "b", "c", "d"] {
        backend
            .index_insert(&Index::People, id, None, at(0))
            .await
            .unwrap();
        if id != "b" {
            records.update(id, at(0), increment).await.unwrap();
        }
    }
    let ids = |page: &[(String, Counter)]| -> Vec<String> {
        page.iter().map(|(id, _)| id.clone()).collect()
    };
    let (page, next) = records
        .list::<Counter>(&Index::People, None, 3, at(0))
        .await
        .unwrap();
    assert_eq!(ids(&page), ["a", "c"]);
    assert_eq!(next.as_deref(), Some("c"));
    let (page, next) = records
        .list::<Counter>(&Index::People, next.as_deref(), 3, at(0))
        .await
        .unwrap();
    assert_eq!(ids(&page), ["d"]);
    assert_eq!(next, None);
}

/// A sweep is bounded, and what has not ended stays, also when its end was moved.
pub async fn a_sweep_removes_what_has_ended_and_nothing_else(fixture: impl Fixture) {
    let backend = fixture.backend();
    for number in 0..10 {
        let id = number.to_string();
        let ends = record("ends", Some(at(10)));
        put(&*backend, &key(&id), &ends, at(0)).await;
        backend
            .index_insert(&Index::Sessions, &id, Some(at(10)), at(0))
            .await
            .unwrap();
    }
    let (moved, immortal) = (record("moved", Some(at(30))), record("immortal", None));
    let before = record("ends", Some(at(10)));
    let done = swap(&*backend, &key("3"), Some(&before), Some(&moved), at(1)).await;
    assert_eq!(done, Swapped::Done);
    let done = swap(&*backend, &key("4"), Some(&before), Some(&immortal), at(1)).await;
    assert_eq!(done, Swapped::Done);
    assert_eq!(backend.sweep(at(9), 100).await.unwrap(), 0);
    let first = backend.sweep(at(20), 5).await.unwrap();
    assert!(first == 5 || first == 0, "bounded, or by itself: {first}");
    let rest = backend.sweep(at(20), 100).await.unwrap();
    assert!(
        rest == 13 || rest == 0,
        "8 records and 10 names: {first} + {rest}"
    );
    assert_eq!(backend.sweep(at(20), 100).await.unwrap(), 0);
    assert_eq!(read(&*backend, &key("3"), at(20)).await, Some(moved));
    assert_eq!(read(&*backend, &key("4"), at(20)).await, Some(immortal));
    put(&*backend, &key("5"), &before, at(20)).await;
}

async fn next_event(feed: &mut EventFeed) -> Event {
    loop {
        match tokio::time::timeout(PATIENCE, feed.next()).await.unwrap() {
            Some(Notice::Changed(event)) => return event,
            Some(_) => {}
            None => unreachable!("the store is still there"),
        }
    }
}

/// Waits until events of other instances arrive.
async fn connected(backend: &dyn Backend) {
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
