//! What a place to keep records must be able to do: a handful of single-key primitives.
//!
//! The verbs of the domain are written once, over [`Backend`]; a new backend implements these primitives and runs the
//! suite in [`contract`](crate::contract).

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use crate::counters::{Admission, Count, Quota};

/// What a record is about. The name is the first part of the key of its record, so a variant is never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A registered client.
    Client,
    /// A sign-in under way.
    Authorization,
    /// Which person a name on the allow-list belongs to.
    Pin,
    /// A grant, from its code to its last refresh token.
    Session,
    /// A person who has signed in: pinned login, and since when their sessions count.
    Person,
    /// What a person agreed to for one client.
    Consent,
    /// A browser in which a person had consent remembered.
    Browser,
    /// A device that waits for a person.
    Device,
    /// A browser that is signed in at `/account`, or on its way there.
    Account,
    /// The sealed signing keys.
    KeyRing,
}

impl Kind {
    /// Every kind, for whoever looks at all that is stored.
    pub fn all() -> impl Iterator<Item = Self> {
        // By a match, so that the compiler asks where a new kind belongs.
        const fn after(kind: Kind) -> Option<Kind> {
            match kind {
                Kind::Client => Some(Kind::Authorization),
                Kind::Authorization => Some(Kind::Pin),
                Kind::Pin => Some(Kind::Session),
                Kind::Session => Some(Kind::Person),
                Kind::Person => Some(Kind::Consent),
                Kind::Consent => Some(Kind::Browser),
                Kind::Browser => Some(Kind::Device),
                Kind::Device => Some(Kind::Account),
                Kind::Account => Some(Kind::KeyRing),
                Kind::KeyRing => None,
            }
        }
        std::iter::successors(Some(Self::Client), |kind| after(*kind))
    }

    /// The name in stored keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Authorization => "authorization",
            Self::Pin => "pin",
            Self::Session => "session",
            Self::Person => "person",
            Self::Consent => "consent",
            Self::Browser => "browser",
            Self::Device => "device",
            Self::Account => "account",
            Self::KeyRing => "keyring",
        }
    }
}

/// The key of a record: what it is about and which one. Written `kind:id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    kind: Kind,
    id: String,
}

impl Key {
    /// The key of record `id` of this kind. Any text is an id; it is stored as it is.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }

    /// What the record is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No kind contains a colon, so two keys never have the same text.
        write!(formatter, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// Bytes with the end of their life. Two records are the same when both are.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    expires_at: Option<Timestamp>,
}

impl Record {
    /// A record that counts until `expires_at` (cut to whole milliseconds, which every backend can hold), or for ever.
    #[must_use]
    pub fn new(bytes: Vec<u8>, expires_at: Option<Timestamp>) -> Self {
        Self {
            bytes,
            expires_at: expires_at.map(whole_milliseconds),
        }
    }

    /// What is stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first instant at which the record no longer counts.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether the record no longer counts at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        has_ended(self.expires_at, now)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Record")
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// Whether something that ends at `expires_at` has ended at `now`. The end itself no longer counts.
pub(crate) fn has_ended(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|end| end <= now)
}

fn whole_milliseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant)
}

/// One compare-and-swap: replaces a record if it still is what the caller has read.
#[derive(Clone, Debug)]
pub struct Swap<'a> {
    /// Which record.
    pub key: &'a Key,
    /// What the caller has read: `None` when there was none, or an expired one.
    pub expected: Option<&'a Record>,
    /// What is stored from now on: `None` removes the record.
    pub new: Option<&'a Record>,
    /// What every instance is told if, and only if, the swap is done; part of the same atomic step.
    pub event: Option<&'a Event>,
}

/// How a swap went. (That the store could not be asked is a [`StoreError`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was stored"]
pub enum Swapped {
    /// Stored durably, as far as the backend can promise it.
    Done,
    /// The record is no longer what the caller had read; nothing has changed.
    Conflict,
}

/// Which records [`Backend::scan`] looks at, and where it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// What the records are about.
    pub kind: Kind,
    /// What their ids begin with; empty for all.
    pub prefix: &'a str,
    /// [`Page::next`] of the page before; `None` for the first.
    pub cursor: Option<&'a str>,
    /// How many stored keys are looked at, about.
    pub limit: usize,
}

/// Some of the records that a [`Scan`] asks for.
#[derive(Clone, Debug)]
pub struct Page {
    /// About as many as the limit at most. It may be none although others follow.
    pub records: Vec<(Key, Record)>,
    /// Where to go on; `None` when that was all. It is for the same backend, kind and prefix only.
    pub next: Option<String>,
}

