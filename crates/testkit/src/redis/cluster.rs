//! A cluster of three primaries, one of them with a replica.

use anyhow::{Context as _, Result};

use super::{RedisServer, in_step};
use crate::{network, wait};

/// The slots of the three.
const SLOTS: [[u16; 2]; 3] = [[0, 5460], [5461, 10922], [10923, 16383]];

/// Three servers with a third of the slots each, and a replica of the first. All end with this value.
#[derive(Debug)]
pub struct RedisCluster {
    /// The three.
    pub primaries: Vec<RedisServer>,
    /// Of the first of them.
    pub replica: RedisServer,
}

impl RedisCluster {
    /// Starts the servers and waits until each knows all others and the cluster takes commands.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn start() -> Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..=SLOTS.len() {
            let bus = format!("cluster-port {}", network::free_port()?);
            let settings = [
                "cluster-enabled yes",
                "cluster-node-timeout 1000",
                // A replica that has been away for a moment may take over all the same.
                "cluster-replica-validity-factor 0",
                &bus,
            ];
            servers.push((RedisServer::start_with(&settings).await?, bus));
        }
        for ((server, _), [first, last]) in servers.iter().zip(SLOTS) {
            let [first, last] = [first, last].map(|slot| slot.to_string());
            server
                .query::<String>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .await?;
        }
        let (first, _) = servers.first().context("a first server")?;
        for (server, bus) in servers.iter().skip(1) {
            let port = server.address().port().to_string();
            let bus = bus.trim_start_matches("cluster-port ");
            first
                .query::<String>(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])
                .await?;
        }
        let mut all: Vec<_> = servers.into_iter().map(|(server, _)| server).collect();
        let replica = all.pop().context("a last server")?;
        let this = Self {
            primaries: all,
            replica,
        };
        let of: String = this.primary(0)?.query(&["CLUSTER", "MYID"]).await?;
        wait::until("the replica", wait::PATIENCE, || async {
            // It refuses while it has not heard of its primary.
            let order = ["CLUSTER", "REPLICATE", &of];
            this.replica.query::<String>(&order).await.ok()
        })
        .await?;
        for server in this.primaries.iter().chain([&this.replica]) {
            wait::until("a whole cluster", wait::PATIENCE, || async {
                let info: String = server.query(&["CLUSTER", "INFO"]).await.ok()?;
                let nodes: String = server.query(&["CLUSTER", "NODES"]).await.ok()?;
                let replicates = format!("slave {of}");
                (info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:4")
                    && nodes.contains(&replicates)
                    && !nodes.contains("handshake"))
                .then_some(())
            })
            .await?;
        }
        this.in_step().await?;
        Ok(this)
    }

    /// One of the three.
    ///
    /// # Errors
    ///
    /// When there are not so many.
    pub fn primary(&self, number: usize) -> Result<&RedisServer> {
        self.primaries.get(number).context("there are three")
    }

    /// `redis+cluster://…`, naming the last two of the three, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .primaries
            .iter()
            .skip(1)
            .map(|server| server.address().to_string())
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Waits until the replica has everything that its primary was given before.
    ///
    /// # Errors
    ///
    /// If it does not get it.
    pub async fn in_step(&self) -> Result<()> {
        in_step(self.primary(0)?, &self.replica).await
    }
}
