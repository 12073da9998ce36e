#![doc = include_str!("../README.md")]

mod accounts;
mod administration;
mod backend;
mod backup;
mod clients;
mod consents;
#[cfg(feature = "contract")]
pub mod contract;
mod counters;
mod devices;
mod embedded;
mod encoding;
#[cfg(test)]
mod forms;
mod keys;
mod memory;
mod people;
mod records;
mod redis;
mod sessions;
mod sign_ins;

use std::sync::Arc;

pub use self::administration::{Listed, ListedSession, SessionFilter, Totals};
pub use self::backend::{
    Backend, Event, EventFeed, Index, Key, Kind, Notice, OpenError, Page, Record, Scan, StoreClock,
    StoreError, Swap, Swapped,
};
pub use self::backup::{Backup, BackupError, Checked};
pub use self::clients::Registration;
pub use self::counters::{Admission, Counters, Quota, Taken};
pub use self::embedded::{EmbeddedBackend, Upkeep};
pub use self::keys::{FirstRing, SealedKey, SealedKeyRing};
pub use self::memory::MemoryBackend;
pub use self::people::{PersonRecord, Pinned};
pub use self::records::{Found, Records, StoredRecord, Transition};
pub use self::redis::{Predecessor, PredecessorClient, RedisBackend, RedisOptions};
pub use self::sessions::{Living, Redemption, Refresh};

/// What the authorization server remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    records: Records,
}

impl Store {
    /// The store over this backend.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            records: Records::new(backend),
        }
    }

    /// The typed records, on which the verbs of the domain are written.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// The backend, for readiness, events and the sweep.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        self.records.backend()
    }
}
