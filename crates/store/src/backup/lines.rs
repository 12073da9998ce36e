//! The lines of a backup, and their reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use crate::backend::{Key, Kind, Record, StoreError};

/// What a backup says it is.
pub(super) const FORMAT: &str = "mcp-auth";

/// The version of the lines. It goes up by one when a reader of the version before would misunderstand them.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) backup: String,
    pub(super) version: u32,
    pub(super) made_at: Timestamp,
    pub(super) release: String,
}

/// A line after the header: a record, or the end.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Written<'a> {
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

pub(super) fn line_of(value: &impl Serialize) -> Result<String, StoreError> {
    let mut line = serde_json::to_string(value)
        .map_err(|error| StoreError::unavailable("a line of the backup has no JSON form", error))?;
    line.push('\n');
    Ok(line)
}

/// The lines of a backup, checked one after the other.
pub(super) struct Reader<L> {
    lines: L,
    number: u64,
    records: u64,
    digest: Sha256,
    ended: bool,
}

impl<L: Iterator<Item = std::io::Result<String>>> Reader<L> {
    pub(super) fn new(lines: L) -> Self {
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

    pub(super) fn header(&mut self) -> Result<Header, BackupError> {
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
    pub(super) fn record(&mut self) -> Result<Option<(Key, Record)>, BackupError> {
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
