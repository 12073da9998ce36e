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

/// The version of what is stored under which key. A Redis in which a newer release has written another one is not touched.
const FORMAT: u64 = 1;

/// How many heartbeats pass between two looks at the configuration of Redis.
const LOOK_EVERY: u32 = 3;

/// What was seen of Redis when it was looked at last.
#[derive(Clone, Debug, Default)]
struct Fitness {
    /// Why nothing may be asked of it.
    refused: Option<String>,
    /// Why the service should not be given work with it.
    unfit: Option<String>,
}

/// The shared connection, for whoever has something to ask.
pub(super) struct SharedLine {
    address: String,
    fitness: watch::Receiver<Fitness>,
    state: watch::Receiver<State>,
    complaints: mpsc::Sender<u64>,
}

impl SharedLine {
    /// The line, and the task that keeps it up for as long as it is polled.
    pub(super) fn new(
        client: Client,
        address: String,
        format_key: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (state, receiver) = watch::channel(State::Down("not connected yet".to_owned()));
        let (fitness, seen) = watch::channel(Fitness::default());
        let (complaints, complained) = mpsc::channel(16);
        let keeper = Keeper {
            client,
            address: address.clone(),
            format_key,
            state,
            fitness,
            complained,
        };
        let line = Self {
            address,
            fitness: seen,
            state: receiver,
            complaints,
        };
        (line, keeper.run())
    }

    /// Fails when nothing may be stored in this Redis, because a newer release has.
    pub(super) fn admitted(&self) -> Result<(), StoreError> {
        self.complaint(self.fitness.borrow().refused.as_deref())
    }

    /// Fails when this Redis may lose what it is given.
    pub(super) fn fit(&self) -> Result<(), StoreError> {
        self.complaint(self.fitness.borrow().unfit.as_deref())
    }

    fn complaint(&self, reason: Option<&str>) -> Result<(), StoreError> {
        match reason {
            None => Ok(()),
            Some(reason) => Err(StoreError::busy(format!(
                "Redis at {}: {reason}",
                self.address
            ))),
        }
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
    format_key: String,
    state: watch::Sender<State>,
    fitness: watch::Sender<Fitness>,
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
                    self.look(&mut connection).await;
                    let refused = self.fitness.borrow().refused.clone();
                    if let Some(reason) = refused {
                        tracing::error!("Redis at {} is left alone: {reason}", self.address);
                        reason
                    } else {
                        self.state.send_replace(State::Up(Line {
                            connection: connection.clone(),
                            number,
                        }));
                        let reason = self.until_broken(connection, number).await;
                        tracing::warn!(
                            "lost the connection to Redis at {}: {reason}",
                            self.address
                        );
                        reason
                    }
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
        let mut beats: u32 = 0;
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
                    beats = beats.wrapping_add(1);
                    if beats.is_multiple_of(LOOK_EVERY) {
                        self.look(&mut connection).await;
                    }
                }
            }
        }
    }
}

impl Keeper {
    /// Looks who has written here and whether this Redis keeps what it is given. What it does not tell (an ACL user may
    /// not be allowed to ask) counts as good.
    async fn look(&self, connection: &mut MultiplexedConnection) {
        let written = self.format(connection).await.unwrap_or(FORMAT);
        let refused = (written > FORMAT).then(|| {
            format!(
                "what is stored has format version {written}, this program knows {FORMAT}: use the newer release, or \
                 another REDIS_PREFIX"
            )
        });
        let mut question = cmd("INFO");
        question.arg("memory");
        let info: Option<InfoDict> = question.query_async(connection).await.ok();
        let policy = info.and_then(|info| info.get::<String>("maxmemory_policy"));
        let unfit = policy.filter(|policy| policy != "noeviction").map(|policy| {
            format!(
                "it has maxmemory-policy {policy} and may drop sessions and revocations when its memory is full; set \
                 maxmemory-policy noeviction"
            )
        });
        self.fitness.send_replace(Fitness { refused, unfit });
    }

    /// The format of what is stored here; where nothing is yet, ours is written down.
    async fn format(&self, connection: &mut MultiplexedConnection) -> RedisResult<u64> {
        let stored: Option<u64> = cmd("GET")
            .arg(&self.format_key)
            .query_async(connection)
            .await?;
        if let Some(stored) = stored {
            return Ok(stored);
        }
        cmd("SET")
            .arg(&self.format_key)
            .arg(FORMAT)
            .arg("NX")
            .exec_async(connection)
            .await?;
        Ok(FORMAT)
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
