//! One file on this machine (redb), for one instance.
//!
//! redb blocks and syncs to disk. All changes go through one [`writer`] thread that puts the waiting ones into one commit;
//! reads run on the blocking threads of the runtime in which the store was opened.

mod compaction;
mod file;
mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redb::Database;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use self::compaction::Upkeep;
use self::tables::{Change, Outcome};
use self::writer::{Job, Writer};
use crate::backend::{
    Backend, Event, EventFeed, EventHub, Index, Key, OpenError, Page, Record, Scan, StoreError,
    Swap, Swapped,
};
use crate::counters::{Admission, Counters, Quota, Taken};

/// Changes that may wait for the writer; more wait outside, for [`QUEUE_WAIT`] at most.
const QUEUE_LENGTH: usize = 1024;

/// How long a change waits for a place in the queue before its caller is told that the store is busy.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// Records in one file. Durable: a change that was answered with success is on the disk.
pub struct EmbeddedBackend {
    shared: Arc<Shared>,
    runtime: Handle,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// Not in the file: a sync to the disk for each request would cost more than what the limits prevent.
    counters: Counters,
}

/// What the writer thread, the readers and the handle have in common.
struct Shared {
    path: PathBuf,
    /// `None` while the file is closed after an error.
    database: RwLock<Option<Arc<Database>>>,
    events: EventHub,
}

impl Shared {
    fn database(&self) -> Option<Arc<Database>> {
        self.database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, database: Option<Database>) -> Option<Arc<Database>> {
        let mut current = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, database.map(Arc::new))
    }
}

impl EmbeddedBackend {
    /// Opens the store file, or makes it with mode 0600. Call it in the runtime that lives as long as the process.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, Upkeep::default()).await
    }

    /// The same with another upkeep.
    pub async fn open_with(path: impl AsRef<Path>, upkeep: Upkeep) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let runtime = Handle::current();
        let opened = {
            let path = path.clone();
            let opening = move || {
                let database = file::open(&path)?;
                compaction::clean_up(&path);
                Ok(database)
            };
            runtime.spawn_blocking(opening).await
        };
        let refused = |error: std::io::Error| OpenError::Io {
            path: path.clone(),
            source: error,
        };
        let database = opened.map_err(|error| refused(std::io::Error::other(error)))??;
        let shared = Arc::new(Shared {
            path: path.clone(),
            database: RwLock::new(Some(Arc::new(database))),
            events: EventHub::new(true),
        });
        let (jobs, queue) = mpsc::channel(QUEUE_LENGTH);
        let writer = {
            let writer = Writer::new(Arc::clone(&shared), queue, jobs.downgrade(), upkeep);
            std::thread::Builder::new()
                .name("store-writer".to_owned())
                .spawn(move || writer.run())
                .map_err(refused)?
        };
        Ok(Self {
            shared,
            runtime,
            jobs: Some(jobs),
            writer: Some(writer),
            counters: Counters::new(),
        })
    }

    async fn change(&self, change: Change, now: Timestamp) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        let Some(jobs) = &self.jobs else {
            return Err(self.unavailable("it is being closed"));
        };
        jobs.send_timeout(Job { change, now, reply }, QUEUE_WAIT)
            .await
            .map_err(|_| self.unavailable("too many changes are waiting; is the disk slow?"))?;
        answer
            .await
            .map_err(|_| self.unavailable("its writer has ended"))?
    }

    async fn with_database<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, tables::Failure> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let result = self
            .runtime
            .spawn_blocking(move || shared.database().map(|database| read(&database)))
            .await
            .map_err(|error| {
                StoreError::unavailable(
                    format!("a read of {} was not finished", self.shared.path.display()),
                    error,
                )
            })?;
        let failure = match result {
            Some(Ok(value)) => return Ok(value),
            Some(Err(tables::Failure::Store(error))) => return Err(error),
            Some(Err(tables::Failure::Database(error))) => StoreError::unavailable(
                format!("{} cannot be read: {error}", self.shared.path.display()),
                error,
            ),
            None => self.unavailable("the file is closed after an error and will be opened again"),
        };
        self.ask_for_reopening();
        Err(failure)
    }

    /// Only the writer opens the file again, so it has to hear of trouble that a reader met.
    fn ask_for_reopening(&self) {
        if let Some(jobs) = &self.jobs {
            let (reply, _) = oneshot::channel();
            // A full queue means that the writer is about to find out by itself.
            let _ = jobs.try_send(Job {
                change: Change::Reopen,
                now: Timestamp::UNIX_EPOCH,
                reply,
            });
        }
    }

    fn unavailable(&self, what: &str) -> StoreError {
        StoreError::busy(format!("{}: {what}", self.shared.path.display()))
    }
}

impl Drop for EmbeddedBackend {
    /// Finishes the waiting changes and closes the file, so that it can be opened again at once.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Backend for EmbeddedBackend {
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError> {
        let keys: Vec<_> = keys.iter().map(Key::to_string).collect();
        self.with_database(move |database| tables::read(database, &keys, now))
            .await
    }

    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError> {
        let change = Change::Swap {
            key: swap.key.to_string(),
            expected: swap.expected.cloned(),
            new: swap.new.cloned(),
            event: swap.event.cloned(),
        };
        match self.change(change, now).await? {
            Outcome::Conflict => Ok(Swapped::Conflict),
            _ => Ok(Swapped::Done),
        }
    }

    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError> {
        let (kind, prefix, limit) = (scan.kind, scan.prefix.to_owned(), scan.limit.max(1));
        let cursor = scan.cursor.map(str::to_owned);
        self.with_database(move |database| {
            tables::scan(database, kind, &prefix, cursor.as_deref(), limit, now)
        })
        .await
    }

    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = Change::InsertMember {
            index: index.to_string(),
            member: member.to_owned(),
            end: expires_at.map(Timestamp::as_millisecond),
        };
        self.change(change, now).await.map(drop)
    }

    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError> {
        let change = Change::RemoveMember {
            index: index.to_string(),
            member: member.to_owned(),
        };
        self.change(change, Timestamp::UNIX_EPOCH).await.map(drop)
    }

    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let index = index.to_string();
        let after = after.map(str::to_owned);
        self.with_database(move |database| {
            tables::members(database, &index, after.as_deref(), limit, now)
        })
        .await
    }

    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError> {
        let index = index.to_string();
        self.with_database(move |database| tables::member_count(database, &index, now))
            .await
    }

    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        Ok(self.counters.admit(counter, quota, now))
    }

    async fn give_back(
        &self,
        counter: &str,
        taken: Taken,
        quota: Quota,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.counters.give_back(counter, taken, quota, now);
        Ok(())
    }

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        self.shared.events.tell(event);
        Ok(())
    }

    fn events(&self) -> EventFeed {
        self.shared.events.feed()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.with_database(tables::check).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        match self.change(Change::Sweep { limit }, now).await? {
            Outcome::Swept(removed) => Ok(removed),
            _ => Ok(0),
        }
    }
}
