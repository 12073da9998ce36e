//! All records of a store as lines of text, and back into any store.
//!
//! A backup is lines of JSON: a header, one line per record, and a last line with their number and the SHA-256 of all that
//! went before. Records stand in it byte for byte, so what is sealed or hashed in the store stays so, and a spent code or a
//! revoked session is as spent and as revoked where it is restored. Ends are instants, not remaining lives: what ends while
//! a backup lies in a drawer has ended, and a restore revives nothing. Indexes are not in it; they follow from the records.

use std::collections::{BTreeMap, HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use oauth::client::Client;
use oauth::consent::Consent;
use oauth::session::Session;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::Store;
use crate::backend::{Event, Index, Key, Kind, Record, Scan, StoreError, Swap, Swapped};
use crate::keys::SealedKeyRing;
use crate::people::PersonRecord;
use crate::records::{StoredRecord, decode};

/// What a backup says it is.
const FORMAT: &str = "mcp-auth";

/// The version of the lines. It goes up by one when a reader of the version before would misunderstand them.
const VERSION: u32 = 1;

/// Records that are read in one step.
const PAGE: usize = 500;

/// Records that are stored at the same time; redb puts those that wait into one commit.
const IN_FLIGHT: usize = 64;

/// How often the store is looked through again while records come as fast as they are removed.
const CLEARING_PASSES: usize = 10;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    backup: String,
    version: u32,
    made_at: Timestamp,
    release: String,
}

/// A line after the header: a record, or the end.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Record {
        kind: &'a str,
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
        record: &'a RawValue,
    },
    End {
        records: u64,
        sha256: String,
    },
}

/// The same to be read: serde finds no [`RawValue`] behind an untagged enum.
#[derive(Debug, Deserialize)]
struct Line {
    kind: Option<String>,
    id: Option<String>,
    ends_at: Option<Timestamp>,
    record: Option<Box<RawValue>>,
    records: Option<u64>,
    sha256: Option<String>,
}

/// Why a backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup could not be read.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The text is not a backup.
    #[error("line {line} is not one of a backup of mcp-auth: {reason}")]
    NotABackup {
        /// Which line, counted from 1.
        line: u64,
        /// What does not fit.
        reason: String,
    },
    /// A newer release made it.
    #[error(
        "the backup has format version {found}, this program knows {VERSION}: restore it with the newer release"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The end is missing.
    #[error(
        "the backup ends after line {line} without its last line: it is cut off; nothing was restored"
    )]
    CutOff {
        /// How many lines there are.
        line: u64,
    },
    /// The content is not what was written.
    #[error(
        "the backup was changed or damaged since it was made (its checksum does not fit); nothing was restored"
    )]
    Damaged,
    /// There is something in the store.
    #[error(
        "the store is not empty ({}): --clear removes all that is in it first; nothing was restored", counted(.found)
    )]
    NotEmpty {
        /// How many records of each kind are there that are not in the backup.
        found: BTreeMap<Kind, u64>,
    },
    /// Somebody else stored something under a key of the backup.
    #[error(
        "the record `{key}` was stored by somebody else during the restore: stop the service, then restore with --clear"
    )]
    Contested {
        /// The key.
        key: Key,
    },
}

/// `3 client, 2 session`.
fn counted(counts: &BTreeMap<Kind, u64>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    counts.join(", ")
}

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

fn line_of(value: &impl Serialize) -> Result<String, StoreError> {
    let mut line = serde_json::to_string(value)
        .map_err(|error| StoreError::unavailable("a line of the backup has no JSON form", error))?;
    line.push('\n');
    Ok(line)
}

/// A backup that was read to its end and found whole, before anything is stored.
pub struct Checked {
    made_at: Timestamp,
    release: String,
    counts: BTreeMap<Kind, u64>,
    ended: u64,
    key_ring: Option<SealedKeyRing>,
    /// What is in the backup: hash of the key → hash of the record.
    content: HashMap<[u8; 16], [u8; 16]>,
}

/// The first half of the SHA-256.
fn short_hash(parts: [&[u8]; 2]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    let whole: [u8; 32] = digest.finalize().into();
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(whole) {
        *to = from;
    }
    half
}

fn hashes(key: &Key, record: &Record) -> ([u8; 16], [u8; 16]) {
    let key = key.to_string();
    let end = record
        .expires_at()
        .map(|end| end.as_millisecond().to_string())
        .unwrap_or_default();
    (
        short_hash([b"key", key.as_bytes()]),
        short_hash([end.as_bytes(), record.bytes()]),
    )
}

