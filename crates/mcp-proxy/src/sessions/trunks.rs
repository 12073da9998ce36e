//! Sessions that share children: which child a new one gets, and when a child without sessions ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use chassis::telemetry::untrusted;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info_span;

use crate::child::Ended;
use crate::children::NoChild;
use crate::identity::{Identity, Owner};
use crate::jsonrpc::Message;
use crate::sessions::{NotOpened, Sessions};
use crate::trunk::{Key, Trunk};

/// What came of looking for a shared child.
pub(super) enum Found {
    /// One that answers, with its answer to `initialize`.
    Open(Arc<Trunk>, Arc<str>),
    /// It answered `initialize` with this error.
    Refused(String),
}

/// Who opens a shared child of some kind has its turn alone, so that there is one; others of another kind do not wait.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(key).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl Sessions {
    /// The shared child, with its answer to `initialize`; started if there is none.
    pub(super) async fn trunk(
        self: &Arc<Self>,
        key: Key,
        person: Option<&Identity>,
        initialize: &Message<'_>,
    ) -> Result<Found, NotOpened> {
        let turn = self.opening.of(&key);
        let _turn = tokio::time::timeout(self.bounds.initialize, turn.lock())
            .await
            .map_err(|_| NotOpened::Unanswered)?;
        let found = self.trunks().get(&key).cloned();
        if let Some(trunk) = found
            && let Some(answer) = trunk.answer()
        {
            return Ok(Found::Open(trunk, answer));
        }
        let permit = self.children.permit(key.subject.as_ref())?;
        let started = self.children.start(person).await?;
        let span =
            info_span!("shared", subject = %untrusted(key.subject.as_deref().unwrap_or("-")));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let stdin = Arc::clone(&started.stdin);
        let trunk = Arc::new(Trunk::new(
            key.clone(),
            span.clone(),
            stdin,
            stop.clone(),
            Arc::downgrade(self),
        ));
        let watch = self.children.watch(stop, span);
        started.listen(self.children.runtime(), Arc::clone(&trunk), watch, permit);
        let answer = tokio::time::timeout(self.bounds.initialize, trunk.open(initialize))
            .await
            .map_err(|_| NotOpened::Unanswered)?
            .map_err(|_| NotOpened::Unanswered)?;
        if Message::parse(&answer).map_or(true, |message| message.failed) {
            return Ok(Found::Refused(answer));
        }
        guard.disarm();
        self.children.note_answer();
        trunk.opened(&answer);
        self.trunks().insert(key, Arc::clone(&trunk));
        Ok(Found::Open(trunk, answer.into()))
    }

    pub(super) fn trunks(&self) -> MutexGuard<'_, HashMap<Key, Arc<Trunk>>> {
        self.trunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shared child has ended. `first`: it is said for the first time.
    pub fn trunk_ended(&self, trunk: &Trunk, how: &Ended, first: bool, answered: bool) {
        if first {
            self.children.note_end(how, answered);
        }
        let mut trunks = self.trunks();
        if trunks
            .get(&trunk.key)
            .is_some_and(|current| std::ptr::eq(&raw const **current, trunk))
        {
            trunks.remove(&trunk.key);
        }
        drop(trunks);
        for session in self.all() {
            if session.is_of(trunk) {
                self.remove(&session);
            }
        }
    }

    /// Is there room for one more session that shares a child?
    pub(super) fn make_room(&self, owner: Option<&Owner>) -> Result<(), NoChild> {
        if self.count() >= self.bounds.total {
            return Err(NoChild::Full);
        }
        let Some(owner) = owner else { return Ok(()) };
        let subject = Some(&owner.subject);
        if self.of_person(subject).len() < self.bounds.per_subject {
            return Ok(());
        }
        let session = self
            .left_alone(subject, Instant::now())
            .ok_or(NoChild::TooManyOfSubject)?;
        self.close(&session, "its person opened another one");
        Ok(())
    }

    /// Ends shared children that are of no use any more, or have had no session for the idle time.
    pub(super) fn sweep_trunks(&self, now: Instant) {
        let trunks: Vec<Arc<Trunk>> = self.trunks().values().cloned().collect();
        for trunk in trunks {
            trunk.look_after(self.limits.ping, now);
        }
        let Some(then) = now.checked_sub(self.limits.idle) else {
            return;
        };
        self.trunks().retain(|_, trunk| {
            let over = trunk.is_unused_since(then);
            if over {
                trunk.stop.cancel();
            }
            !over
        });
    }
}
