//! The older children that serve modern requests: one shared child for each person, and leased ones.
//!
//! A lease is a child for one call at a time, which was told in its handshake what its client can be asked for. After the
//! call it waits for another call of the same person that can be asked for the same; it never serves anybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chassis::telemetry::untrusted;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, info_span, warn};

use crate::children::{Children, NoChild};
use crate::http::error::Refusal;
use crate::identity::Identity;
use crate::jsonrpc::Message;
use crate::metrics::Counted;
use crate::modern::translation::child::{Home, Legacy};
use crate::modern::translation::listener::Ear;
use crate::modern::translation::parked::Parked;
use crate::modern::translation::profile::Profile;
use crate::replicas::Tag;
use crate::session::Limits;
use crate::tools::announce;

/// How often a waiting call looks for room that nobody tells of: sessions end, too.
const LOOKING: Duration = Duration::from_millis(100);

/// Whose a child is; nobody in particular is one person, too.
pub type Subject = Option<Arc<str>>;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Leases in all, the ending ones included.
    pub total: usize,
    /// Leases of one person.
    pub per_subject: usize,
    /// How long a call waits for a lease when there are as many as there may be.
    pub wait: Duration,
    /// How long a parked call waits for its client.
    pub parked: Duration,
    /// How long a handshake may take.
    pub handshake: Duration,
}

/// All older children that serve modern requests.
#[derive(Debug)]
pub struct Leases {
    this: Weak<Self>,
    shared: Mutex<HashMap<Subject, Arc<OnceCell<Arc<Legacy>>>>>,
    leased: Mutex<Vec<Arc<Legacy>>>,
    slots: Arc<Mutex<HashMap<Subject, usize>>>,
    /// The calls that wait for their client.
    pub parked: Arc<Parked>,
    children: Children,
    limits: Limits,
    bounds: Bounds,
    counted: Counted,
    /// Told when a lease is free or gone.
    pub(super) freed: Notify,
}

/// The right to have one leased child. Given back when its process group is gone.
#[derive(Debug)]
struct Slot {
    slots: Arc<Mutex<HashMap<Subject, usize>>>,
    subject: Subject,
    leases: Weak<Leases>,
    counted: Counted,
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut slots = lock(&self.slots);
            if let Some(count) = slots.get_mut(&self.subject) {
                *count -= 1;
                if *count == 0 {
                    slots.remove(&self.subject);
                }
            }
        }
        self.counted.leases.dec();
        if let Some(leases) = self.leases.upgrade() {
            leases.freed.notify_waiters();
        }
    }
}

/// A lease that is yours. Dropping it gives it back, unless a call has begun on it.
#[derive(Debug)]
pub struct Claim {
    child: Arc<Legacy>,
    begun: bool,
}

impl Claim {
    /// The child.
    #[must_use]
    pub fn child(&self) -> &Arc<Legacy> {
        &self.child
    }

