//! The backend of the store with a watch beside it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chassis::telemetry::TRACED;
use oauth::Timestamp;
use store::{
    Admission, Backend, Event, EventFeed, Index, Key, Page, Quota, Record, Scan, StoreClock,
    StoreError, Swap, Swapped, Taken,
};
use tracing::Instrument as _;

use crate::counted::Counted;

/// Measures each call and hands it on.
pub(crate) struct Measured {
    backend: Arc<dyn Backend>,
    counted: Counted,
}

impl Measured {
    pub(crate) fn new(backend: Arc<dyn Backend>, counted: Counted) -> Self {
        Self { backend, counted }
    }

    async fn measure<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        // Nothing but a look at a flag while no traces are exported.
        let span = tracing::trace_span!(target: TRACED, "store", otel.name = operation, otel.kind = "client", db.operation.name = operation);
        let result = call.instrument(span).await;
        self.counted.stored(operation, begun, &result);
        result
    }
}

#[async_trait]
impl Backend for Measured {
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError> {
        self.measure("read", self.backend.read(keys, now)).await
    }

    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError> {
        self.measure("swap", self.backend.swap(swap, now)).await
    }

    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError> {
        self.measure("scan", self.backend.scan(scan, now)).await
    }

    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let call = self.backend.index_insert(index, member, expires_at, now);
        self.measure("index_insert", call).await
    }

    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError> {
        let call = self.backend.index_remove(index, member);
        self.measure("index_remove", call).await
    }

    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let call = self.backend.index_members(index, after, limit, now);
        self.measure("index_members", call).await
    }

    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError> {
        self.measure("index_len", self.backend.index_len(index, now))
            .await
    }

    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let call = self.backend.admit(counter, quota, now);
        self.measure("admit", call).await
    }

    async fn give_back(
        &self,
        counter: &str,
        taken: Taken,
        quota: Quota,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let call = self.backend.give_back(counter, taken, quota, now);
        self.measure("give_back", call).await
    }

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        self.measure("publish", self.backend.publish(event)).await
    }

    fn events(&self) -> EventFeed {
        self.backend.events()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.measure("ping", self.backend.ping()).await
    }

    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError> {
        self.measure("clocks", self.backend.clocks()).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.measure("sweep", self.backend.sweep(now, limit)).await
    }
}
