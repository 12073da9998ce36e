#![doc = include_str!("../README.md")]

mod backend;
mod memory;
mod records;

use std::sync::Arc;

pub use self::backend::{
    Backend, Event, EventFeed, Index, Key, Kind, Notice, Record, StoreError, Swap, Swapped,
};
pub use self::memory::MemoryBackend;
pub use self::records::{Records, StoredRecord, Transition};

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
