//! A smaller file in the place of one that has become mostly air.
//!
//! redb uses the pages of removed rows again, but gives back only what happens to be free at the end of the file, and its own
//! compaction needs the file for itself for seconds. So a second file is written beside the first while that one goes on being
//! read and changed: all rows as of one instant, by a thread of its own; then, by the writer, what was changed since; then it
//! takes the name of the first. A process that dies on the way leaves the first file as it was.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use tokio::sync::oneshot;

use super::file;
use super::tables::{Change, Failure, Listed, MEMBER_ENDS, MEMBERS, RECORD_ENDS, RECORDS, Tables};

/// When a file is written anew.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// A file of fewer bytes than this is left as it is.
    pub compact_from: u64,
    /// How often a larger one is looked at.
    pub look_every: Duration,
}

impl Default for Upkeep {
    /// From 64 MiB on, once an hour.
    fn default() -> Self {
        Self {
            compact_from: 64 * 1024 * 1024,
            look_every: Duration::from_secs(60 * 60),
        }
    }
}

/// It pays when the file is at least so many times as large as what is in it. (A file whose rows came in no order is filled to
/// two thirds; one that was grown just now, to a third.)
const TIMES: u64 = 4;

/// Changes that are carried over at the end, while others wait; with more of them it is given up.
const MOST_TOUCHED: usize = 20_000;

/// Rows between two looks at whether it is to be given up.
const STEP: usize = 1000;

/// A compaction under way.
pub(super) struct Compaction {
    /// Set when nothing may come of it any more.
    is_over: Arc<AtomicBool>,
    finished: oneshot::Receiver<Result<Option<Database>, String>>,
    records: BTreeSet<String>,
    members: BTreeSet<(String, String)>,
    swept: Option<Timestamp>,
}

/// Whether a file that was looked at then is to be looked at now.
pub(super) fn is_due(path: &Path, upkeep: Upkeep, looked: Instant) -> bool {
    looked.elapsed() >= upkeep.look_every
        && std::fs::metadata(path).is_ok_and(|file| file.len() >= upkeep.compact_from)
}

/// Where the second file is written.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".compacting");
    path.with_file_name(name)
}

/// Removes what a process left that died on the way.
pub(super) fn clean_up(path: &Path) {
    let _ = std::fs::remove_file(beside(path));
}

