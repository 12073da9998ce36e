//! The shared children: one per person, started when needed, ended when idle, replaced when they died.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use chassis::telemetry::untrusted;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, info_span, warn};

use crate::child::{Ended, Listener};
use crate::children::{Children, NoChild};
use crate::config::Sharing;
use crate::identity::Identity;
use crate::metrics::Calls;
use crate::modern::shared::Shared;
use crate::session::Limits;
use crate::tools::reload::InForce;

type Subject = Option<Arc<str>>;

/// The shared children by person; nobody in particular is one person, too.
#[derive(Debug)]
pub struct Pool {
    table: RwLock<HashMap<Subject, Arc<Shared>>>,
    /// Held while a child is started, so that a person gets one.
    starting: tokio::sync::Mutex<()>,
    children: Children,
    limits: Limits,
    /// What became of requests is counted here.
    calls: Calls,
    sharing: Sharing,
    tools: InForce,
}

/// Hears a child and takes it from the table when it has ended.
struct Ear {
    shared: Arc<Shared>,
    subject: Subject,
    pool: Arc<Pool>,
    /// The child has answered something.
    answered: AtomicBool,
}

impl Listener for Ear {
    fn line(&self, line: Bytes) {
        self.shared.line(line);
        if !self.answered.load(Ordering::Relaxed) && self.shared.has_answered() {
            self.answered.store(true, Ordering::Relaxed);
            self.pool.children.note_answer();
        }
    }

    fn unreadable(&self) {
        self.shared.unreadable();
    }

    fn ended(&self, how: &Ended) {
        let first = self.pool.remove(&self.subject, &self.shared);
        if first {
            let answered = self.answered.load(Ordering::Relaxed);
            self.pool.children.note_end(how, answered);
        }
        self.shared.ended(how);
    }
}

impl Pool {
    /// No children yet.
    #[must_use]
    pub fn new(
        children: Children,
        limits: Limits,
        calls: Calls,
        sharing: Sharing,
        tools: InForce,
    ) -> Self {
        Self {
            table: RwLock::default(),
            starting: tokio::sync::Mutex::new(()),
            children,
            limits,
            calls,
            sharing,
            tools,
        }
    }

    fn find(&self, subject: &Subject) -> Option<Arc<Shared>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .get(subject)
            .filter(|shared| !shared.has_ended())
            .cloned()
    }

    /// Takes a child from the table; `false` if it was not there any more.
    fn remove(&self, subject: &Subject, shared: &Arc<Shared>) -> bool {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let current = table
            .get(subject)
            .is_some_and(|current| Arc::ptr_eq(current, shared));
        if current {
            table.remove(subject);
        }
        current
    }

    /// The person's child; started if there is none.
    pub async fn child(
        self: &Arc<Self>,
        identity: Option<&Identity>,
    ) -> Result<Arc<Shared>, NoChild> {
        let identity = identity.filter(|_| self.sharing != Sharing::Shared);
        let subject = identity.map(|identity| Arc::clone(&identity.owner.subject));
        if let Some(shared) = self.find(&subject) {
            return Ok(shared);
        }
        let _starting = self.starting.lock().await;
        if let Some(shared) = self.find(&subject) {
            return Ok(shared);
        }
        let permit = self.children.permit(subject.as_ref())?;
        let started = self.children.start(identity).await?;
        let login = identity.map_or("-", |identity| &identity.login);
        let shown = subject.as_deref().unwrap_or("-");
        let span = info_span!("shared", login = %untrusted(login), subject = %untrusted(shown));
        info!(parent: &span, "shared child started");
        let stop = CancellationToken::new();
        let stdin = Arc::clone(&started.stdin);
        let shared = Arc::new(Shared::new(
            span.clone(),
            stdin,
            stop.clone(),
            self.limits,
            self.calls.clone(),
            self.tools.clone(),
        ));
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(subject.clone(), Arc::clone(&shared));
        let ear = Ear {
            shared: Arc::clone(&shared),
            subject,
            pool: Arc::clone(self),
            answered: AtomicBool::new(false),
        };
        let watch = self.children.watch(stop, span);
        started.listen(self.children.runtime(), Arc::new(ear), watch, permit);
        Ok(shared)
    }

    fn all(&self) -> Vec<(Subject, Arc<Shared>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .iter()
            .map(|(subject, shared)| (subject.clone(), Arc::clone(shared)))
            .collect()
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.all()
            .iter()
            .map(|(_, shared)| shared.in_flight())
            .sum()
    }

    /// Ends children that nobody has used and requests that took too long. Called every second.
    pub fn sweep(&self, now: Instant) {
        for (subject, shared) in self.all() {
            if let Some(why) = shared.give_up(now) {
                self.remove(&subject, &shared);
                warn!(parent: &shared.span, "{why}");
                shared.close(why);
            } else if shared.is_idle(now) {
                self.remove(&subject, &shared);
                shared.close("the shared child was idle too long");
            }
        }
    }

    /// Tells every client that listens for it that its list of tools is another one now.
    pub fn tools_changed(&self) {
        for (_, shared) in self.all() {
            shared.tools_changed();
        }
    }

    /// Ends the streams that would never end by themselves.
    pub fn drain(&self) {
        for (_, shared) in self.all() {
            shared.drain();
        }
    }

    /// Ends every child.
    pub fn close_all(&self) {
        for (subject, shared) in self.all() {
            self.remove(&subject, &shared);
            shared.close("the service is stopping");
        }
    }
}
