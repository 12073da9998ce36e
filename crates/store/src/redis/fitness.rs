//! Whether a Redis keeps what it is given, and who else has written to it.

use deadpool_redis::redis::InfoDict;
use tokio::sync::watch;

use crate::backend::StoreError;

/// The version of what is stored under which key. A Redis in which a newer release has written another one is not touched.
pub(super) const FORMAT: u64 = 1;

/// What was seen of Redis when it was looked at last.
#[derive(Clone, Debug, Default)]
pub(super) struct Fitness {
    /// Why nothing may be asked of it.
    pub(super) refused: Option<String>,
    /// Why the service should not be given work with it.
    pub(super) unfit: Option<String>,
}

impl Fitness {
    /// What these servers say of themselves. What one does not tell (an ACL user may not be allowed to ask) counts as good.
    pub(super) fn of(written: Option<u64>, infos: &[(String, Option<InfoDict>)]) -> Self {
        let refused = written.filter(|written| *written > FORMAT).map(|written| {
            format!(
                "what is stored has format version {written}, this program knows {FORMAT}: use the newer release, or \
                 another REDIS_PREFIX"
            )
        });
        let unfit = infos.iter().find_map(|(address, info)| {
            let policy = policy(info.as_ref()?).filter(|policy| policy != "noeviction")?;
            Some(format!(
                "{address} has maxmemory-policy {policy} and may drop sessions and revocations when its memory is full; \
                 set maxmemory-policy noeviction"
            ))
        });
        Self { refused, unfit }
    }
}

fn policy(info: &InfoDict) -> Option<String> {
    info.get("maxmemory_policy")
}

/// What the log is told of servers that may lose something. Once.
pub(super) fn warn(infos: &[(String, Option<InfoDict>)]) {
    for (address, info) in infos {
        let Some(info) = info else { continue };
        if let Some(policy) = policy(info).filter(|policy| policy != "noeviction") {
            tracing::warn!(
                "Redis at {address} has maxmemory-policy {policy} and may drop sessions when its memory is full; \
                 set maxmemory-policy noeviction"
            );
        }
        if info.get::<u8>("aof_enabled") == Some(0) {
            tracing::warn!(
                "Redis at {address} has no append-only file and loses the last changes when it ends; set appendonly yes"
            );
        }
    }
}

/// The complaint about the Redis at this address, if there is one.
pub(super) fn complaint(
    address: &str,
    fitness: &watch::Receiver<Fitness>,
    which: impl Fn(&Fitness) -> Option<&str>,
) -> Result<(), StoreError> {
    match which(&fitness.borrow()) {
        None => Ok(()),
        Some(reason) => Err(StoreError::busy(format!("Redis at {address}: {reason}"))),
    }
}
