//! What every backend must do: one suite of named behaviours (feature `contract`).
//!
//! [`contract_tests!`](crate::contract_tests) makes a test of each for a [`Fixture`]. A behaviour that fails panics with
//! what it saw.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a behaviour is a test: it fails by panicking"
)]

mod backups;
mod clients;
mod consents;
mod counters;
mod devices;
mod events;
mod grants;
mod indexes;
mod keys;
mod operators;
mod records;
mod scans;
mod sign_ins;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::backups::*;
pub use self::clients::*;
pub use self::consents::*;
pub use self::counters::*;
pub use self::devices::*;
pub use self::events::*;
pub use self::grants::*;
pub use self::indexes::*;
pub use self::keys::*;
pub use self::operators::*;
pub use self::records::*;
pub use self::scans::*;
pub use self::sign_ins::*;
use crate::{
    Backend, Event, EventFeed, Key, Kind, Notice, Record, StoredRecord, Swap, Swapped, Transition,
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
    ($fixture:ident) => {
        $crate::contract_behaviours!(tests $fixture);
    };
    ($fixture:ident, durable) => {
        $crate::contract_tests!($fixture);
        $crate::contract_behaviours!(@tests $fixture: what_was_answered_is_there_after_a_restart,);
    };
}

/// Runs each behaviour in [`contract`](crate::contract), one after the other, in one test whose servers they share:
/// `contract_suite!(name => fixture)`, where `fixture` is made anew with the `name` of each. It says which one runs.
#[macro_export]
macro_rules! contract_suite {
    ($name:ident => $fixture:expr) => {
        $crate::contract_behaviours!(suite($name, $fixture));
    };
}

/// The list of behaviours, for the two above.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_behaviours {
    ($how:ident $what:tt) => {
        $crate::contract_behaviours!(@$how $what:
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
            a_scan_finds_each_record_of_its_kind,
            a_scan_is_done_in_pages,
            a_scan_goes_on_while_records_come_and_go,
            a_scan_takes_a_prefix_as_it_is_written,
            so_many_are_admitted_and_then_one_after_the_other,
            counters_do_not_mix,
            what_is_given_back_is_there_again,
            what_time_has_paid_is_not_given_back,
            a_clock_that_was_put_back_costs_one_period_at_most,
            of_many_racing_exactly_so_many_are_admitted,
            an_event_reaches_each_instance,
            a_swap_tells_exactly_when_it_is_done,
            a_ping_is_answered,
            of_racing_redemptions_all_get_the_same_tokens,
            a_late_redemption_ends_the_session_for_all,
            wrong_redemptions_are_all_counted,
            of_racing_refreshes_all_get_the_same_successor,
            without_grace_a_racing_refresh_ends_the_session,
            a_revoked_session_is_dead_and_all_are_told,
            a_session_lives_only_while_its_client_does,
            a_session_counts_only_from_the_instant_its_person_set,
            a_revocation_of_a_person_reaches_over_clocks,
            a_name_belongs_to_the_first_who_came,
            one_approval_and_one_answer_win,
            all_instances_get_the_same_keys,
            one_instance_changes_the_keys,
            a_lost_ring_is_not_replaced_while_there_are_sessions,
            there_are_at_most_so_many_clients,
            an_operators_client_stays_until_it_is_removed,
            a_removed_client_leaves_no_name_behind,
            a_backup_comes_back_as_it_was,
            a_restore_refuses_what_is_there_and_can_be_repeated,
            a_damaged_backup_restores_nothing,
            of_many_questions_of_a_device_one_gets_the_grant,
            a_consent_is_remembered_in_each_browser_until_it_ends_or_is_withdrawn,
            a_browser_is_known_by_its_latest_cookie_until_it_ends,
        );
    };
    (@tests $fixture:tt: $($behaviour:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let fixture = <$fixture as $crate::contract::Fixture>::start().await;
                $crate::contract::$behaviour(fixture).await;
            }
        )*
    };
    (@suite ($name:ident, $fixture:expr): $($behaviour:ident,)*) => {
        $(
            let $name = stringify!($behaviour);
            let began = std::time::Instant::now();
            let fixture = $fixture;
            Box::pin($crate::contract::$behaviour(fixture)).await;
            println!("{} {:?}", $name, began.elapsed());
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

fn increment(old: Option<Counter>) -> Transition<Counter, u64> {
    let count = old.map_or(0, |counter| counter.count) + 1;
    Transition::put(Counter { count }, None, count)
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
