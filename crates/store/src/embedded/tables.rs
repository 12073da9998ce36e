//! The tables of the file, and what is done with them in one transaction.

use std::ops::Bound;

use jiff::Timestamp;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};

use crate::backend::{Event, Key, Kind, Page, Record, StoreError};
use crate::encoding;

/// The version of this layout of tables.
pub(super) const SCHEMA_VERSION: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SCHEMA_ROW: &str = "schema_version";
/// `kind:id` → [`encoding`].
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// (end in ms, `kind:id`): what the sweep looks at.
pub(super) const RECORD_ENDS: TableDefinition<'_, (i64, &str), ()> =
    TableDefinition::new("record_ends");
/// (index, member) → end in ms.
pub(super) const MEMBERS: TableDefinition<'_, (&str, &str), Option<i64>> =
    TableDefinition::new("members");
/// (end in ms, index, member): what the sweep looks at.
pub(super) const MEMBER_ENDS: TableDefinition<'_, (i64, &str, &str), ()> =
    TableDefinition::new("member_ends");

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Change {
    Swap {
        key: String,
        expected: Option<Record>,
        new: Option<Record>,
        event: Option<Event>,
    },
    InsertMember {
        index: String,
        member: String,
        end: Option<i64>,
    },
    RemoveMember {
        index: String,
        member: String,
    },
    Sweep {
        limit: usize,
    },
    /// A reader met an error: check the file, and open it again if need be.
    Reopen,
}

/// What became of a [`Change`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Conflict,
    Swept(usize),
}

impl Outcome {
    pub(super) fn changed_something(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Conflict => false,
            Self::Swept(removed) => *removed > 0,
        }
    }
}

