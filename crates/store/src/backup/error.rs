//! Why a backup could not be made or restored.

use std::collections::BTreeMap;

use super::lines::VERSION;
use crate::backend::{Key, Kind, StoreError};

/// Why a backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup could not be read.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The text is not a backup.
    #[error("line {line} is not one of a backup of mcp-auth: {reason}")]
    NotABackup {
        /// Which line, counted from 1.
        line: u64,
        /// What does not fit.
        reason: String,
    },
    /// A newer release made it.
    #[error(
        "the backup has format version {found}, this program knows {VERSION}: restore it with the newer release"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The end is missing.
    #[error(
        "the backup ends after line {line} without its last line: it is cut off; nothing was restored"
    )]
    CutOff {
        /// How many lines there are.
        line: u64,
    },
    /// The content is not what was written.
    #[error(
        "the backup was changed or damaged since it was made (its checksum does not fit); nothing was restored"
    )]
    Damaged,
    /// There is something in the store.
    #[error(
        "the store is not empty ({}): --clear removes all that is in it first; nothing was restored", counted(.found)
    )]
    NotEmpty {
        /// How many records of each kind are there that are not in the backup.
        found: BTreeMap<Kind, u64>,
    },
    /// Somebody else stored something under a key of the backup.
    #[error(
        "the record `{key}` was stored by somebody else during the restore: stop the service, then restore with --clear"
    )]
    Contested {
        /// The key.
        key: Key,
    },
}

/// `3 client, 2 session`.
fn counted(counts: &BTreeMap<Kind, u64>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    counts.join(", ")
}
