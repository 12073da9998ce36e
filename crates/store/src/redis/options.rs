//! Which Redis, and how long it may take.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use deadpool_redis::redis::AsyncConnectionConfig;

/// How long making a connection may take, TLS and AUTH included.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// How long one command may take.
pub(super) const COMMAND: Duration = Duration::from_millis(500);
/// How long a call waits for a connection: for one of the pool to come free, or for a lost one to be back.
pub(super) const WAIT: Duration = Duration::from_millis(200);
/// How long a change may take in all, below the 2 s in which `/verify` and `/token` must answer.
pub(super) const CHANGE: Duration = Duration::from_millis(1800);
/// How often an idle connection is asked whether it still leads anywhere.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// How many heartbeats pass between two looks at the configuration of Redis, and at who is the primary.
pub(super) const LOOK_EVERY: u32 = 3;
/// Connections for changes, at most. Reads share one other.
pub(super) const POOL_SIZE: usize = 16;

/// The pauses between attempts to connect: 50 ms, doubling to 500 ms, each with a random 0 to 50 ms more. (Not longer: 2 s
/// after Redis is back everything must work again, and an attempt may take a second itself.)
pub(super) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

pub(super) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(COMMAND))
}

/// Which Redis, and under which keys.
#[derive(Clone)]
pub struct RedisOptions {
    /// One of
    ///
    /// - `redis://[user@]host[:port][/database]`: one server;
    /// - `redis+sentinel://[user@]host[:port],…/master[/database]`: the primary that these Sentinels name so;
    /// - `redis+cluster://[user@]host[:port],…`: a cluster, known by some of its nodes;
    ///
    /// each with `rediss` for TLS with the certificates that the system trusts.
    pub url: String,
    /// The password; it replaces one in the URL.
    pub password: Option<String>,
    /// The password of the Sentinels, if they have one.
    pub sentinel_password: Option<String>,
    /// What all keys and the event channel begin with, so that several programs can share one Redis.
    pub prefix: String,
}

impl RedisOptions {
    /// This address, without a password, with the prefix `mcp-auth:`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            sentinel_password: None,
            prefix: "mcp-auth:".to_owned(),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the passwords nor the URL, which may contain one.
        formatter
            .debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
