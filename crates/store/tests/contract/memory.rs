//! The store in memory.

use std::sync::Arc;

use async_trait::async_trait;
use store::contract::Fixture;
use store::{Backend, MemoryBackend};

struct Memory(Arc<MemoryBackend>);

#[async_trait]
impl Fixture for Memory {
    async fn start() -> Self {
        Self(Arc::default())
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.0) as _
    }

    async fn second(&self) -> Arc<dyn Backend> {
        self.backend()
    }

    async fn restart(&mut self) {
        self.0 = Arc::default();
    }
}

store::contract_tests!(Memory);
