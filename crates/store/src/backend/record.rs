//! A record with its end, and what is asked of many of them.

use std::fmt;

use jiff::Timestamp;

use super::{Event, Key, Kind};

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
