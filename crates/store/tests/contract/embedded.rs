//! The store in one file.

use std::sync::Arc;

use async_trait::async_trait;
use store::contract::Fixture;
use store::{Backend, EmbeddedBackend};
use tempfile::TempDir;

pub(crate) struct Embedded {
    directory: TempDir,
    backend: Option<Arc<EmbeddedBackend>>,
}

impl Embedded {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("auth.redb")
    }
}

#[async_trait]
impl Fixture for Embedded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = Self {
            directory,
            backend: None,
        };
        fixture.restart().await;
        fixture
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.backend.as_ref().unwrap()) as _
    }

    async fn second(&self) -> Arc<dyn Backend> {
        self.backend()
    }

    async fn restart(&mut self) {
        if let Some(backend) = self.backend.take() {
            assert_eq!(Arc::strong_count(&backend), 1, "nobody else holds the file");
        }
        self.backend = Some(Arc::new(EmbeddedBackend::open(self.path()).await.unwrap()));
    }
}

store::contract_tests!(Embedded, durable);
