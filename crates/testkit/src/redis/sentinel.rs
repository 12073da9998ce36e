//! A primary with a replica, and Sentinels that watch them.

use anyhow::{Context as _, Result};

use super::{Program, RedisServer, in_step};
use crate::wait;

/// How soon Sentinels take a silent primary for lost, in milliseconds.
const DOWN_AFTER: u32 = 500;

/// Two servers, the first of them the primary at the beginning, and Sentinels that watch it under [`RedisSentinels::MASTER`].
/// All end with this value.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The servers that hold data.
    pub servers: [RedisServer; 2],
    /// Those that watch them.
    pub sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// The name under which the primary is watched.
    pub const MASTER: &'static str = "mymaster";

    /// Starts both servers and so many Sentinels, and waits until they know each other.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn start(sentinels: usize) -> Result<Self> {
        let primary = RedisServer::start().await?;
        let of = format!("replicaof 127.0.0.1 {}", primary.address().port());
        let replica = RedisServer::start_with(&[&of]).await?;
        let master = Self::MASTER;
        let watching = [
            format!(
                "sentinel monitor {master} 127.0.0.1 {} {}",
                primary.address().port(),
                sentinels / 2 + 1
            ),
            format!("sentinel auth-pass {master} {}", RedisServer::PASSWORD),
            format!("sentinel sentinel-pass {}", RedisServer::PASSWORD),
            format!("sentinel down-after-milliseconds {master} {DOWN_AFTER}"),
            format!("sentinel failover-timeout {master} 3000"),
        ];
        let watching: Vec<_> = watching.iter().map(String::as_str).collect();
        let mut these = Vec::new();
        for _ in 0..sentinels {
            these.push(RedisServer::start_program(Program::Sentinel, &watching).await?);
        }
        let this = Self {
            servers: [primary, replica],
            sentinels: these,
        };
        let others = sentinels.saturating_sub(1).to_string();
        for sentinel in &this.sentinels {
            wait::until("Sentinels that know each other", wait::PATIENCE, || async {
                let known: Vec<String> =
                    sentinel.query(&["SENTINEL", "MASTER", master]).await.ok()?;
                let has = |name: &str, value: &str| {
                    known
                        .windows(2)
                        .any(|pair| pair.iter().eq([name, value].iter()))
                };
                (has("num-slaves", "1") && has("num-other-sentinels", &others)).then_some(())
            })
            .await?;
        }
        Ok(this)
    }

    /// `redis+sentinel://…`, without passwords.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| sentinel.address().to_string())
            .collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Self::MASTER)
    }

    /// Waits until the replica has everything that the primary was given before.
    ///
    /// # Errors
    ///
    /// If it does not get it.
    pub async fn in_step(&self) -> Result<()> {
        let [primary, replica] = &self.servers;
        in_step(primary, replica).await
    }

    /// Waits until the second server is the primary.
    ///
    /// # Errors
    ///
    /// If it does not become it.
    pub async fn until_failed_over(&self) -> Result<()> {
        let [_, replica] = &self.servers;
        wait::until("a new primary", wait::PATIENCE, || async {
            let role: String = replica.query(&["INFO", "replication"]).await.ok()?;
            role.contains("role:master").then_some(())
        })
        .await
        .context("Sentinel")
    }
}
