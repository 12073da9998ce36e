//! The one connection that all reads share, kept up by a task of its own.

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    Client, ErrorKind, InfoDict, Pipeline, RedisError, RedisResult, ServerErrorKind, cmd,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};

use super::options::{CONNECT, HEARTBEAT, WAIT, connection_config, pauses};
use super::{explain, unavailable};
use crate::backend::StoreError;

/// A connection, or why there is none.
#[derive(Clone)]
enum State {
    Down(String),
    Up(Line),
}

#[derive(Clone)]
struct Line {
    connection: MultiplexedConnection,
    /// Counts the connections, so that a late complaint about the last one does not end this one.
    number: u64,
}

/// The shared connection, for whoever has something to ask.
pub(super) struct SharedLine {
    address: String,
    state: watch::Receiver<State>,
    complaints: mpsc::Sender<u64>,
}

impl SharedLine {
    /// The line, and the task that keeps it up for as long as it is polled.
    pub(super) fn new(client: Client, address: String) -> (Self, impl Future<Output = ()>) {
        let (state, receiver) = watch::channel(State::Down("not connected yet".to_owned()));
        let (complaints, complained) = mpsc::channel(16);
        let keeper = Keeper {
            client,
            address: address.clone(),
            state,
            complained,
        };
        let line = Self {
            address,
            state: receiver,
            complaints,
        };
        (line, keeper.run())
    }

    /// Waits until the first attempt to connect has ended, either way.
    pub(super) async fn tried(&self) {
        let _ = timeout(CONNECT * 2, self.state.clone().changed()).await;
    }

    /// Asks, and asks once more on a new connection if this one broke: a question may be repeated, a change may not.
    pub(super) async fn ask<T>(&self, question: &Pipeline) -> Result<T, StoreError>
    where
        T: deadpool_redis::redis::FromRedisValue,
    {
        let mut again = true;
        loop {
            let mut line = self.line().await?;
            match question.query_async(&mut line.connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    if is_broken(&error) {
                        // A full queue means that others have complained already.
                        let _ = self.complaints.try_send(line.number);
                        // A command that took too long has used up the time for a second one.
                        if again && !error.is_timeout() {
                            again = false;
                            let _ = timeout(WAIT, self.replaced(line.number)).await;
                            continue;
                        }
                    }
                    return Err(unavailable(&self.address, error));
                }
            }
        }
    }

    async fn line(&self) -> Result<Line, StoreError> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        let reason = match timeout(WAIT, up).await {
            Ok(Ok(state)) => match &*state {
                State::Up(line) => return Ok(line.clone()),
                State::Down(reason) => reason.clone(),
            },
            Ok(Err(_closed)) => "the store is being closed".to_owned(),
            Err(_elapsed) => match &*self.state.borrow() {
                State::Up(line) => return Ok(line.clone()),
                State::Down(reason) => reason.clone(),
            },
        };
        Err(StoreError::busy(format!(
            "Redis at {}: {reason}",
            self.address
        )))
    }

    /// Waits until the keeper has heard of the complaint.
    async fn replaced(&self, number: u64) {
        let is_other = |state: &State| !matches!(state, State::Up(line) if line.number == number);
        let _ = self.state.clone().wait_for(is_other).await;
    }
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

struct Keeper {
    client: Client,
    address: String,
    state: watch::Sender<State>,
    complained: mpsc::Receiver<u64>,
}

impl Keeper {
    async fn run(mut self) {
        let config = connection_config();
        let mut number = 0;
        let mut waits = pauses();
        let mut warned = Warned::default();
        loop {
            let connecting = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let reason = match timeout(CONNECT, connecting).await {
                Ok(Ok(mut connection)) => {
                    number += 1;
                    waits = pauses();
                    tracing::info!("connected to Redis at {}", self.address);
                    warned.check(&mut connection, &self.address).await;
                    self.state.send_replace(State::Up(Line {
                        connection: connection.clone(),
                        number,
                    }));
                    let reason = self.until_broken(connection, number).await;
                    tracing::warn!("lost the connection to Redis at {}: {reason}", self.address);
                    reason
                }
                Ok(Err(error)) => explain(&error),
                Err(_) => format!("no connection within {CONNECT:?}"),
            };
            if number == 0 && !warned.unreachable {
                warned.unreachable = true;
                tracing::warn!(
                    "Redis at {} cannot be asked yet: {reason}; trying again",
                    self.address
                );
            }
            self.state.send_replace(State::Down(reason));
            sleep(waits.next().unwrap_or(CONNECT)).await;
        }
    }

    /// Watches a connection until somebody complains or it no longer answers; says why.
    async fn until_broken(&mut self, mut connection: MultiplexedConnection, number: u64) -> String {
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            tokio::select! {
                complaint = self.complained.recv() => match complaint {
                    Some(about) if about == number => return "a command failed".to_owned(),
                    Some(_) => {}
                    None => std::future::pending().await,
                },
                _ = heartbeat.tick() => {
                    if let Err(error) = ping(&mut connection).await {
                        return explain(&error);
                    }
                }
            }
        }
    }
}

async fn ping(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    cmd("PING").exec_async(connection).await
}

/// What the log has been told already.
#[derive(Default)]
struct Warned {
    unreachable: bool,
    configuration: bool,
}

impl Warned {
    /// Looks once whether this Redis keeps what it is given.
    async fn check(&mut self, connection: &mut MultiplexedConnection, address: &str) {
        if std::mem::replace(&mut self.configuration, true) {
            return;
        }
        let Ok(info) = cmd("INFO").query_async::<InfoDict>(connection).await else {
            return;
        };
        if let Some(policy) = info.get::<String>("maxmemory_policy")
            && policy != "noeviction"
        {
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
