//! Typed records over a [`Backend`]: JSON with a version, read, and changed by compare-and-swap.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::backend::{Backend, Event, Index, Key, Kind, Record, StoreError, Swap, Swapped};

/// How often [`Records::update`] tries before it gives up. With n writers of one record the unluckiest needs n tries.
const MAX_TRIES: u32 = 100;

/// A type that is stored whole under one key.
pub trait StoredRecord: Serialize + DeserializeOwned + Send + Sync {
    /// Under which keys.
    const KIND: Kind;

    /// The version of the JSON form that is written. It goes up by one when a reader of the version before would
    /// misunderstand what is written; a new field with a serde default needs no new version.
    const VERSION: u32;

    /// Reads an older version. The default knows none. Keep at least the version before, so that an update of the
    /// service can be rolled out instance by instance.
    #[must_use]
    fn read_older(version: u32, json: &str) -> Option<serde_json::Result<Self>> {
        let _ = (version, json);
        None
    }
}

/// What becomes of a record, with the answer for the caller of [`Records::update`].
#[derive(Debug)]
#[must_use]
pub struct Transition<T, R> {
    change: Change<T>,
    event: Option<Event>,
    answer: R,
}

#[derive(Debug)]
enum Change<T> {
    Keep,
    Put(T, Option<Timestamp>),
    Replace(T),
    Remove,
}

impl<T, R> Transition<T, R> {
    /// Nothing changes.
    pub const fn keep(answer: R) -> Self {
        Self {
            change: Change::Keep,
            event: None,
            answer,
        }
    }

    /// `record` is stored in place of what was there; it counts until `expires_at`, or for ever.
    pub const fn put(record: T, expires_at: Option<Timestamp>, answer: R) -> Self {
        Self {
            change: Change::Put(record, expires_at),
            event: None,
            answer,
        }
    }

    /// `record` is stored in place of what was there, and ends when that would have ended.
    pub const fn replace(record: T, answer: R) -> Self {
        Self {
            change: Change::Replace(record),
            event: None,
            answer,
        }
    }

    /// The record is removed.
    pub const fn remove(answer: R) -> Self {
        Self {
            change: Change::Remove,
            event: None,
            answer,
        }
    }

    /// Every instance is told, in the same atomic step as the change. (Without a change nobody is told.)
    pub fn telling(mut self, event: Event) -> Self {
        self.event = Some(event);
        self
    }
}

/// Typed records over a backend. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    backend: Arc<dyn Backend>,
}

