//! How many children there may be, in all and for one person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::{CannotStart, Ended, Spawner, Started, Watch};
use crate::command::CommandLine;
use crate::crashes::Crashes;
use crate::identity::Identity;
use crate::metrics::Counted;
use crate::spare::Spare;

/// Starts children within bounds.
#[derive(Clone, Debug)]
pub struct Children {
    spawner: Spawner,
    command: Arc<CommandLine>,
    counts: Arc<Mutex<Counts>>,
    bounds: Bounds,
    counted: Counted,
    spare: Spare,
    /// Told when children keep ending before they answer.
    unwell: Arc<Notify>,
    kill: CancellationToken,
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
    /// Is a spare child kept?
    pub spare: bool,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_subject: HashMap<Arc<str>, usize>,
    /// Those that no bound refuses.
    extra: usize,
    crashes: Crashes,
}

/// The right to have one child. Given back on drop.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    holder: Holder,
    counted: Counted,
}

/// Whose child it is.
#[derive(Debug)]
enum Holder {
    /// One person's, or nobody's in particular.
    Subject(Option<Arc<str>>),
    /// Ours.
    Service,
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
    #[error(
        "the MCP server keeps ending before it answers (the last time: {how}); try again later"
    )]
    Crashing {
        /// How it ended the last time.
        how: Arc<str>,
        /// When it is tried again.
        again: Duration,
    },
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
            spare: Spare::default(),
            unwell: Arc::default(),
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
            counted: self.counted.clone(),
        }
    }

    /// Kills every child with its whole group.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Counts a child of our own, which no bound refuses.
    #[must_use]
    pub fn unbounded_permit(&self) -> Permit {
        lock(&self.counts).extra += 1;
        self.counted.children.inc();
        self.granted(Holder::Service)
    }

    fn granted(&self, holder: Holder) -> Permit {
        Permit {
            counted: self.counted.clone(),
            counts: Arc::clone(&self.counts),
            holder,
        }
    }

    /// How many children there are, the ending ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        let counts = lock(&self.counts);
        counts.total + counts.extra
    }

    /// Asks for the right to have one more child.
    pub fn permit(&self, subject: Option<&Arc<str>>) -> Result<Permit, NoChild> {
        let mut counts = lock(&self.counts);
        if let Some(again) = counts.crashes.pause(Instant::now()) {
            let how = counts.crashes.how();
            return Err(NoChild::Crashing { how, again });
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
        Ok(self.granted(Holder::Subject(subject.cloned())))
    }

    /// Starts a child for one person, or takes the spare one; `None` stands for a child that belongs to nobody.
    pub async fn start(&self, person: Option<&Identity>) -> Result<Started, NoChild> {
        match self.spare.take(self) {
            Some(started) => Ok(started),
            None => self.start_new(person).await,
        }
    }

    /// Starts a child, later if children have been ending before they answered.
    pub async fn start_new(&self, person: Option<&Identity>) -> Result<Started, NoChild> {
        let wait = lock(&self.counts).crashes.wait(Instant::now());
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        let started = self
            .spawner
            .start(&self.command.render(person), self.bounds.backlog_bytes)
            .await?;
        self.counted.started.inc();
        Ok(started)
    }

    /// From now on a spare child is kept, unless each child is made for one person.
    pub fn keep_spare(&self) {
        if self.bounds.spare && !self.command.names_person() {
            self.spare.keep(self);
        }
    }

    /// Ends the spare child.
    pub fn close_spare(&self) {
        self.spare.close(self);
    }

    /// A child has ended. `answered`: it had answered something before.
    pub fn note_end(&self, how: &Ended, answered: bool) {
        if answered || !how.by_itself() {
            return;
        }
        let unwell = lock(&self.counts)
            .crashes
            .crashed(&how.to_string(), Instant::now());
        if unwell {
            self.unwell.notify_one();
        }
    }

    /// A child has answered for the first time.
    pub fn note_answer(&self) {
        lock(&self.counts).crashes.answered();
    }

    /// How long no child is started, because they keep ending before they answer.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        lock(&self.counts).crashes.pause(Instant::now())
    }

    /// Waits until children have begun to end before they answer, again and again. Tells how.
    pub async fn unwell(&self) -> Arc<str> {
        loop {
            let notified = self.unwell.notified();
            if let Some(how) = lock(&self.counts).crashes.problem() {
                return how;
            }
            notified.await;
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        self.counted.children.dec();
        let Holder::Subject(subject) = &self.holder else {
            counts.extra -= 1;
            return;
        };
        counts.total -= 1;
        if let Some(subject) = subject
            && let Some(of_subject) = counts.by_subject.get_mut(subject)
        {
            *of_subject -= 1;
            if *of_subject == 0 {
                counts.by_subject.remove(subject);
            }
        }
    }
}
