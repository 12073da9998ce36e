//! What the backend asks of Redis, whatever kind it is.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_redis::redis::{
    Cmd, ErrorKind, InfoDict, RedisError, Script, ScriptInvocation, ServerErrorKind, Value,
};
use jiff::Timestamp;

use crate::backend::{StoreClock, StoreError};

/// A script, and its text.
pub(super) struct Code {
    pub(super) text: &'static str,
    pub(super) script: Script,
}

/// One call of a script. All keys are in one slot.
pub(super) struct Call {
    pub(super) script: Arc<Code>,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Call {
    /// What the library sends: the hash of the script, and the script where it is not known yet.
    pub(super) fn invocation(&self) -> ScriptInvocation<'_> {
        let mut invocation = self.script.script.prepare_invoke();
        for key in &self.keys {
            invocation.key(key);
        }
        for argument in &self.arguments {
            invocation.arg(argument);
        }
        invocation
    }
}

/// Why a change has no answer. It was done wholly or not at all.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection, or none is free.
    NoConnection(String),
    /// Redis, or the way to it.
    Redis(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

/// A part of all keys, and where the next one begins.
pub(super) struct Keys {
    pub(super) found: Vec<Vec<u8>>,
    pub(super) next: Option<String>,
}

/// One server, the primary that Sentinel names, or a cluster. Each keeps itself connected for as long as its task is polled.
#[async_trait]
pub(super) trait Servers: Send + Sync {
    /// The values of these keys.
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// One command about one key, or about none. It may be sent again when a connection broke.
    async fn ask(&self, question: Cmd) -> Result<Value, StoreError>;

    /// Runs a script. It is sent once, or again only when Redis said that it has not run it.
    async fn run(&self, call: &Call) -> Result<Value, Failure>;

    /// Some of the keys that fit the pattern, of about `limit` that are looked at.
    async fn keys(
        &self,
        pattern: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Keys, StoreError>;

    /// One round trip to each server on which something depends.
    async fn ping(&self) -> Result<(), StoreError>;

    /// What time each of these servers has. None for one that does not tell.
    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError>;

    /// Fails when nothing may be stored in this Redis, because a newer release has.
    fn admitted(&self) -> Result<(), StoreError>;

    /// Fails when this Redis may lose what it is given.
    fn fit(&self) -> Result<(), StoreError>;

    /// Waits until the first attempt to connect has ended, either way.
    async fn tried(&self);
}

/// What went wrong, for people. The library's texts never contain the password.
pub(super) fn explain(error: &RedisError) -> String {
    let text = error.to_string();
    // The error of a pipeline has no code of its own.
    let is_refused = error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS"]
            .iter()
            .any(|code| text.contains(code));
    if is_refused {
        format!("{text}; is REDIS_PASSWORD right?")
    } else {
        text
    }
}

pub(super) fn unavailable(address: &str, error: RedisError) -> StoreError {
    StoreError::unavailable(format!("Redis at {address}: {}", explain(&error)), error)
}

/// Whether the connection, rather than the question, is what failed.
pub(super) fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        // After a fail-over this leads to what is a replica now; a new connection finds the new primary.
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// The answer to `INFO`, when it could be asked.
pub(super) fn info(answer: Result<Value, RedisError>) -> Option<InfoDict> {
    deadpool_redis::redis::from_redis_value(answer.ok()?).ok()
}

/// The answer to `TIME`: seconds and microseconds.
pub(super) fn time(answer: Value) -> Option<Timestamp> {
    let (seconds, microseconds): (i64, i64) =
        deadpool_redis::redis::from_redis_value(answer).ok()?;
    let whole = seconds.checked_mul(1_000_000)?;
    Timestamp::from_microsecond(whole.checked_add(microseconds)?).ok()
}
