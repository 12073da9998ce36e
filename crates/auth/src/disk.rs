//! Room on the disk of the store file. A full disk loses nothing: changes are refused until there is room. But nobody can sign
//! in meanwhile, so it is said before it happens.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::settings::StoreSettings;

const MIB: u64 = 1024 * 1024;

/// The disk on which the store file is.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
    least_mib: u64,
}

impl Disk {
    /// The disk of this store, which should have so many MiB free; none for a store without a file.
    pub(crate) fn of_store(store: &StoreSettings, least_mib: u64) -> Option<Self> {
        match store {
            StoreSettings::Embedded(file) => Some(Self::of(file, least_mib)),
            StoreSettings::Memory | StoreSettings::Redis { .. } => None,
        }
    }

    fn of(file: &Path, least_mib: u64) -> Self {
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            directory,
            least_mib,
        }
    }

    /// How many bytes this user may still write.
    pub(crate) fn free(&self) -> anyhow::Result<u64> {
        let disk = rustix::fs::statvfs(&self.directory)
            .with_context(|| format!("the disk of {} tells nothing", self.directory.display()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Whether there is little room, for people.
    pub(crate) fn complaint(&self) -> Result<(), String> {
        let free = self.free().map_err(|error| format!("{error:#}"))? / MIB;
        if free >= self.least_mib {
            return Ok(());
        }
        Err(format!(
            "{free} MiB are free for the store in {}, fewer than {} (STORE_FREE_SPACE): make room, or nobody can sign in soon",
            self.directory.display(),
            self.least_mib
        ))
    }
}
