//! Everything in this process: for tests, for trying things out, and the model that the other backends are held against.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::backend::{
    Backend, Event, EventFeed, EventHub, Index, Key, Page, Record, Scan, StoreError, Swap, Swapped,
    has_ended,
};
use crate::counters::{Admission, Counters, Quota, Taken};

/// Records in memory. They end with the process; there is one instance only.
#[derive(Debug)]
pub struct MemoryBackend {
    state: Mutex<State>,
    events: EventHub,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    indexes: BTreeMap<Index, BTreeMap<String, Option<Timestamp>>>,
    /// What ends when, so that a sweep looks at nothing else.
    ends: BTreeSet<(Timestamp, Ending)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Record(Key),
    Member(Index, String),
}

impl MemoryBackend {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            events: EventHub::new(true),
            counters: Counters::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change below is complete before the lock is given back, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn live(&self, key: &Key, now: Timestamp) -> Option<&Record> {
        self.records
            .get(key)
            .filter(|record| !record.is_expired(now))
    }

    fn put(&mut self, key: &Key, new: Option<&Record>) {
        let old = match new {
            Some(record) => self.records.insert(key.clone(), record.clone()),
            None => self.records.remove(key),
        };
        if let Some(end) = old.and_then(|record| record.expires_at()) {
            self.ends.remove(&(end, Ending::Record(key.clone())));
        }
        if let Some(end) = new.and_then(Record::expires_at) {
            self.ends.insert((end, Ending::Record(key.clone())));
        }
    }

    fn put_member(&mut self, index: &Index, member: &str, expires_at: Option<Timestamp>) {
        self.remove_member(index, member);
        self.indexes
            .entry(index.clone())
            .or_default()
            .insert(member.to_owned(), expires_at);
        if let Some(end) = expires_at {
            self.ends
                .insert((end, Ending::Member(index.clone(), member.to_owned())));
        }
    }

    fn remove_member(&mut self, index: &Index, member: &str) {
        let Some(members) = self.indexes.get_mut(index) else {
            return;
        };
        if let Some(Some(end)) = members.remove(member) {
            self.ends
                .remove(&(end, Ending::Member(index.clone(), member.to_owned())));
        }
        if members.is_empty() {
            self.indexes.remove(index);
        }
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError> {
        let state = self.state();
        Ok(keys
            .iter()
            .map(|key| state.live(key, now).cloned())
            .collect())
    }

    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError> {
        {
            let mut state = self.state();
            if state.live(swap.key, now) != swap.expected {
                return Ok(Swapped::Conflict);
            }
            state.put(swap.key, swap.new);
        }
        if let Some(event) = swap.event {
            self.events.tell(event);
        }
        Ok(Swapped::Done)
    }

    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError> {
        let state = self.state();
        let from = match scan.cursor {
            Some(id) => Bound::Excluded(Key::new(scan.kind, id)),
            None => Bound::Included(Key::new(scan.kind, scan.prefix)),
        };
        let mut records = Vec::new();
        let mut looked_at = 0;
        let mut next = None;
        let range = state.records.range((from, Bound::Unbounded));
        for (key, record) in range
            .take_while(|(key, _)| key.kind() == scan.kind && key.id().starts_with(scan.prefix))
            .take(scan.limit.max(1))
        {
            looked_at += 1;
            next = Some(key.id().to_owned());
            if !record.is_expired(now) {
                records.push((key.clone(), record.clone()));
            }
        }
        Ok(Page {
            records,
            next: next.filter(|_| looked_at >= scan.limit.max(1)),
        })
    }

    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        self.state().put_member(index, member, expires_at);
        Ok(())
    }

    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError> {
        self.state().remove_member(index, member);
        Ok(())
    }

    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let state = self.state();
        let Some(members) = state.indexes.get(index) else {
            return Ok(Vec::new());
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(members
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, end)| !has_ended(**end, now))
            .take(limit)
            .map(|(member, _)| member.clone())
            .collect())
    }

    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError> {
        let state = self.state();
        let living = state.indexes.get(index).map_or(0, |members| {
            members
                .values()
                .filter(|end| !has_ended(**end, now))
                .count()
        });
        Ok(living as u64)
    }

    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        Ok(self.counters.admit(counter, quota, now))
    }

    async fn give_back(
        &self,
        counter: &str,
        taken: Taken,
        quota: Quota,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.counters.give_back(counter, taken, quota, now);
        Ok(())
    }

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        self.events.tell(event);
        Ok(())
    }

    fn events(&self) -> EventFeed {
        self.events.feed()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.state();
        let ended: Vec<_> = state
            .ends
            .iter()
            .take_while(|(end, _)| *end <= now)
            .take(limit)
            .map(|(_, ending)| ending.clone())
            .collect();
        for ending in &ended {
            match ending {
                Ending::Record(key) => state.put(key, None),
                Ending::Member(index, member) => state.remove_member(index, member),
            }
        }
        Ok(ended.len())
    }
}