impl Records {
    /// Records in this backend.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// The backend itself, for indexes and events.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The record `id`, unless it is absent or expired.
    pub async fn get<T: StoredRecord>(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<T>, StoreError> {
        let key = Key::new(T::KIND, id);
        Ok(self.read(key, now).await?.1)
    }

    /// Three records in one round trip, each as with [`Records::get`], and with its end.
    pub async fn get3<A: StoredRecord, B: StoredRecord, C: StoredRecord>(
        &self,
        ids: [&str; 3],
        now: Timestamp,
    ) -> Result<(Option<Found<A>>, Option<Found<B>>, Option<Found<C>>), StoreError> {
        let [a, b, c] = ids;
        let keys = [
            Key::new(A::KIND, a),
            Key::new(B::KIND, b),
            Key::new(C::KIND, c),
        ];
        let mut records = self.backend.read(&keys, now).await?.into_iter();
        let [a, b, c] = &keys;
        let mut next = || records.next().flatten();
        Ok((
            Found::decode(a, next().as_ref())?,
            Found::decode(b, next().as_ref())?,
            Found::decode(c, next().as_ref())?,
        ))
    }

    /// Up to `limit` records whose ids stand in `index` after the id `after`, in the order of their ids, with the id
    /// to go on after (`None`: that was all). Ids whose record is gone are left out.
    pub async fn list<T: StoredRecord>(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<(String, T)>, Option<String>), StoreError> {
        let ids = self.backend.index_members(index, after, limit, now).await?;
        let last = ids.last().filter(|_| ids.len() >= limit).cloned();
        let keys: Vec<_> = ids.into_iter().map(|id| Key::new(T::KIND, id)).collect();
        let records = self.backend.read(&keys, now).await?;
        let mut found = Vec::with_capacity(records.len());
        for (key, record) in keys.iter().zip(&records) {
            match decode(key, record.as_ref())? {
                Some(value) => found.push((key.id().to_owned(), value)),
                // A process that ended at the wrong moment left it. Where nothing can be written, reading goes on.
                None => drop(self.settle(index, key, now).await),
            }
        }
        Ok((found, last))
    }

    /// Makes the name of a record in an index agree with the record: it is there as long as the record is, and ends with
    /// it. Whoever stores or removes a record that is listed calls this afterwards.
    ///
    /// Record and index are changed one after the other, so a slow writer could list again what another has removed
    /// meanwhile. So the record is read again after its name was written: whoever writes a name last has then seen the
    /// record as it stays.
    pub async fn settle(&self, index: &Index, key: &Key, now: Timestamp) -> Result<(), StoreError> {
        let mut life = self.life(key, now).await?;
        for _ in 0..MAX_TRIES {
            match life {
                Some(end) => {
                    self.backend.index_insert(index, key.id(), end, now).await?;
                }
                None => self.backend.index_remove(index, key.id()).await?,
            }
            let written = life;
            life = self.life(key, now).await?;
            if life == written {
                return Ok(());
            }
        }
        Err(StoreError::Contended {
            key: key.clone(),
            tries: MAX_TRIES,
        })
    }

    /// Whether the record is there, and when it ends.
    async fn life(
        &self,
        key: &Key,
        now: Timestamp,
    ) -> Result<Option<Option<Timestamp>>, StoreError> {
        let records = self.backend.read(std::slice::from_ref(key), now).await?;
        let record = records.into_iter().next().flatten();
        Ok(record.map(|record| record.expires_at()))
    }

    /// Changes the record `id` in one atomic step: reads it, asks `transition` what becomes of it, and stores that if
    /// the record is still what was read; else all of it again, so `transition` must be pure.
    ///
    /// Fails with [`StoreError::Contended`] when others were first 100 times. After [`StoreError::Unavailable`] the
    /// change has been made wholly or not at all.
    pub async fn update<T, R, F>(
        &self,
        id: &str,
        now: Timestamp,
        mut transition: F,
    ) -> Result<R, StoreError>
    where
        T: StoredRecord,
        F: FnMut(Option<T>) -> Transition<T, R>,
    {
        let key = Key::new(T::KIND, id);
        for _ in 0..MAX_TRIES {
            let (old, value) = self.read(key.clone(), now).await?;
            let Transition {
                change,
                event,
                answer,
            } = transition(value);
            let new = match change {
                Change::Keep => return Ok(answer),
                Change::Put(value, expires_at) => Some(encode(&key, &value, expires_at)?),
                Change::Replace(value) => {
                    let expires_at = old.as_ref().and_then(Record::expires_at);
                    Some(encode(&key, &value, expires_at)?)
                }
                Change::Remove => None,
            };
            if new == old {
                return Ok(answer);
            }
            let swap = Swap {
                key: &key,
                expected: old.as_ref(),
                new: new.as_ref(),
                event: event.as_ref(),
            };
            if self.backend.swap(swap, now).await? == Swapped::Done {
                return Ok(answer);
            }
        }
        Err(StoreError::Contended {
            key,
            tries: MAX_TRIES,
        })
    }

    async fn read<T: StoredRecord>(
        &self,
        key: Key,
        now: Timestamp,
    ) -> Result<(Option<Record>, Option<T>), StoreError> {
        let keys = [key];
        let record = self.backend.read(&keys, now).await?.pop().flatten();
        let [key] = &keys;
        let value = decode(key, record.as_ref())?;
        Ok((record, value))
    }
}

/// A record with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// What is stored.
    pub record: T,
    /// The first instant at which it no longer counts, unless it is changed before; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl<T: StoredRecord> Found<T> {
    fn decode(key: &Key, record: Option<&Record>) -> Result<Option<Self>, StoreError> {
        let expires_at = record.and_then(Record::expires_at);
        let found = decode(key, record)?;
        Ok(found.map(|record| Self { record, expires_at }))
    }
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Read<'a> {
    version: u32,
    #[serde(borrow)]
    record: &'a RawValue,
}

pub(crate) fn encode<T: StoredRecord>(
    key: &Key,
    value: &T,
    expires_at: Option<Timestamp>,
) -> Result<Record, StoreError> {
    let written = Written {
        version: T::VERSION,
        record: value,
    };
    let bytes = serde_json::to_vec(&written)
        .map_err(|error| StoreError::corrupt(key, format!("it has no JSON form: {error}")))?;
    Ok(Record::new(bytes, expires_at))
}

pub(crate) fn decode<T: StoredRecord>(
    key: &Key,
    record: Option<&Record>,
) -> Result<Option<T>, StoreError> {
    let Some(record) = record else {
        return Ok(None);
    };
    let unreadable = |error: serde_json::Error| {
        // The position only: the text of the error may quote the record.
        StoreError::corrupt(
            key,
            format!(
                "it is not the JSON that was expected ({:?} error at column {})",
                error.classify(),
                error.column()
            ),
        )
    };
    let read: Read<'_> = serde_json::from_slice(record.bytes()).map_err(unreadable)?;
    let json = read.record.get();
    if read.version == T::VERSION {
        return serde_json::from_str(json).map(Some).map_err(unreadable);
    }
    match T::read_older(read.version, json) {
        Some(value) => value.map(Some).map_err(unreadable),
        None => Err(StoreError::corrupt(
            key,
            format!(
                "it has version {}, this program writes version {}; was it stored by a newer release?",
                read.version,
                T::VERSION
            ),
        )),
    }
}
