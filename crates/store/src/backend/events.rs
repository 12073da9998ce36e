//! What instances tell each other, and how it reaches whoever listens.

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

/// Something that was decided earlier may no longer be so: forget decisions that rest on it.
///
/// An event may arrive more than once, and at the instance that caused it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event", content = "id")]
pub enum Event {
    /// The session with this id.
    SessionChanged(String),
    /// The client with this id.
    ClientChanged(String),
    /// The person with this subject.
    PersonChanged(String),
    /// The signing keys.
    KeysChanged,
    /// Anything: forget all decisions.
    Everything,
}

/// What an [`EventFeed`] says, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Decisions that rest on this must be forgotten.
    Changed(Event),
    /// Events of other instances may be missed from here on: remember no decision.
    Lost,
    /// Events arrive again; what happened in between is unknown: forget all decisions, then remember again.
    Restored,
}

/// Events of all instances, own ones included, and whether they arrive at present.
#[derive(Debug)]
pub struct EventFeed {
    notices: broadcast::Receiver<Notice>,
    connected: watch::Receiver<bool>,
}

impl EventFeed {
    /// Whether events arrive at present. Ask once, before the first [`EventFeed::next`]; from then on
    /// [`Notice::Lost`] and [`Notice::Restored`] say it in order.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Whether events arrive at present, for readiness and metrics.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The next notice; `None` when the store is gone. A reader that falls too far behind gets
    /// [`Event::Everything`] in place of what it missed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.recv().await {
            Ok(notice) => Some(notice),
            // What was missed may include `Lost`. The state that counts is the present one.
            Err(broadcast::error::RecvError::Lagged(_)) => Some(if self.is_connected() {
                Notice::Restored
            } else {
                Notice::Lost
            }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// The sending end of event feeds, for backends.
#[derive(Debug)]
pub(crate) struct EventHub {
    notices: broadcast::Sender<Notice>,
    connected: watch::Sender<bool>,
}

/// Notices a feed may be behind before it is told to forget everything.
const FEED_CAPACITY: usize = 1024;

impl EventHub {
    pub(crate) fn new(connected: bool) -> Self {
        Self {
            notices: broadcast::Sender::new(FEED_CAPACITY),
            connected: watch::Sender::new(connected),
        }
    }

    pub(crate) fn feed(&self) -> EventFeed {
        // Subscribed first: a change between the two lines is then seen in one of them at least.
        let notices = self.notices.subscribe();
        let connected = self.connected.subscribe();
        EventFeed { notices, connected }
    }

    pub(crate) fn tell(&self, event: &Event) {
        // Nobody listening is not an error.
        let _ = self.notices.send(Notice::Changed(event.clone()));
    }

    pub(crate) fn lost(&self) {
        if self.connected.send_replace(false) {
            let _ = self.notices.send(Notice::Lost);
        }
    }

    pub(crate) fn restored(&self) {
        self.connected.send_replace(true);
        let _ = self.notices.send(Notice::Restored);
    }
}
