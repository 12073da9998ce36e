//! The one thread that changes the file, and opens it again after an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::compaction::{self, Compaction, Upkeep};
use super::tables::{Change, Failure, Outcome, Tables};
use super::{Shared, file};
use crate::backend::StoreError;

/// Changes in one commit: they share its syncs to the disk.
const BATCH: usize = 256;

/// After an error redb refuses each write until the file is opened again; the pause between two attempts doubles from the
/// first to the second of these. Reads go on in between if the file can be opened.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a read that is under way may hold up the closing of the file.
const PATIENCE_WITH_READERS: Duration = Duration::from_secs(5);

/// A change and who waits for it.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) now: Timestamp,
    pub(super) reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Job>,
    /// After a failure: what it was, until when nothing is tried, and how long the pause was.
    trouble: Option<Trouble>,
    upkeep: Upkeep,
    compaction: Option<Compaction>,
    /// When it was looked last whether a compaction pays.
    looked: Instant,
    /// For whoever has news for the writer. It does not keep the queue open.
    jobs: mpsc::WeakSender<Job>,
}

struct Trouble {
    what: String,
    until: Instant,
    pause: Duration,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Job>,
        jobs: mpsc::WeakSender<Job>,
        upkeep: Upkeep,
    ) -> Self {
        Self {
            shared,
            queue,
            trouble: None,
            upkeep,
            compaction: None,
            looked: Instant::now(),
            jobs,
        }
    }

    /// Works until the backend is dropped and everything in the queue is answered.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.queue.blocking_recv() {
            batch.push(first);
            while batch.len() < BATCH
                && let Ok(job) = self.queue.try_recv()
            {
                batch.push(job);
            }
            self.serve(&mut batch);
            self.compact();
        }
        self.compaction = None;
        self.close();
    }

    fn serve(&mut self, batch: &mut Vec<Job>) {
        if let Some(trouble) = &self.trouble
            && Instant::now() < trouble.until
        {
            refuse(batch, &self.shared, &trouble.what);
            return;
        }
        let done = match self.shared.database() {
            Some(database) => commit(&database, batch),
            None => file::open(&self.shared.path)
                .map_err(|error| error.to_string())
                .and_then(|database| {
                    let done = commit(&database, batch);
                    self.shared.replace(Some(database));
                    done
                }),
        };
        match done {
            Ok(outcomes) => {
                if self.trouble.take().is_some() {
                    tracing::info!("{} can be written again", self.shared.path.display());
                }
                for (job, outcome) in batch.drain(..).zip(outcomes) {
                    if let Some(compaction) = &mut self.compaction
                        && outcome.as_ref().is_ok_and(Outcome::changed_something)
                    {
                        compaction.note(&job.change, job.now);
                    }
                    self.answer(job, outcome);
                }
            }
            Err(what) => {
                refuse(batch, &self.shared, &what);
                self.reopen(what);
            }
        }
    }

    fn answer(&self, job: Job, outcome: Result<Outcome, StoreError>) {
        if let Change::Swap {
            event: Some(event), ..
        } = &job.change
            && matches!(outcome, Ok(Outcome::Done))
        {
            self.shared.events.tell(event);
        }
        // The caller may have gone away; the change stays.
        let _ = job.reply.send(outcome);
    }

    /// Begins a compaction when one is due, and ends the one that has something to show.
    fn compact(&mut self) {
        let path = &self.shared.path;
        if let Some(compaction) = &mut self.compaction {
            let Some(result) = compaction.result() else {
                return;
            };
            let Some(compaction) = self.compaction.take() else {
                return;
            };
            let done = match (result, self.shared.database()) {
                (Ok(Some(new)), Some(old)) => {
                    let done = compaction.finish(path, &old, &new);
                    drop(old);
                    done.map(|()| drop(self.shared.replace(Some(new))))
                }
                // It does not pay, or was given up.
                (Ok(_), _) => {
                    compaction::clean_up(path);
                    return;
                }
                (Err(error), _) => Err(error),
            };
            match done {
                Ok(()) => tracing::info!("{} was compacted", path.display()),
                Err(error) => {
                    compaction::clean_up(path);
                    tracing::warn!("{} could not be compacted: {error}", path.display());
                }
            }
            return;
        }
        if self.trouble.is_some() || !compaction::is_due(path, self.upkeep, self.looked) {
            return;
        }
        self.looked = Instant::now();
        let Some(database) = self.shared.database() else {
            return;
        };
        let jobs = self.jobs.clone();
        let wake = move || {
            if let Some(jobs) = jobs.upgrade() {
                let (reply, _) = oneshot::channel();
                // A full queue means that the writer is awake.
                let _ = jobs.try_send(Job {
                    change: Change::Reopen,
                    now: Timestamp::UNIX_EPOCH,
                    reply,
                });
            }
        };
        self.compaction = Compaction::begin(path, database, wake);
    }

    fn reopen(&mut self, what: String) {
        // Its thread gives the file back.
        self.compaction = None;
        let pause = match &self.trouble {
            None => {
                tracing::warn!(
                    "{} could not be written ({what}); it is closed and opened again",
                    self.shared.path.display()
                );
                FIRST_PAUSE
            }
            Some(trouble) => LONGEST_PAUSE.min(trouble.pause * 2),
        };
        self.close();
        if let Ok(database) = file::open(&self.shared.path) {
            self.shared.replace(Some(database));
        }
        self.trouble = Some(Trouble {
            what,
            until: Instant::now() + pause,
            pause,
        });
    }

    /// Closes the file as soon as the last reader is done.
    fn close(&self) {
        let Some(mut database) = self.shared.replace(None) else {
            return;
        };
        let deadline = Instant::now() + PATIENCE_WITH_READERS;
        while Instant::now() < deadline {
            match Arc::try_unwrap(database) {
                Ok(database) => {
                    // What it could not write at the end is repaired at the next opening.
                    let _ = database.close();
                    return;
                }
                Err(still_read) => database = still_read,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Does all changes of the batch in one commit. An error means that none was done.
fn commit(database: &Database, batch: &[Job]) -> Result<Vec<Result<Outcome, StoreError>>, String> {
    let attempt = || -> Result<_, redb::Error> {
        let transaction = file::begin_write(database)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        {
            let mut tables = Tables::open(&transaction)?;
            for job in batch {
                outcomes.push(match tables.apply(&job.change, job.now) {
                    Ok(outcome) => Ok(outcome),
                    Err(Failure::Store(error)) => Err(error),
                    Err(Failure::Database(error)) => return Err(error),
                });
            }
        }
        let changed = outcomes.iter().flatten().any(Outcome::changed_something);
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(outcomes)
    };
    attempt().map_err(|error| error.to_string())
}

fn refuse(batch: &mut Vec<Job>, shared: &Shared, what: &str) {
    for job in batch.drain(..) {
        let _ = job.reply.send(Err(StoreError::busy(format!(
            "{} cannot be written: {what}",
            shared.path.display()
        ))));
    }
}
