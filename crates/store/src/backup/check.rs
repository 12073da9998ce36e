//! Reading a backup before anything of it is stored.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::index::entries;
use super::lines::Reader;
use super::{BackupError, PAGE};
use crate::Store;
use crate::backend::{Key, Kind, Record, Scan, StoreError};
use crate::keys::SealedKeyRing;
use crate::records::decode;

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
}
