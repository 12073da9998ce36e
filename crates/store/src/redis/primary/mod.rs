//! One server that takes all reads and changes: the only one, or the primary that Sentinel names.
//!
//! Reads share one connection ([`line`]), changes have a pool. Who the server is, is found by [`finder`].

mod finder;
mod line;

use async_trait::async_trait;
use deadpool_redis::redis::{
    Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, cmd, from_redis_value, pipe,
};
use deadpool_redis::{Connection, Pool, PoolError};
use tokio::sync::watch;
use tokio::time::timeout;

pub(super) use self::finder::Finder;
use self::finder::Node;
use self::line::SharedLine;
use super::events::Sources;
use super::options::WAIT;
use super::servers::{Call, Failure, Keys, Servers, is_broken, time, unavailable};
use crate::backend::{StoreClock, StoreError};

/// The connections to it.
pub(super) struct Primary {
    address: String,
    line: SharedLine,
    node: watch::Receiver<Option<Node>>,
}

impl Primary {
    /// The connections, where events come from, and the task that keeps them up for as long as it is polled.
    pub(super) fn new(
        finder: Finder,
        address: String,
        format_key: String,
    ) -> (Self, Sources, impl Future<Output = ()> + Send) {
        let (line, node, sources, keeper) = SharedLine::new(finder, address.clone(), format_key);
        let primary = Self {
            address,
            line,
            node,
        };
        (primary, sources, keeper)
    }

    /// The connections for changes; none while it is not known where the primary is.
    async fn pool(&self) -> Option<Pool> {
        let mut node = self.node.clone();
        let found = timeout(WAIT, node.wait_for(Option::is_some)).await;
        let node = found.ok()?.ok()?;
        node.as_ref().map(|node| node.pool.clone())
    }

    async fn one(&self, question: Cmd) -> Result<Value, StoreError> {
        let mut questions = pipe();
        questions.add_command(question);
        let (answer,): (Value,) = self.line.ask(&questions).await?;
        Ok(answer)
    }

    fn unreadable(&self, error: impl Into<RedisError>) -> StoreError {
        unavailable(&self.address, error.into())
    }
}

#[async_trait]
impl Servers for Primary {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut questions = pipe();
        for key in keys {
            questions.get(key);
        }
        self.line.ask(&questions).await
    }

    async fn ask(&self, question: Cmd) -> Result<Value, StoreError> {
        self.one(question).await
    }

    async fn run(&self, call: &Call) -> Result<Value, Failure> {
        let Some(pool) = self.pool().await else {
            return Err(Failure::NoConnection(self.line.reason()));
        };
        let mut connection = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure::Redis(error),
            other => Failure::NoConnection(format!("no connection: {other}")),
        })?;
        let answer = call.invocation().invoke_async(&mut connection).await;
        if let Err(error) = &answer
            && is_broken(error)
        {
            drop(Connection::take(connection));
            if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
                // It is a replica by now; who is the primary?
                self.line.complain();
            }
        }
        Ok(answer?)
    }

    async fn keys(
        &self,
        pattern: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Keys, StoreError> {
        let cursor: u64 = match cursor {
            Some(text) => text.parse().map_err(|_| StoreError::UnknownCursor {
                cursor: text.to_owned(),
            })?,
            None => 0,
        };
        let mut question = cmd("SCAN");
        question.arg(cursor).arg("MATCH").arg(pattern);
        question.arg("COUNT").arg(limit);
        let answer = self.one(question).await?;
        let (next, found): (u64, Vec<Vec<u8>>) =
            from_redis_value(answer).map_err(|error| self.unreadable(error))?;
        Ok(Keys {
            found,
            next: (next != 0).then(|| next.to_string()),
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.one(cmd("PING")).await.map(drop)
    }

    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError> {
        let mut questions = pipe();
        questions.add_command(cmd("TIME")).ignore_errors();
        let (answer,): (RedisResult<Value>,) = self.line.ask(&questions).await?;
        // None when an ACL user may not ask.
        let time = answer.ok().and_then(time);
        let of = self.address.clone();
        Ok(vec![StoreClock { of, time }])
    }

    fn admitted(&self) -> Result<(), StoreError> {
        self.line.admitted()
    }

    fn fit(&self) -> Result<(), StoreError> {
        self.line.fit()
    }

    async fn tried(&self) {
        self.line.tried().await;
    }
}
