//! Opening the store file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use super::tables::{self, SCHEMA_VERSION};
use crate::backend::OpenError;

/// Only the user of the service may read the keys and sessions in the file.
const MODE: u32 = 0o600;

/// Pages kept in memory. The tables are small rows found by key; the system's own file cache does the rest.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Opens the file or makes it, and checks that it is a store of a version that is known here.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    let file = open_file(path)?;
    let database = FileBackend::new(file)
        .and_then(|file| {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(file)
        })
        .map_err(|error| database_error(path, error))?;
    match tables::schema_version(&database) {
        Ok(Some(SCHEMA_VERSION)) => Ok(database),
        Ok(Some(found)) => Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        }),
        Ok(None) => {
            prepare(&database).map_err(|error| not_a_store(path, &error))?;
            Ok(database)
        }
        Err(error) => Err(not_a_store(path, &error)),
    }
}

/// A write transaction whose commit is on the disk when it returns, also when the machine fails while it is written.
pub(super) fn begin_write(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    // Strangers choose part of what is stored (registration is open), and then redb's design asks for two phases.
    transaction.set_two_phase_commit(true);
    // After a crash the service is back at once, however large the file.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// The first change makes the tables last; should the machine fail before it, they are made again.
fn prepare(database: &Database) -> Result<(), redb::Error> {
    let mut transaction = begin_write(database)?;
    transaction.set_durability(redb::Durability::None)?;
    tables::create(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn open_file(path: &Path) -> Result<File, OpenError> {
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => OpenError::NoDirectory {
            path: path.to_owned(),
        },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::NotPermitted {
            path: path.to_owned(),
            source: error,
        },
        _ => OpenError::Io {
            path: path.to_owned(),
            source: error,
        },
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)
        .map_err(refused)?;
    let mode = file.metadata().map_err(refused)?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE))
            .map_err(refused)?;
        tracing::warn!(
            "the store file {} was open to other users (mode {:o}); it is now {MODE:o}",
            path.display(),
            mode & 0o777
        );
    }
    Ok(file)
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse {
            path: path.to_owned(),
        },
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() != ErrorKind::InvalidData =>
        {
            OpenError::Io {
                path: path.to_owned(),
                source,
            }
        }
        other => not_a_store(path, &other),
    }
}

fn not_a_store(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::NotAStore {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