    /// A call has begun on it: the lease is free when that is over.
    pub fn begun(mut self) {
        self.begun = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.begun {
            self.child.release();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subject(identity: Option<&Identity>) -> Subject {
    identity.map(|identity| Arc::clone(&identity.owner.subject))
}

impl Leases {
    /// No children yet. `replica`: what a `requestState` begins with where there are several replicas.
    pub fn new(
        children: Children,
        limits: Limits,
        bounds: Bounds,
        replica: Option<Tag>,
        counted: Counted,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let parked = Arc::new(Parked::new(bounds.parked, replica, counted.clone())?);
        Ok(Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            shared: Mutex::default(),
            leased: Mutex::default(),
            slots: Arc::default(),
            parked,
            children,
            limits,
            bounds,
            counted,
            freed: Notify::new(),
        }))
    }

    /// The person's shared child; started if there is none.
    pub async fn shared(
        self: &Arc<Self>,
        identity: Option<&Identity>,
    ) -> Result<Arc<Legacy>, Refusal> {
        let subject = subject(identity);
        let cell = {
            let mut shared = lock(&self.shared);
            let cell = shared.entry(subject.clone()).or_default();
            match cell.get() {
                Some(child) if !child.has_ended() => return Ok(Arc::clone(child)),
                Some(_) => *cell = Arc::default(),
                None => {}
            }
            Arc::clone(cell)
        };
        let (this, identity) = (Arc::clone(self), identity.cloned());
        let start = async move {
            let child = cell.get_or_try_init(async || {
                let permit = this.children.permit(subject.as_ref())?;
                this.start(identity.as_ref(), None, permit).await
            });
            child.await.cloned()
        };
        // A client that goes away must not end what others wait for.
        let started = self.children.runtime().spawn(start).await;
        started.map_err(|_| Refusal::AnswerLost)?
    }

    /// A child for one call whose client can be asked for what `profile` says. Waits a while when there are too many.
    pub async fn lease(
        self: &Arc<Self>,
        identity: Option<&Identity>,
        profile: Profile,
    ) -> Result<Claim, Refusal> {
        let subject = subject(identity);
        let deadline = Instant::now() + self.bounds.wait;
        loop {
            let freed = self.freed.notified();
            if let Some(claim) = self.find(&subject, profile) {
                return Ok(claim);
            }
            if let Some(slot) = self.slot(&subject) {
                match self.children.permit(subject.as_ref()) {
                    Ok(permit) => {
                        let (this, identity) = (Arc::clone(self), identity.cloned());
                        let start = async move {
                            let begun = (permit, slot);
                            let child = this.start(identity.as_ref(), Some(profile), begun).await?;
                            lock(&this.leased).push(Arc::clone(&child));
                            Ok(Claim {
                                child,
                                begun: false,
                            })
                        };
                        let started = self.children.runtime().spawn(start).await;
                        return started.map_err(|_| Refusal::AnswerLost)?;
                    }
                    Err(NoChild::Full | NoChild::TooManyOfSubject) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.make_room(&subject);
            if Instant::now() >= deadline {
                return Err(Refusal::NoLease);
            }
            let _ = timeout(LOOKING, freed).await;
        }
    }

    /// A lease of the person that is free.
    fn find(&self, subject: &Subject, profile: Profile) -> Option<Claim> {
        let leased = lock(&self.leased);
        let fits = |child: &&Arc<Legacy>| child.subject == *subject && child.profile == profile;
        // The one used last is the one that is warm.
        let mut found = leased.iter().rev().filter(fits);
        found.find(|child| child.claim()).map(|child| Claim {
            child: Arc::clone(child),
            begun: false,
        })
    }

    fn slot(&self, subject: &Subject) -> Option<Slot> {
        let mut slots = lock(&self.slots);
        let of_subject = slots.get(subject).copied().unwrap_or(0);
        let bounded = subject.is_some() && of_subject >= self.bounds.per_subject;
        if bounded || slots.values().sum::<usize>() >= self.bounds.total {
            return None;
        }
        *slots.entry(subject.clone()).or_default() += 1;
        self.counted.leases.inc();
        Some(Slot {
            slots: Arc::clone(&self.slots),
            subject: subject.clone(),
            leases: Weak::clone(&self.this),
            counted: self.counted.clone(),
        })
    }

    /// Ends one free lease: one of the person's own, else, when the service is full, anybody's.
    fn make_room(&self, subject: &Subject) {
        let idle = {
            let leased = lock(&self.leased);
            let now = Instant::now();
            let longest = |own: bool| {
                let candidates = leased
                    .iter()
                    .filter(|child| !child.has_ended() && (!own || child.subject == *subject));
                let idle = candidates.filter_map(|child| Some((child.unused(now)?, child)));
                idle.max_by_key(|(unused, _)| *unused)
                    .map(|(_, child)| Arc::clone(child))
            };
            let full = lock(&self.slots).values().sum::<usize>() >= self.bounds.total;
            longest(true).or_else(|| longest(false).filter(|_| full))
        };
        if let Some(child) = idle.filter(|child| child.claim()) {
            child.close("another call needs the room");
        }
    }

    /// Starts a child and shakes hands with it. `permit`: dropped when its process group is gone.
    async fn start(
        self: &Arc<Self>,
        identity: Option<&Identity>,
        lease: Option<Profile>,
        permit: impl Send + 'static,
    ) -> Result<Arc<Legacy>, Refusal> {
        let started = self.children.start(identity).await?;
        let login = identity.map_or("-", |identity| &identity.login);
        let shown = subject(identity);
        let shown = shown.as_deref().unwrap_or("-");
        let span = info_span!(
            "translated",
            login = %untrusted(login),
            subject = %untrusted(shown),
            leased = lease.is_some(),
        );
        info!(parent: &span, "child started for modern requests");
        let stop = CancellationToken::new();
        let home = Home {
            leases: Weak::clone(&self.this),
            parked: Arc::clone(&self.parked),
            children: self.children.clone(),
            limits: self.limits,
            calls: self.counted.calls.clone(),
            handshake: self.bounds.handshake,
        };
        let child = Arc::new(Legacy::new(
            span.clone(),
            subject(identity),
            lease,
            home,
            Arc::clone(&started.stdin),
            stop.clone(),
        ));
        let watch = self.children.watch(stop, span);
        let ear = Arc::new(Ear(Arc::clone(&child)));
        started.listen(self.children.runtime(), ear, watch, permit);
        match child.shake_hands().await {
            Ok(()) => Ok(child),
            Err(why) => {
                warn!(parent: &child.span, %why, "no handshake");
                child.close(&why);
                Err(Refusal::NoHandshake(why))
            }
        }
    }

    /// Tells those of a person who listen what has changed in any child of theirs.
    pub(super) fn tell(&self, subject: &Subject, message: &Message<'_>) {
        let shared = lock(&self.shared)
            .get(subject)
            .and_then(|cell| cell.get().cloned());
        if let Some(child) = shared {
            child.tell(message);
        }
    }

    /// Tells everybody who listens for it that their list of tools is another one now.
    pub fn tools_changed(&self) {
        let changed = announce::list_changed(None);
        let message = std::str::from_utf8(&changed).map(Message::parse);
        if let Ok(Ok(message)) = message {
            for child in self.all() {
                child.tell(&message);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Legacy>> {
        let shared = lock(&self.shared);
        let mut all: Vec<Arc<Legacy>> = shared
            .values()
            .filter_map(|cell| cell.get().cloned())
            .collect();
        drop(shared);
        all.extend(lock(&self.leased).iter().cloned());
        all
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.all().iter().map(|child| child.in_flight()).sum()
    }

    /// Ends children that nobody has used, requests that took too long and parked calls whose clients do not come back. Called
    /// every second.
    pub fn sweep(&self, now: Instant) {
        lock(&self.shared).retain(|_, cell| cell.get().is_none_or(|child| !child.has_ended()));
        lock(&self.leased).retain(|child| !child.has_ended());
        let mut seen: Vec<(Subject, Profile)> = Vec::new();
        // The newest first: of the leases of a person one is kept warm, more of them only for a short while.
        for child in self.all().into_iter().rev() {
            child.give_up(now);
            let Some(unused) = child.unused(now) else {
                continue;
            };
            let kind = (child.subject.clone(), child.profile);
            let spare = child.exclusive && seen.contains(&kind);
            if child.exclusive {
                seen.push(kind);
            }
            let life = if spare {
                self.limits.left_alone.min(self.limits.idle)
            } else {
                self.limits.idle
            };
            if unused >= life && (!child.exclusive || child.claim()) {
                child.close("the child was idle too long");
            }
        }
    }

    /// Ends the streams that would never end by themselves.
    pub fn drain(&self) {
        for child in self.all() {
            child.drain();
        }
    }

    /// Ends every child.
    pub fn close_all(&self) {
        for child in self.all() {
            child.close("the service is stopping");
        }
    }
}