impl Compaction {
    /// Begins. `wake` is called when there is something to [`Compaction::finish`].
    pub(super) fn begin(
        path: &Path,
        database: Arc<Database>,
        wake: impl FnOnce() + Send + 'static,
    ) -> Option<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (done, finished) = oneshot::channel();
        let (path, given_up) = (path.to_owned(), Arc::clone(&is_over));
        let copying = move || {
            let copied = copy(&path, &database, &given_up);
            // Before the writer hears of it, which may want to close the file.
            drop(database);
            let _ = done.send(copied.map_err(|error| error.to_string()));
            wake();
        };
        std::thread::Builder::new()
            .name("store-compaction".to_owned())
            .spawn(copying)
            .ok()?;
        Some(Self {
            is_over,
            finished,
            records: BTreeSet::new(),
            members: BTreeSet::new(),
            swept: None,
        })
    }

    /// Takes note of a change that was stored in the first file.
    pub(super) fn note(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Swap { key, .. } => drop(self.records.insert(key.clone())),
            Change::InsertMember { index, member, .. } | Change::RemoveMember { index, member } => {
                self.members.insert((index.clone(), member.clone()));
            }
            Change::Sweep { .. } => self.swept = self.swept.max(Some(now)),
            Change::Reopen => {}
        }
        if self.records.len() + self.members.len() > MOST_TOUCHED {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// What has become of it: `None` while it goes on, else the second file, if there is one to be taken.
    pub(super) fn result(&mut self) -> Option<Result<Option<Database>, String>> {
        match self.finished.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Ok(None)),
            Ok(_) if self.is_over.load(Ordering::Relaxed) => Some(Ok(None)),
            Ok(result) => Some(result),
        }
    }

    /// Carries what was changed meanwhile over to the second file, and gives it the name of the first.
    pub(super) fn finish(self, path: &Path, old: &Database, new: &Database) -> Result<(), String> {
        self.carry_over(old, new)
            .map_err(|error| error.to_string())?;
        let renamed = std::fs::rename(beside(path), path).and_then(|()| sync_directory(path));
        renamed.map_err(|error| error.to_string())
    }

    fn carry_over(&self, old: &Database, new: &Database) -> Result<(), redb::Error> {
        let from = old.begin_read()?;
        let (records, members) = (from.open_table(RECORDS)?, from.open_table(MEMBERS)?);
        let to = file::begin_write(new)?;
        {
            let mut tables = Tables::open(&to)?;
            for key in &self.records {
                let row = records.get(key.as_str())?;
                database(tables.put_row(key, row.as_ref().map(redb::AccessGuard::value)))?;
            }
            for (index, member) in &self.members {
                let row = members.get((index.as_str(), member.as_str()))?;
                let listed = row.map_or(Listed::No, |end| Listed::Until(end.value()));
                database(tables.put_member(index, member, listed))?;
            }
            if let Some(now) = self.swept {
                // What ended is gone from the first file, or would be after its next sweep.
                database(tables.sweep(now, usize::MAX))?;
            }
        }
        to.commit()?;
        Ok(())
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// A row that cannot be read is copied as it is, so that there are only errors of the file.
fn database<T>(result: Result<T, Failure>) -> Result<(), redb::Error> {
    match result {
        Ok(_) | Err(Failure::Store(_)) => Ok(()),
        Err(Failure::Database(error)) => Err(error),
    }
}

/// All rows as of now, in a second file. None if it does not pay or is given up.
fn copy(
    path: &Path,
    database: &Database,
    is_over: &AtomicBool,
) -> Result<Option<Database>, redb::Error> {
    let from = database.begin_read()?;
    let records = from.open_table(RECORDS)?;
    let record_ends = from.open_table(RECORD_ENDS)?;
    let members = from.open_table(MEMBERS)?;
    let member_ends = from.open_table(MEMBER_ENDS)?;
    let stored = records.stats()?.stored_bytes()
        + record_ends.stats()?.stored_bytes()
        + members.stats()?.stored_bytes()
        + member_ends.stats()?.stored_bytes();
    let size = std::fs::metadata(path)?.len();
    if stored.saturating_mul(TIMES) > size {
        return Ok(None);
    }
    clean_up(path);
    let second = beside(path);
    let new = file::open(&second).map_err(|error| std::io::Error::other(error.to_string()))?;
    let to = file::begin_write(&new)?;
    {
        let mut rows = 0;
        let mut goes_on = || {
            rows += 1;
            rows % STEP != 0 || !is_over.load(Ordering::Relaxed)
        };
        // In their order, so that each page is filled.
        let mut table = to.open_table(RECORDS)?;
        for row in records.iter()? {
            let (key, value) = row?;
            table.insert(key.value(), value.value())?;
            if !goes_on() {
                return Ok(None);
            }
        }
        let mut table = to.open_table(RECORD_ENDS)?;
        for row in record_ends.iter()? {
            table.insert(row?.0.value(), ())?;
            if !goes_on() {
                return Ok(None);
            }
        }
        let mut table = to.open_table(MEMBERS)?;
        for row in members.iter()? {
            let (key, value) = row?;
            table.insert(key.value(), value.value())?;
            if !goes_on() {
                return Ok(None);
            }
        }
        let mut table = to.open_table(MEMBER_ENDS)?;
        for row in member_ends.iter()? {
            table.insert(row?.0.value(), ())?;
            if !goes_on() {
                return Ok(None);
            }
        }
    }
    to.commit()?;
    Ok(Some(new))
}

/// Makes the new name last.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
