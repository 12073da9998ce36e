//! How many children there may be, in all and for one person.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::{CannotStart, Spawner, Started, Watch};
use crate::command::CommandLine;
use crate::identity::Identity;
use crate::metrics::Counted;

/// Starts children within bounds.
#[derive(Clone, Debug)]
pub struct Children {
    spawner: Spawner,
    command: Arc<CommandLine>,
    counts: Arc<Mutex<Counts>>,
    bounds: Bounds,
    counted: Counted,
    kill: CancellationToken,
}

/// So many children that end before they have answered anything …
const CRASHES: usize = 5;
/// … within this time …
const CRASHES_WITHIN: Duration = Duration::from_secs(60);
/// … are followed by a pause of this length.
const PAUSE: Duration = Duration::from_secs(30);

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
    /// When children ended before they had answered anything, the last ones.
    crashes: VecDeque<Instant>,
}

/// The right to have one child. Given back on drop.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    subject: Option<Arc<str>>,
    counted: Counted,
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
    /// It ends before it answers, again and again.
    #[error("the MCP server keeps ending before it answers; try again later")]
    Crashing,
    /// It cannot be started.
    #[error(transparent)]
    CannotStart(#[from] CannotStart),
}

impl Children {
    /// Starts children of one command within bounds.
    #[must_use]
    pub fn new(spawner: Spawner, command: CommandLine, bounds: Bounds, counted: Counted) -> Self {
        Self {
            spawner,
            command: Arc::new(command),
            counts: Arc::default(),
            bounds,
            counted,
            kill: CancellationToken::new(),
        }
    }

    /// Where children are served.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.spawner.runtime()
    }

    /// How a child is watched. `stop`: ends it when cancelled; `span`: labels its log lines.
    #[must_use]
    pub fn watch(&self, stop: CancellationToken, span: tracing::Span) -> Watch {
        Watch {
            stop,
            kill: self.kill.clone(),
            span,
            line_limit: self.bounds.line_bytes,
        }
    }

    /// Kills every child with its whole group.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Counts a child of our own, which no bound refuses.
    #[must_use]
    pub fn unbounded_permit(&self) -> Permit {
        lock(&self.counts).total += 1;
        self.counted.children.inc();
        Permit {
            counted: self.counted.clone(),
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
        if counts.is_crashing(Instant::now()) {
            return Err(NoChild::Crashing);
        }
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
        self.counted.children.inc();
        Ok(Permit {
            counted: self.counted.clone(),
            counts: Arc::clone(&self.counts),
            subject: subject.cloned(),
        })
    }

    /// Starts a child for one person; `None` stands for one that belongs to nobody.
    pub async fn start(&self, person: Option<&Identity>) -> Result<Started, NoChild> {
        let started = self
            .spawner
            .start(&self.command.render(person), self.bounds.backlog_bytes)
            .await?;
        self.counted.started.inc();
        Ok(started)
    }

    /// A child has ended by itself. `answered`: it had answered something before.
    pub fn note_end(&self, answered: bool) {
        self.counted.ended.inc();
        if !answered {
            let mut counts = lock(&self.counts);
            if counts.crashes.len() == CRASHES {
                counts.crashes.pop_front();
            }
            counts.crashes.push_back(Instant::now());
        }
    }

    /// Do children keep ending before they answer? Then none is started for a while.
    #[must_use]
    pub fn is_crashing(&self) -> bool {
        lock(&self.counts).is_crashing(Instant::now())
    }
}

impl Counts {
    fn is_crashing(&self, now: Instant) -> bool {
        let (Some(first), Some(last)) = (self.crashes.front(), self.crashes.back()) else {
            return false;
        };
        self.crashes.len() == CRASHES
            && last.duration_since(*first) < CRASHES_WITHIN
            && now.duration_since(*last) < PAUSE
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        self.counted.children.dec();
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
