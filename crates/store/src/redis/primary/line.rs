//! The one connection that all reads share, kept up by a task of its own.

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, FromRedisValue, Pipeline, RedisResult, cmd};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};

use super::finder::{Finder, Node};
use crate::backend::StoreError;
use crate::redis::events::Sources;
use crate::redis::fitness::{self, FORMAT, Fitness, complaint};
use crate::redis::options::{CONNECT, HEARTBEAT, LOOK_EVERY, WAIT, connection_config, pauses};
use crate::redis::servers::{explain, info, is_broken, unavailable};

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
    fitness: watch::Receiver<Fitness>,
    state: watch::Receiver<State>,
    complaints: mpsc::Sender<u64>,
}

impl SharedLine {
    /// The line, the server to which it leads, where events come from, and the task that keeps all that up for as long as it
    /// is polled.
    pub(super) fn new(
        finder: Finder,
        address: String,
        format_key: String,
    ) -> (
        Self,
        watch::Receiver<Option<Node>>,
        Sources,
        impl Future<Output = ()> + Send,
    ) {
        let (state, receiver) = watch::channel(State::Down("not connected yet".to_owned()));
        let (fitness, seen) = watch::channel(Fitness::default());
        let (complaints, complained) = mpsc::channel(16);
        let known = finder.known();
        let clients = known.iter().map(|node| node.client.clone()).collect();
        let (sources, from) = watch::channel(clients);
        let (node, leads_to) = watch::channel(known);
        let keeper = Keeper {
            finder,
            address: address.clone(),
            format_key,
            node,
            sources,
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
        (line, leads_to, from, keeper.run())
    }

    /// Fails when nothing may be stored in this Redis, because a newer release has.
    pub(super) fn admitted(&self) -> Result<(), StoreError> {
        complaint(&self.address, &self.fitness, |seen| seen.refused.as_deref())
    }

    /// Fails when this Redis may lose what it is given.
    pub(super) fn fit(&self) -> Result<(), StoreError> {
        complaint(&self.address, &self.fitness, |seen| seen.unfit.as_deref())
    }

    /// Why there is no connection.
    pub(super) fn reason(&self) -> String {
        match &*self.state.borrow() {
            State::Down(reason) => reason.clone(),
            State::Up(_) => "the connection is new".to_owned(),
        }
    }

    /// Lets the keeper find the server and connect again.
    pub(super) fn complain(&self) {
        if let State::Up(line) = &*self.state.borrow() {
            // A full queue means that others have complained already.
            let _ = self.complaints.try_send(line.number);
        }
    }

    /// Waits until the first attempt to connect has ended, either way.
    pub(super) async fn tried(&self) {
        let _ = timeout(CONNECT * 2, self.state.clone().changed()).await;
    }

    /// Asks, and asks once more on a new connection if this one broke: a question may be repeated, a change may not.
    pub(super) async fn ask<T>(&self, question: &Pipeline) -> Result<T, StoreError>
    where
        T: FromRedisValue,
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

struct Keeper {
    finder: Finder,
    address: String,
    format_key: String,
    node: watch::Sender<Option<Node>>,
    sources: watch::Sender<Vec<Client>>,
    state: watch::Sender<State>,
    fitness: watch::Sender<Fitness>,
    complained: mpsc::Receiver<u64>,
}

impl Keeper {
    async fn run(mut self) {
        let mut number = 0;
        let mut waits = pauses();
        let mut is_checked = false;
        let mut is_unreachable = false;
        loop {
            let reason = match timeout(CONNECT, self.connect()).await {
                Ok(Ok(mut connection)) => {
                    number += 1;
                    waits = pauses();
                    tracing::info!("connected to Redis at {}", self.server());
                    self.look(&mut connection, !is_checked).await;
                    is_checked = true;
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
            if number == 0 && !is_unreachable {
                is_unreachable = true;
                tracing::warn!(
                    "Redis at {} cannot be asked yet: {reason}; trying again",
                    self.address
                );
            }
            self.state.send_replace(State::Down(reason));
            sleep(waits.next().unwrap_or(CONNECT)).await;
        }
    }

    /// Finds the server and connects to it. What was the server before is given up as soon as there is another one.
    async fn connect(&mut self) -> RedisResult<MultiplexedConnection> {
        let before = self.node.borrow().clone();
        let node = self.finder.find(before.as_ref()).await?;
        if before.is_none_or(|before| before.address != node.address) {
            self.sources.send_replace(vec![node.client.clone()]);
            self.node.send_replace(Some(node.clone()));
        }
        let config = connection_config();
        node.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Where the connection leads, for the log.
    fn server(&self) -> String {
        match &*self.node.borrow() {
            Some(node) if !self.address.starts_with(&node.address) => {
                format!("{}, {}", self.address, node.address)
            }
            _ => self.address.clone(),
        }
    }

    /// Watches a connection until somebody complains, it no longer answers or another server is the primary; says why.
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
                        self.look(&mut connection, false).await;
                        if let Some(reason) = self.has_moved().await {
                            return reason;
                        }
                    }
                }
            }
        }
    }

    /// Whether Sentinel names another server by now: the one to which the connection leads may have been cut off from the
    /// others and not know it. While no Sentinel can be asked, nothing has moved.
    async fn has_moved(&mut self) -> Option<String> {
        let here = self.node.borrow().clone()?;
        let there = timeout(CONNECT, self.finder.find(Some(&here)))
            .await
            .ok()?
            .ok()?;
        (there.address != here.address).then(|| {
            format!(
                "the primary is no longer {} but {}",
                here.address, there.address
            )
        })
    }

    /// Looks who has written here and whether this Redis keeps what it is given.
    async fn look(&self, connection: &mut MultiplexedConnection, is_first: bool) {
        let written = self.format(connection).await.ok();
        let said = info(cmd("INFO").query_async(connection).await);
        let infos = [(self.address.clone(), said)];
        if is_first {
            fitness::warn(&infos);
        }
        self.fitness.send_replace(Fitness::of(written, &infos));
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
