//! Why a store gives no answer, or cannot be opened.

use std::fmt;
use std::path::PathBuf;

use super::Key;

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be asked now. A swap that ends so was done wholly or not at all; which, only a read can tell.
    #[error("the store cannot be asked: {reason}")]
    Unavailable {
        /// What happened and what to do, without secrets.
        reason: String,
        /// The error of the library below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What is stored is not what this version wrote or can read.
    #[error("the stored record `{key}` cannot be read: {reason}")]
    Corrupt {
        /// The key of the record.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scan was to go on where no scan of this store has ended.
    #[error(
        "`{cursor}` is not a place where a list of this store goes on: begin with its first page"
    )]
    UnknownCursor {
        /// What was given.
        cursor: String,
    },
    /// Others changed the record between each read and its swap.
    #[error(
        "the record `{key}` was changed by others during each of {tries} attempts to change it"
    )]
    Contended {
        /// The key of the record.
        key: Key,
        /// How often it was tried.
        tries: u32,
    },
}

impl StoreError {
    pub(crate) fn unavailable(
        reason: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: None,
        }
    }

    pub(crate) fn corrupt(key: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            key: key.to_string(),
            reason: reason.into(),
        }
    }
}

/// Why a store could not be opened: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A second process on the same file.
    #[error(
        "the store file {} is in use by another process: stop that one or set STORE_PATH to another file \
         (several instances share one store with STORE=redis)", path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The directory of the file is not there.
    #[error("the store file {} cannot be made: its directory does not exist; create it or set STORE_PATH", path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory does not admit this user.
    #[error(
        "the store file {} cannot be read and written by this user: give it to the user of the service or set STORE_PATH",
        path.display()
    )]
    NotPermitted {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else, or damaged.
    #[error(
        "the file {} is not a store of this program ({reason}): set STORE_PATH to another file or restore a backup",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file was written by a newer release.
    #[error(
        "the store file {} has schema version {found}, this program knows {known}: use the newer release again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The newest version that is known here.
        known: u64,
    },
    /// The system refuses the file for another reason.
    #[error("the store file {} cannot be opened: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address of Redis is not one.
    #[error(
        "REDIS_URL is not an address of Redis ({reason}): use redis://host:6379, or rediss://host:6379 for TLS, \
         and REDIS_PASSWORD for the password"
    )]
    RedisUrl {
        /// What is wrong, without the password.
        reason: String,
    },
}
