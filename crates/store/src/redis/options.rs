//! Where Redis is and how long it may take.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
};

use crate::backend::OpenError;

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
/// Connections for changes, at most. Reads share one other.
pub(super) const POOL_SIZE: usize = 16;

/// The pauses between attempts to connect: 50 ms, doubling to 1 s, each with a random 0 to 50 ms more. (Not longer: 2 s after
/// Redis is back everything must work again.)
pub(super) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
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
    /// `redis://[user@]host[:port][/database]`, or `rediss://…` for TLS with the certificates that the system trusts.
    pub url: String,
    /// The password; it replaces one in the URL.
    pub password: Option<String>,
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
            prefix: "mcp-auth:".to_owned(),
        }
    }

    /// What the library needs to connect.
    pub(super) fn connection_info(&self) -> Result<ConnectionInfo, OpenError> {
        let refused = |reason: &str| OpenError::RedisUrl {
            reason: reason.to_owned(),
        };
        let url = redis::parse_redis_url(&self.url)
            .ok_or_else(|| refused("it must begin with redis:// or rediss:// and name a host"))?;
        // The library's own errors may quote parts of the URL, and those may be the password.
        let info = url
            .into_connection_info()
            .map_err(|_| refused("its host, port, database or options are not valid"))?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            return Err(refused(
                "#insecure would accept any certificate; let the system trust the right one (SSL_CERT_FILE)",
            ));
        }
        let Some(password) = &self.password else {
            return Ok(info);
        };
        let settings = info.redis_settings().clone().set_password(password);
        Ok(info.set_redis_settings(settings))
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the password nor the URL, which may contain one.
        formatter
            .debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str, password: Option<&str>) -> RedisOptions {
        RedisOptions {
            password: password.map(str::to_owned),
            ..RedisOptions::new(url)
        }
    }

    #[test]
    fn the_password_may_come_apart_from_the_url() {
        let info = options("redis://user@cache:1234/3", Some("p@ss/word"))
            .connection_info()
            .unwrap();
        assert_eq!(info.addr().to_string(), "cache:1234");
        assert_eq!(info.redis_settings().username(), Some("user"));
        assert_eq!(info.redis_settings().password(), Some("p@ss/word"));
        assert_eq!(info.redis_settings().db(), 3);
        let info = options("rediss://:in-url@cache", Some("apart"))
            .connection_info()
            .unwrap();
        assert_eq!(info.redis_settings().password(), Some("apart"));
        assert!(matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "",
            "http://:topsecret@cache",
            "redis:topsecret",
            "redis://:topsecret@cache/topsecret",
            "redis://:topsecret@cache:99999",
            "rediss://:topsecret@cache/#insecure",
            "redis://:topsecret@cache?protocol=topsecret",
        ] {
            let error = options(url, Some("topsecret"))
                .connection_info()
                .unwrap_err();
            let shown = format!("{error} {error:?} {:?}", options(url, Some("topsecret")));
            assert!(!shown.contains("topsecret"), "{shown}");
            assert!(shown.contains("REDIS_URL"), "{shown}");
        }
    }
}