/// A set of names for listing and counting. It is a hint: the records are the truth.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Index {
    /// Ids of all clients.
    Clients,
    /// Ids of all sessions.
    Sessions,
    /// Subjects of all people.
    People,
    /// Ids of the sessions of one person.
    SessionsOfPerson(String),
    /// Ids of the sessions of one client.
    SessionsOfClient(String),
    /// Ids of the consents of one person.
    ConsentsOfPerson(String),
}

impl fmt::Display for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => formatter.write_str("clients"),
            Self::Sessions => formatter.write_str("sessions"),
            Self::People => formatter.write_str("people"),
            Self::SessionsOfPerson(subject) => write!(formatter, "sessions-of-person:{subject}"),
            Self::SessionsOfClient(client) => write!(formatter, "sessions-of-client:{client}"),
            Self::ConsentsOfPerson(subject) => write!(formatter, "consents-of-person:{subject}"),
        }
    }
}

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

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be asked now. A swap that ends so was done wholly or not at all; which, only a read can tell.
    #[error("the store cannot be asked: {reason}")]
    Unavailable {
        /// What happened and what to do, without secrets.
        reason: String,
        /// The error of the library below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What is stored is not what this version wrote or can read.
    #[error("the stored record `{key}` cannot be read: {reason}")]
    Corrupt {
        /// The key of the record.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scan was to go on where no scan of this store has ended.
    #[error(
        "`{cursor}` is not a place where a list of this store goes on: begin with its first page"
    )]
    UnknownCursor {
        /// What was given.
        cursor: String,
    },
    /// Others changed the record between each read and its swap.
    #[error(
        "the record `{key}` was changed by others during each of {tries} attempts to change it"
    )]
    Contended {
        /// The key of the record.
        key: Key,
        /// How often it was tried.
        tries: u32,
    },
}

impl StoreError {
    pub(crate) fn unavailable(
        reason: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: None,
        }
    }

    pub(crate) fn corrupt(key: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            key: key.to_string(),
            reason: reason.into(),
        }
    }
}

/// Why a store could not be opened: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A second process on the same file.
    #[error(
        "the store file {} is in use by another process: stop that one or set STORE_PATH to another file \
         (several instances share one store with STORE=redis)", path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The directory of the file is not there.
    #[error("the store file {} cannot be made: its directory does not exist; create it or set STORE_PATH", path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory does not admit this user.
    #[error(
        "the store file {} cannot be read and written by this user: give it to the user of the service or set STORE_PATH",
        path.display()
    )]
    NotPermitted {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else, or damaged.
    #[error(
        "the file {} is not a store of this program ({reason}): set STORE_PATH to another file or restore a backup",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file was written by a newer release.
    #[error(
        "the store file {} has schema version {found}, this program knows {known}: use the newer release again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The newest version that is known here.
        known: u64,
    },
    /// The system refuses the file for another reason.
    #[error("the store file {} cannot be opened: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address of Redis is not one.
    #[error(
        "REDIS_URL is not an address of Redis ({reason}): use redis://host:6379, or rediss://host:6379 for TLS, \
         and REDIS_PASSWORD for the password"
    )]
    RedisUrl {
        /// What is wrong, without the password.
        reason: String,
    },
}

/// A place to keep records. Each method is one round trip and one atomic step on one key (or one index).
///
/// `now` decides what has expired; a backend has no clock of its own in any decision. Across calls `now` may only
/// differ by the clock skew between instances.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The records under these keys, in their order; absent and expired ones are `None`. The keys are read one by one,
    /// not as of one instant.
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError>;

    /// Does the swap if what is stored (and not expired) is what was expected.
    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError>;

    /// Some of the records of one kind that have not expired, in no particular order, for administration and backup: no
    /// decision may rest on it. Over all pages, each record that is there from the first page to the last comes at least
    /// once; what is stored or removed meanwhile may come or not.
    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError>;

    /// Adds a name to an index until `expires_at`; of a name that is there already the end is replaced.
    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes a name from an index; that it was not there is no error.
    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError>;

    /// Up to `limit` names that have not ended, in byte order, after the name `after`. Fewer than `limit` means that
    /// there are no more.
    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError>;

    /// How many names of the index have not ended.
    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError>;

    /// Whether one more may be done of what is counted under this name. Stores of one process count in memory only; what
    /// is counted there ends with the process.
    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        count: Count,
        now: Timestamp,
    ) -> Result<Admission, StoreError>;

    /// Tells every instance. A change of a record names its event in [`Swap::event`] instead.
    async fn publish(&self, event: &Event) -> Result<(), StoreError>;

    /// Events from here on.
    fn events(&self) -> EventFeed;

    /// One round trip, for readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Removes up to `limit` expired records and index entries and returns how many it removed. A backend that removes
    /// them by itself returns 0.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
