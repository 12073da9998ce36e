//! Making a backup.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::PAGE;
use super::lines::{FORMAT, Header, VERSION, Written, line_of};
use crate::Store;
use crate::backend::{Key, Kind, Scan, StoreError};

/// A backup being made, line by line.
pub struct Backup {
    store: Store,
    now: Timestamp,
    digest: Sha256,
    kinds: VecDeque<Kind>,
    cursor: Option<String>,
    lines: VecDeque<String>,
    counts: BTreeMap<Kind, u64>,
    unreadable: Vec<Key>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Header,
    Records,
    End,
}

impl Backup {
    /// A backup of everything in the store that has not ended at `now`. What changes while it is made comes in its old or
    /// in its new state.
    #[must_use]
    pub fn new(store: Store, now: Timestamp) -> Self {
        Self {
            store,
            now,
            digest: Sha256::new(),
            kinds: Kind::all().collect(),
            cursor: None,
            lines: VecDeque::new(),
            counts: BTreeMap::new(),
            unreadable: Vec::new(),
            state: State::Header,
        }
    }

    /// How many records of each kind were written so far. (Redis may give a record twice when it is resized meanwhile.)
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// Records that are left out, because they are not JSON: something else wrote them.
    #[must_use]
    pub fn unreadable(&self) -> &[Key] {
        &self.unreadable
    }

    /// The next line, with its line break; `None` after the last one.
    ///
    /// # Errors
    ///
    /// When the store cannot be read. The backup is then of no use; make it again.
    pub async fn next_line(&mut self) -> Result<Option<String>, StoreError> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                self.digest.update(&line);
                return Ok(Some(line));
            }
            match (&self.state, self.kinds.front().copied()) {
                (State::Header, _) => {
                    self.state = State::Records;
                    let header = Header {
                        backup: FORMAT.to_owned(),
                        version: VERSION,
                        made_at: self.now,
                        release: env!("CARGO_PKG_VERSION").to_owned(),
                    };
                    self.lines.push_back(line_of(&header)?);
                }
                (State::Records, Some(kind)) => self.page(kind).await?,
                (State::Records, None) => {
                    self.state = State::End;
                    let end = Written::End {
                        records: self.counts.values().sum(),
                        sha256: URL_SAFE_NO_PAD.encode(self.digest.clone().finalize()),
                    };
                    self.lines.push_back(line_of(&end)?);
                }
                (State::End, _) => return Ok(None),
            }
        }
    }

    async fn page(&mut self, kind: Kind) -> Result<(), StoreError> {
        let scan = Scan {
            kind,
            prefix: "",
            cursor: self.cursor.as_deref(),
            limit: PAGE,
        };
        let page = self.store.backend().scan(scan, self.now).await?;
        for (key, record) in page.records {
            let Ok(json) = serde_json::from_slice::<&RawValue>(record.bytes()) else {
                self.unreadable.push(key);
                continue;
            };
            let line = line_of(&Written::Record {
                kind: kind.as_str(),
                id: key.id(),
                ends_at: record.expires_at(),
                record: json,
            })?;
            self.lines.push_back(line);
            *self.counts.entry(kind).or_default() += 1;
        }
        self.cursor = page.next;
        if self.cursor.is_none() {
            self.kinds.pop_front();
        }
        Ok(())
    }
}
