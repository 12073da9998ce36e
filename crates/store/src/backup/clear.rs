//! Emptying a store.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::index::entries;
use super::{IN_FLIGHT, PAGE, tell_everyone};
use crate::Store;
use crate::backend::{Key, Kind, Record, Scan, StoreError, Swap, Swapped};

/// How often the store is looked through again while records come as fast as they are removed.
const CLEARING_PASSES: usize = 10;

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
