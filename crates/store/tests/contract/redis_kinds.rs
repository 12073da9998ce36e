//! The same suite on a primary that Sentinel watches, on a cluster, and on Valkey. The servers of each are started once: a
//! prefix of its own keeps the behaviours apart.

use std::sync::Arc;

use async_trait::async_trait;
use store::contract::Fixture;
use store::{Backend, RedisBackend, RedisOptions};
use testkit::redis::{RedisCluster, RedisSentinels, RedisServer};

/// A backend that reaches Redis at this URL and uses keys of its own.
pub(crate) async fn open_with(url: &str, prefix: &str) -> Arc<RedisBackend> {
    let password = Some(RedisServer::PASSWORD.to_owned());
    let options = RedisOptions {
        password: password.clone(),
        sentinel_password: password,
        prefix: prefix.to_owned(),
        ..RedisOptions::new(url)
    };
    Arc::new(RedisBackend::open(options).await.unwrap())
}

/// Servers that several behaviours use, one after the other.
struct Shared {
    url: String,
    prefix: String,
    backend: Arc<RedisBackend>,
}

impl Shared {
    async fn new(url: &str, behaviour: &str) -> Self {
        let prefix = format!("{behaviour}:");
        Self {
            url: url.to_owned(),
            backend: open_with(url, &prefix).await,
            prefix,
        }
    }
}

#[async_trait]
impl Fixture for Shared {
    async fn start() -> Self {
        unreachable!("the servers are there already")
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as _
    }

    async fn second(&self) -> Arc<dyn Backend> {
        open_with(&self.url, &self.prefix).await
    }

    async fn restart(&mut self) {
        unreachable!("other behaviours use the servers as well")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_sentinel_names_behaves_as_a_store() {
    let servers = RedisSentinels::start(1).await.unwrap();
    let url = servers.url();
    store::contract_suite!(behaviour => Shared::new(&url, behaviour).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_behaves_as_a_store() {
    let servers = RedisCluster::start().await.unwrap();
    let url = servers.url();
    store::contract_suite!(behaviour => Shared::new(&url, behaviour).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_behaves_as_a_store() {
    let server = RedisServer::start_valkey().await.unwrap();
    let url = server.url();
    store::contract_suite!(behaviour => Shared::new(&url, behaviour).await);
}