impl Checked {
    /// Reads a backup (lines with or without their line breaks) and checks that it is whole, that its checksum fits and
    /// that this program understands each record. Nothing is stored.
    ///
    /// # Errors
    ///
    /// See [`BackupError`].
    pub fn read(
        lines: impl Iterator<Item = std::io::Result<String>>,
        now: Timestamp,
    ) -> Result<Self, BackupError> {
        let mut reader = Reader::new(lines);
        let header = reader.header()?;
        let mut checked = Self {
            made_at: header.made_at,
            release: header.release,
            counts: BTreeMap::new(),
            ended: 0,
            key_ring: None,
            content: HashMap::new(),
        };
        while let Some((key, record)) = reader.record()? {
            entries(&key, &record)?;
            if record.is_expired(now) {
                checked.ended += 1;
                continue;
            }
            if key.kind() == Kind::KeyRing {
                checked.key_ring = decode(&key, Some(&record))?;
            }
            let (name, content) = hashes(&key, &record);
            if checked.content.insert(name, content).is_none() {
                *checked.counts.entry(key.kind()).or_default() += 1;
            }
        }
        Ok(checked)
    }

    /// When it was made.
    #[must_use]
    pub const fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// The release that made it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The keys in it, if it has any: whoever restores them needs the secret that sealed them.
    #[must_use]
    pub const fn key_ring(&self) -> Option<&SealedKeyRing> {
        self.key_ring.as_ref()
    }

