//! All records of a store as lines of text, and back into any store.
//!
//! A backup is lines of JSON: a header, one line per record, and a last line with their number and the SHA-256 of all that
//! went before. Records stand in it byte for byte, so what is sealed or hashed in the store stays so, and a spent code or a
//! revoked session is as spent and as revoked where it is restored. Ends are instants, not remaining lives: what ends while
//! a backup lies in a drawer has ended, and a restore revives nothing. Indexes are not in it; they follow from the records.

mod check;
mod clear;
mod error;
mod index;
mod lines;
mod restore;
mod write;

pub use self::check::Checked;
pub use self::error::BackupError;
pub use self::write::Backup;
use crate::Store;
use crate::backend::{Event, StoreError};

/// Records that are read in one step.
const PAGE: usize = 500;

/// Records that are stored at the same time; redb puts those that wait into one commit.
const IN_FLIGHT: usize = 64;

async fn tell_everyone(store: &Store) -> Result<(), StoreError> {
    store.backend().publish(&Event::Everything).await?;
    store.backend().publish(&Event::KeysChanged).await
}
