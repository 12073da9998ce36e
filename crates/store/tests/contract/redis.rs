//! The store in Redis: a real server of each test's own.

use std::sync::Arc;

use async_trait::async_trait;
use store::contract::Fixture;
use store::{Backend, RedisBackend, RedisOptions};
use testkit::redis::RedisServer;

pub(crate) struct Redis {
    pub(crate) server: RedisServer,
    backend: Arc<RedisBackend>,
}

/// A backend that reaches Redis at this URL.
pub(crate) async fn open(url: &str) -> Arc<RedisBackend> {
    let options = RedisOptions {
        password: Some(RedisServer::PASSWORD.to_owned()),
        ..RedisOptions::new(url)
    };
    Arc::new(RedisBackend::open(options).await.unwrap())
}

#[async_trait]
impl Fixture for Redis {
    async fn start() -> Self {
        let server = RedisServer::start().await.unwrap();
        let backend = open(&server.url()).await;
        Self { server, backend }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as _
    }

    async fn second(&self) -> Arc<dyn Backend> {
        open(&self.server.url()).await
    }

    async fn restart(&mut self) {
        self.server.kill().await.unwrap();
        self.server.restart().await.unwrap();
    }
}

store::contract_tests!(Redis, durable);
