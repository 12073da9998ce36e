//! One child that was started before anybody asked for it, so that nobody waits while a server in Python or Node loads.
//!
//! Nothing has been said to it: it may still become a child of either era, and of any one person, who then has it alone like
//! any other. One that ended while it waited is replaced when it is wanted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info_span};

use crate::child::{Ended, Listener, Started};
use crate::children::{Children, Permit};

/// The place of the spare child; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Spare(Arc<Mutex<Place>>);

#[derive(Debug, Default)]
struct Place {
    child: Option<(Started, Permit)>,
    /// One is to be kept.
    wanted: bool,
    /// One is being started.
    filling: bool,
}

/// Hears nothing.
struct Deaf;

impl Listener for Deaf {
    fn line(&self, _line: Bytes) {}
    fn ended(&self, _how: &Ended) {}
}

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spare child, if there is a live one. Another one takes its place, or is tried for if there was none.
    #[must_use]
    pub fn take(&self, children: &Children) -> Option<Started> {
        let child = self.lock().child.take();
        // Also where there was none: the last one may not have started.
        self.fill(children);
        let (mut started, permit) = child?;
        if started.is_alive() {
            return Some(started);
        }
        debug!("the spare child has ended");
        discard(children, started, permit);
        None
    }

    /// From now on one is kept.
    pub fn keep(&self, children: &Children) {
        self.lock().wanted = true;
        self.fill(children);
    }

    fn fill(&self, children: &Children) {
        {
            let mut place = self.lock();
            if !place.wanted || place.filling || place.child.is_some() {
                return;
            }
            place.filling = true;
        }
        let (spare, children) = (self.clone(), children.clone());
        children.runtime().clone().spawn(async move {
            let permit = children.unbounded_permit();
            // Why it cannot be started is told to whoever needs one.
            let started = children.start_new(None).await.ok();
            let pid = started.as_ref().map(Started::id);
            let unwanted = {
                let mut place = spare.lock();
                place.filling = false;
                match started {
                    Some(started) if place.wanted => {
                        place.child = Some((started, permit));
                        None
                    }
                    started => started.map(|started| (started, permit)),
                }
            };
            if let Some((started, permit)) = unwanted {
                discard(&children, started, permit);
            } else if let Some(pid) = pid {
                debug!(pid, "a spare child waits");
            }
        });
    }

    /// Ends the spare child; no other takes its place.
    pub fn close(&self, children: &Children) {
        let child = {
            let mut place = self.lock();
            place.wanted = false;
            place.child.take()
        };
        if let Some((started, permit)) = child {
            discard(children, started, permit);
        }
    }
}

/// Ends a child that served nobody, in the way every child is ended.
fn discard(children: &Children, started: Started, permit: Permit) {
    let stop = CancellationToken::new();
    stop.cancel();
    let watch = children.watch(stop, info_span!("spare"));
    started.listen(children.runtime(), Arc::new(Deaf), watch, permit);
}