/// An error of one record, or of the file.
pub(super) enum Failure {
    Store(StoreError),
    Database(redb::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// The schema version in the file; `None` if it has no tables yet.
pub(super) fn schema_version(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get(SCHEMA_ROW)?.map(|version| version.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes all tables in a new file.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction
        .open_table(META)?
        .insert(SCHEMA_ROW, SCHEMA_VERSION)?;
    Tables::open(transaction)?;
    Ok(())
}

/// One round trip to the file.
pub(super) fn check(database: &Database) -> Result<(), Failure> {
    schema_version(database)?;
    Ok(())
}

pub(super) fn read(
    database: &Database,
    keys: &[String],
    now: Timestamp,
) -> Result<Vec<Option<Record>>, Failure> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let record = match records.get(key.as_str())? {
            Some(value) => Some(encoding::decode(key, value.value())?),
            None => None,
        };
        found.push(record.filter(|record| !record.is_expired(now)));
    }
    Ok(found)
}

/// Looks at up to `limit` records of the kind whose ids begin with `prefix`, after the id `cursor`.
pub(super) fn scan(
    database: &Database,
    kind: Kind,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Failure> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let first = Key::new(kind, cursor.unwrap_or(prefix)).to_string();
    let all = Key::new(kind, prefix).to_string();
    let from = if cursor.is_some() {
        Bound::Excluded(first.as_str())
    } else {
        Bound::Included(first.as_str())
    };
    let of_kind = Key::new(kind, "").to_string();
    let mut records = Vec::new();
    let mut looked_at = 0;
    let mut last = None;
    for entry in table.range::<&str>((from, Bound::Unbounded))?.take(limit) {
        let (stored_key, value) = entry?;
        let stored_key = stored_key.value();
        let Some(id) = stored_key
            .strip_prefix(&of_kind)
            .filter(|_| stored_key.starts_with(&all))
        else {
            return Ok(Page {
                records,
                next: None,
            });
        };
        let record = encoding::decode(stored_key, value.value())?;
        if !record.is_expired(now) {
            records.push((Key::new(kind, id), record));
        }
        looked_at += 1;
        last = Some(id.to_owned());
    }
    Ok(Page {
        records,
        next: last.filter(|_| looked_at == limit),
    })
}

pub(super) fn members(
    database: &Database,
    index: &str,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    each_member(database, index, after, now, |member| {
        if found.len() < limit {
            found.push(member.to_owned());
        }
        found.len() < limit
    })?;
    Ok(found)
}

pub(super) fn member_count(
    database: &Database,
    index: &str,
    now: Timestamp,
) -> Result<u64, Failure> {
    let mut count = 0;
    each_member(database, index, None, now, |_| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// Calls `visit` for each member that has not ended, in byte order, until it says `false`.
fn each_member(
    database: &Database,
    index: &str,
    after: Option<&str>,
    now: Timestamp,
    mut visit: impl FnMut(&str) -> bool,
) -> Result<(), Failure> {
    let members = database.begin_read()?.open_table(MEMBERS)?;
    let from = match after {
        Some(member) => Bound::Excluded((index, member)),
        None => Bound::Included((index, "")),
    };
    let now = now.as_millisecond();
    for entry in members.range((from, Bound::Unbounded))? {
        let (key, end) = entry?;
        let (of, member) = key.value();
        if of != index {
            break;
        }
        let ended = end.value().is_some_and(|end| end <= now);
        if !ended && !visit(member) {
            break;
        }
    }
    Ok(())
}

/// Whether an index has a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listed {
    /// Until this end in milliseconds, or for ever.
    Until(Option<i64>),
    /// It has not.
    No,
}

/// The open tables of a write transaction.
pub(super) struct Tables<'a> {
    records: Table<'a, &'static str, &'static [u8]>,
    record_ends: Table<'a, (i64, &'static str), ()>,
    members: Table<'a, (&'static str, &'static str), Option<i64>>,
    member_ends: Table<'a, (i64, &'static str, &'static str), ()>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            record_ends: transaction.open_table(RECORD_ENDS)?,
            members: transaction.open_table(MEMBERS)?,
            member_ends: transaction.open_table(MEMBER_ENDS)?,
        })
    }

    /// Does one change. An error of one record leaves the transaction as it was.
    pub(super) fn apply(&mut self, change: &Change, now: Timestamp) -> Result<Outcome, Failure> {
        match change {
            Change::Swap {
                key,
                expected,
                new,
                event: _,
            } => self.swap(key, expected.as_ref(), new.as_ref(), now),
            Change::InsertMember { index, member, end } => {
                self.put_member(index, member, Listed::Until(*end))?;
                Ok(Outcome::Done)
            }
            Change::RemoveMember { index, member } => {
                self.put_member(index, member, Listed::No)?;
                Ok(Outcome::Done)
            }
            Change::Sweep { limit } => self.sweep(now, *limit),
            Change::Reopen => Ok(Outcome::Swept(0)),
        }
    }

    fn swap(
        &mut self,
        key: &str,
        expected: Option<&Record>,
        new: Option<&Record>,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let stored = match self.records.get(key)? {
            Some(value) => Some(encoding::decode(key, value.value())?),
            None => None,
        };
        let live = stored.as_ref().filter(|record| !record.is_expired(now));
        if live != expected {
            return Ok(Outcome::Conflict);
        }
        let row = new.map(encoding::encode);
        self.put_row(key, row.as_deref())?;
        Ok(Outcome::Done)
    }

    /// Stores this row in the place of what is there, or nothing.
    pub(super) fn put_row(&mut self, key: &str, row: Option<&[u8]>) -> Result<(), Failure> {
        let end = |row: &[u8]| {
            let record = encoding::decode(key, row).ok()?;
            Some(record.expires_at()?.as_millisecond())
        };
        let old = match row {
            Some(row) => self.records.insert(key, row)?,
            None => self.records.remove(key)?,
        };
        let old = old.and_then(|old| end(old.value()));
        if let Some(end) = old {
            self.record_ends.remove((end, key))?;
        }
        if let Some(end) = row.and_then(end) {
            self.record_ends.insert((end, key), ())?;
        }
        Ok(())
    }

    /// Lists a name until this end, or takes it out.
    pub(super) fn put_member(
        &mut self,
        index: &str,
        member: &str,
        listed: Listed,
    ) -> Result<(), Failure> {
        let (old, end) = match listed {
            Listed::Until(end) => (self.members.insert((index, member), end)?, end),
            Listed::No => (self.members.remove((index, member))?, None),
        };
        let old = old.and_then(|end| end.value());
        if let Some(end) = old {
            self.member_ends.remove((end, index, member))?;
        }
        if let Some(end) = end {
            self.member_ends.insert((end, index, member), ())?;
        }
        Ok(())
    }

    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> Result<Outcome, Failure> {
        let now = now.as_millisecond();
        let mut removed = 0;
        while removed < limit {
            let Some((end, key)) = self.record_ends.first()?.map(|(row, _)| {
                let (end, key) = row.value();
                (end, key.to_owned())
            }) else {
                break;
            };
            if end > now {
                break;
            }
            self.records.remove(key.as_str())?;
            self.record_ends.remove((end, key.as_str()))?;
            removed += 1;
        }
        while removed < limit {
            let Some((end, index, member)) = self.member_ends.first()?.map(|(row, _)| {
                let (end, index, member) = row.value();
                (end, index.to_owned(), member.to_owned())
            }) else {
                break;
            };
            if end > now {
                break;
            }
            self.members.remove((index.as_str(), member.as_str()))?;
            self.member_ends
                .remove((end, index.as_str(), member.as_str()))?;
            removed += 1;
        }
        Ok(Outcome::Swept(removed))
    }
}