    /// How many records of each kind it has that have not ended.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// How many of its records have ended since it was made; they are not restored.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// How many records of each kind are in the store that are not in the backup, or not as they are there.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn strangers(
        &self,
        store: &Store,
        now: Timestamp,
    ) -> Result<BTreeMap<Kind, u64>, StoreError> {
        let mut found = BTreeMap::new();
        for kind in Kind::all() {
            let mut cursor: Option<String> = None;
            loop {
                let scan = Scan {
                    kind,
                    prefix: "",
                    cursor: cursor.as_deref(),
                    limit: PAGE,
                };
                let page = store.backend().scan(scan, now).await?;
                for (key, record) in &page.records {
                    let (name, content) = hashes(key, record);
                    if self.content.get(&name) != Some(&content) {
                        *found.entry(kind).or_default() += 1;
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Stores what is in the backup; `lines` are those that were checked, from their beginning. A restore that was
    /// interrupted can be done again: what is there as in the backup stays, anything else in the store is
    /// [`BackupError::NotEmpty`]. `progress` is told how many records were stored so far. At the end every instance
    /// forgets its decisions and reads its keys again.
    ///
    /// # Errors
    ///
    /// See [`BackupError`].
    pub async fn restore(
        &self,
        store: &Store,
        lines: impl Iterator<Item = std::io::Result<String>>,
        now: Timestamp,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, BackupError> {
        let found = self.strangers(store, now).await?;
        if !found.is_empty() {
            return Err(BackupError::NotEmpty { found });
        }
        let mut reader = Reader::new(lines);
        reader.header()?;
        let records = std::iter::from_fn(|| reader.record().transpose());
        let mut restored = 0;
        let mut storing = stream::iter(records)
            .map_ok(|(key, record)| async move { put(store, &key, &record, now).await })
            .try_buffer_unordered(IN_FLIGHT);
        while let Some(stored) = storing.try_next().await? {
            if stored {
                restored += 1;
                progress(restored);
            }
        }
        drop(storing);
        tell_everyone(store).await?;
        Ok(restored)
    }
}

/// `false` for what has ended.
async fn put(
    store: &Store,
    key: &Key,
    record: &Record,
    now: Timestamp,
) -> Result<bool, BackupError> {
    if record.is_expired(now) {
        return Ok(false);
    }
    let swap = Swap {
        key,
        expected: None,
        new: Some(record),
        event: None,
    };
    if store.backend().swap(swap, now).await? == Swapped::Conflict {
        let there = store.backend().read(std::slice::from_ref(key), now).await?;
        if there.first() != Some(&Some(record.clone())) {
            return Err(BackupError::Contested { key: key.clone() });
        }
    }
    for (index, end) in entries(key, record)? {
        store
            .backend()
            .index_insert(&index, key.id(), end, now)
            .await?;
    }
    Ok(true)
}

async fn tell_everyone(store: &Store) -> Result<(), StoreError> {
    store.backend().publish(&Event::Everything).await?;
    store.backend().publish(&Event::KeysChanged).await
}

impl Store {
    /// Removes every record with its names in the indexes, and tells every instance. Returns how many records that were.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written, or when records come as fast as they are removed.
    pub async fn clear(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        for kind in Kind::all() {
            let mut passes = 0;
            loop {
                let some = self.clear_kind(kind, now).await?;
                removed += some;
                passes += 1;
                if some == 0 {
                    break;
                }
                if passes == CLEARING_PASSES {
                    return Err(StoreError::busy(format!(
                        "records of kind {} come as fast as they are removed; stop the service first",
                        kind.as_str()
                    )));
                }
            }
        }
        tell_everyone(self).await?;
        Ok(removed)
    }

    async fn clear_kind(&self, kind: Kind, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut cursor: Option<String> = None;
        loop {
            let scan = Scan {
                kind,
                prefix: "",
                cursor: cursor.as_deref(),
                limit: PAGE,
            };
            let page = self.backend().scan(scan, now).await?;
            let next = page.next;
            removed += stream::iter(page.records)
                .map(|(key, record)| async move { self.remove(&key, &record, now).await })
                .buffer_unordered(IN_FLIGHT)
                .try_fold(0, |sum, one| async move { Ok(sum + u64::from(one)) })
                .await?;
            cursor = next;
            if cursor.is_none() {
                return Ok(removed);
            }
        }
    }

    async fn remove(&self, key: &Key, record: &Record, now: Timestamp) -> Result<bool, StoreError> {
        let swap = Swap {
            key,
            expected: Some(record),
            new: None,
            event: None,
        };
        if self.backend().swap(swap, now).await? == Swapped::Conflict {
            return Ok(false);
        }
        // Of a record that cannot be read it is not known where it is listed; such an entry is a hint that leads nowhere.
        for (index, _) in entries(key, record).unwrap_or_default() {
            self.backend().index_remove(&index, key.id()).await?;
        }
        Ok(true)
    }
}

/// In which indexes a record is listed, and until when. Fails for a record that this program does not understand.
fn entries(key: &Key, record: &Record) -> Result<Vec<(Index, Option<Timestamp>)>, StoreError> {
    fn read<T: StoredRecord>(key: &Key, record: &Record) -> Result<T, StoreError> {
        decode(key, Some(record))?.ok_or_else(|| StoreError::corrupt(key, "it is empty"))
    }
    let end = record.expires_at();
    Ok(match key.kind() {
        Kind::Client => {
            read::<Client>(key, record)?;
            vec![(Index::Clients, end)]
        }
        Kind::Session => {
            let session: Session = read(key, record)?;
            match session.ends_at().or(end) {
                end @ Some(_) => vec![
                    (Index::Sessions, end),
                    (
                        Index::SessionsOfPerson(session.person.subject.to_string()),
                        end,
                    ),
                    (Index::SessionsOfClient(session.client_id.to_string()), end),
                ],
                None => Vec::new(),
            }
        }
        Kind::Person => {
            read::<PersonRecord>(key, record)?;
            vec![(Index::People, None)]
        }
        Kind::KeyRing => {
            read::<SealedKeyRing>(key, record)?;
            Vec::new()
        }
        Kind::Consent => {
            let consent: Consent = read(key, record)?;
            let of_person = Index::ConsentsOfPerson(consent.subject.to_string());
            vec![(of_person, end)]
        }
        Kind::Authorization | Kind::Pin | Kind::Browser | Kind::Device | Kind::Account => {
            Vec::new()
        }
    })
}

/// The lines of a backup, checked one after the other.
struct Reader<L> {
    lines: L,
    number: u64,
    records: u64,
    digest: Sha256,
    ended: bool,
}

impl<L: Iterator<Item = std::io::Result<String>>> Reader<L> {
    fn new(lines: L) -> Self {
        Self {
            lines,
            number: 0,
            records: 0,
            digest: Sha256::new(),
            ended: false,
        }
    }

    fn line(&mut self) -> Result<String, BackupError> {
        match self.lines.next() {
            Some(line) => {
                self.number += 1;
                Ok(line?)
            }
            None => Err(BackupError::CutOff { line: self.number }),
        }
    }

    fn refuse(&self, reason: impl Into<String>) -> BackupError {
        BackupError::NotABackup {
            line: self.number,
            reason: reason.into(),
        }
    }

    fn count(&mut self, line: &str) {
        self.digest.update(line.trim_end_matches(['\r', '\n']));
        self.digest.update(b"\n");
    }

    fn header(&mut self) -> Result<Header, BackupError> {
        let line = self.line()?;
        let header: Header = serde_json::from_str(&line)
            .ok()
            .filter(|header: &Header| header.backup == FORMAT)
            .ok_or_else(|| self.refuse("it is not the first line of one"))?;
        if header.version > VERSION {
            return Err(BackupError::Newer {
                found: header.version,
            });
        }
        self.count(&line);
        Ok(header)
    }

    /// The next record; `None` after the end was found to be as it should.
    fn record(&mut self) -> Result<Option<(Key, Record)>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let text = self.line()?;
        let line: Line = serde_json::from_str(&text).map_err(|error| {
            // The position only: the text of the error may quote the record.
            let kind = error.classify();
            self.refuse(format!("{kind:?} error at column {}", error.column()))
        })?;
        if let Line {
            kind: Some(kind),
            id: Some(id),
            ends_at,
            record: Some(record),
            ..
        } = line
        {
            self.count(&text);
            self.records += 1;
            let kind = Kind::all().find(|known| known.as_str() == kind);
            let kind = kind.ok_or_else(|| {
                self.refuse("its kind is not known here; was it made by a newer release?")
            })?;
            let record = Record::new(record.get().as_bytes().to_vec(), ends_at);
            return Ok(Some((Key::new(kind, id), record)));
        }
        let (Some(records), Some(sha256)) = (line.records, line.sha256) else {
            return Err(self.refuse("it is neither a record nor the end"));
        };
        let digest = URL_SAFE_NO_PAD.encode(self.digest.clone().finalize());
        if records != self.records || sha256 != digest {
            return Err(BackupError::Damaged);
        }
        self.ended = true;
        Ok(None)
    }
}
