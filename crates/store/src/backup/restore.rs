//! Storing what is in a backup.

use futures_util::stream::{self, TryStreamExt as _};
use jiff::Timestamp;

use super::index::entries;
use super::lines::Reader;
use super::{BackupError, Checked, IN_FLIGHT, tell_everyone};
use crate::Store;
use crate::backend::{Key, Record, Swap, Swapped};

impl Checked {
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
