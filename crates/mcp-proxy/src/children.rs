//! How many children there may be, in all and for one person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::child::{CannotStart, Command, Spawner, Started};

/// Starts children within bounds.
#[derive(Clone, Debug)]
pub struct Children {
    spawner: Spawner,
    command: Arc<Command>,
    counts: Arc<Mutex<Counts>>,
    bounds: Bounds,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Children in all, the ending ones included.
    pub total: usize,
    /// Children of one person.
    pub per_subject: usize,
    /// Bytes that may wait for a child that does not read.
    pub backlog_bytes: usize,
    /// Longest line of a child in bytes.
    pub line_bytes: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_subject: HashMap<Arc<str>, usize>,
}

/// The right to have one child. Given back on drop.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    subject: Option<Arc<str>>,
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub enum NoChild {
    /// The service is full.
    #[error("too many sessions are open on this service; try again later")]
    Full,
    /// This person has too many.
    #[error("too many of your sessions are open on this service; close one or try again later")]
    TooManyOfSubject,
    /// It cannot be started.
    #[error(transparent)]
    CannotStart(#[from] CannotStart),
}

impl Children {
    /// Starts children of one command within bounds.
    #[must_use]
    pub fn new(spawner: Spawner, command: Command, bounds: Bounds) -> Self {
        Self {
            spawner,
            command: Arc::new(command),
            counts: Arc::default(),
            bounds,
        }
    }

    /// Where children are served.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.spawner.runtime()
    }

    /// The command every child runs.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Longest line of a child in bytes.
    #[must_use]
    pub fn line_limit(&self) -> usize {
        self.bounds.line_bytes
    }

    /// Counts a child of our own, which no bound refuses.
    #[must_use]
    pub fn unbounded_permit(&self) -> Permit {
        lock(&self.counts).total += 1;
        Permit {
            counts: Arc::clone(&self.counts),
            subject: None,
        }
    }

    /// How many children there are, the ending ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.counts).total
    }

    /// Asks for the right to have one more child.
    pub fn permit(&self, subject: Option<&Arc<str>>) -> Result<Permit, NoChild> {
        let mut counts = lock(&self.counts);
        if counts.total >= self.bounds.total {
            return Err(NoChild::Full);
        }
        if let Some(subject) = subject {
            let of_subject = counts.by_subject.entry(Arc::clone(subject)).or_default();
            if *of_subject >= self.bounds.per_subject {
                return Err(NoChild::TooManyOfSubject);
            }
            *of_subject += 1;
        }
        counts.total += 1;
        Ok(Permit {
            counts: Arc::clone(&self.counts),
            subject: subject.cloned(),
        })
    }

    /// Starts a child.
    pub async fn start(&self) -> Result<Started, NoChild> {
        Ok(self
            .spawner
            .start(&self.command, self.bounds.backlog_bytes)
            .await?)
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        if let Some(subject) = &self.subject
            && let Some(of_subject) = counts.by_subject.get_mut(subject)
        {
            *of_subject -= 1;
            if *of_subject == 0 {
                counts.by_subject.remove(subject);
            }
        }
    }
}
