//! What a place to keep records must be able to do: a handful of single-key primitives.
//!
//! The verbs of the domain are written once, over [`Backend`]; a new backend implements these primitives and runs the
//! suite in [`contract`](crate::contract).

mod clock;
mod error;
mod events;
mod index;
mod key;
mod record;

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::clock::StoreClock;
pub use self::error::{OpenError, StoreError};
pub(crate) use self::events::EventHub;
pub use self::events::{Event, EventFeed, Notice};
pub use self::index::Index;
pub use self::key::{Key, Kind};
pub(crate) use self::record::has_ended;
pub use self::record::{Page, Record, Scan, Swap, Swapped};
use crate::counters::{Admission, Quota, Taken};

/// A place to keep records. Each method is one round trip and one atomic step on one key (or one index).
///
/// `now` decides what has expired; a backend has no clock of its own in any decision. Across calls `now` may only
/// differ by the clock skew between instances.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The records under these keys, in their order; absent and expired ones are `None`. The keys are read one by one,
    /// not as of one instant.
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError>;

    /// Does the swap if what is stored (and not expired) is what was expected.
    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError>;

    /// Some of the records of one kind that have not expired, in no particular order, for administration and backup: no
    /// decision may rest on it. Over all pages, each record that is there from the first page to the last comes at least
    /// once; what is stored or removed meanwhile may come or not.
    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError>;

    /// Adds a name to an index until `expires_at`; of a name that is there already the end is replaced.
    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes a name from an index; that it was not there is no error.
    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError>;

    /// Up to `limit` names that have not ended, in byte order, after the name `after`. Fewer than `limit` means that
    /// there are no more.
    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError>;

    /// How many names of the index have not ended.
    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError>;

    /// Counts one more of what is counted under this name, if it may be done. Stores of one process count in memory only;
    /// what is counted there ends with the process.
    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Admission, StoreError>;

    /// Takes off again what was counted under this name and quota, as far as time has not paid for it.
    async fn give_back(
        &self,
        counter: &str,
        taken: Taken,
        quota: Quota,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Tells every instance. A change of a record names its event in [`Swap::event`] instead.
    async fn publish(&self, event: &Event) -> Result<(), StoreError>;

    /// Events from here on.
    fn events(&self) -> EventFeed;

    /// One round trip, for readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// What time the servers of this store have; none where it has none of its own. No decision rests on them: a service
    /// whose clock differs has to be noticed, for what it stores would end at another time elsewhere.
    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError> {
        Ok(Vec::new())
    }

    /// Removes up to `limit` expired records and index entries and returns how many it removed. A backend that removes
    /// them by itself returns 0.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
