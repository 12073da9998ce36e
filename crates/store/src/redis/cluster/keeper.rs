//! The task that keeps the connections to a cluster up and knows who its primaries are.

use deadpool_redis::redis::cluster::ClusterClient;
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::{Client, ConnectionInfo, RedisResult, Value, cmd};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::topology::Topology;
use super::{Connected, State, to};
use crate::redis::fitness::{self, FORMAT, Fitness};
use crate::redis::options::{CHANGE, CONNECT, HEARTBEAT, LOOK_EVERY, pauses};
use crate::redis::servers::{explain, info};

/// How many heartbeats in a row may go without an answer before everything is connected anew. (The library looks for lost
/// nodes by itself; this is for when it finds none.)
const PATIENCE: u32 = 3;

pub(super) struct Keeper {
    pub(super) questions: ClusterClient,
    pub(super) changes: ClusterClient,
    /// What one node wants to be shown, and the others too.
    pub(super) node: ConnectionInfo,
    pub(super) address: String,
    pub(super) format_key: String,
    pub(super) state: watch::Sender<State>,
    pub(super) sources: watch::Sender<Vec<Client>>,
    pub(super) fitness: watch::Sender<Fitness>,
}

impl Keeper {
    pub(super) async fn run(self) {
        let mut waits = pauses();
        let mut is_first = true;
        let mut is_unreachable = false;
        loop {
            let reason = match timeout(CONNECT * 2, self.connect()).await {
                Ok(Ok(connected)) => {
                    waits = pauses();
                    let primaries = connected.topology.primaries().len();
                    tracing::info!(
                        "connected to Redis at {}: {primaries} primaries",
                        self.address
                    );
                    self.look(&connected, is_first).await;
                    is_first = false;
                    let refused = self.fitness.borrow().refused.clone();
                    if let Some(reason) = refused {
                        tracing::error!("Redis at {} is left alone: {reason}", self.address);
                        reason
                    } else {
                        let reason = self.until_broken(connected).await;
                        tracing::warn!("lost Redis at {}: {reason}", self.address);
                        reason
                    }
                }
                Ok(Err(error)) => explain(&error),
                Err(_) => format!("no connection within {:?}", CONNECT * 2),
            };
            if is_first && !is_unreachable {
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

    async fn connect(&self) -> RedisResult<Connected> {
        let mut questions = self.questions.get_async_connection().await?;
        let changes = self.changes.get_async_connection().await?;
        let topology = topology(&mut questions).await?;
        Ok(Connected {
            questions,
            changes,
            topology,
        })
    }

    /// Tells who the primaries are, and who they are by now, until nobody answers for a while; says why.
    async fn until_broken(&self, mut connected: Connected) -> String {
        let mut heartbeat = interval(HEARTBEAT);
        let (mut beats, mut failures): (u32, u32) = (0, 0);
        self.tell(&connected);
        loop {
            heartbeat.tick().await;
            beats = beats.wrapping_add(1);
            let seen = timeout(CHANGE, topology(&mut connected.questions)).await;
            let reason = match seen {
                Ok(Ok(topology)) => {
                    failures = 0;
                    if topology != connected.topology {
                        tracing::info!("the slots of Redis at {} have moved", self.address);
                        connected.topology = topology;
                        self.tell(&connected);
                    }
                    if beats.is_multiple_of(LOOK_EVERY) {
                        self.look(&connected, false).await;
                    }
                    continue;
                }
                Ok(Err(error)) => explain(&error),
                Err(_) => format!("no answer within {CHANGE:?}"),
            };
            failures += 1;
            if failures == PATIENCE {
                return reason;
            }
        }
    }

    fn tell(&self, connected: &Connected) {
        let clients: Vec<_> = connected
            .topology
            .primaries()
            .iter()
            .filter_map(|node| node.client(&self.node).ok())
            .collect();
        let before = self.state.send_replace(State::Up(connected.clone()));
        // Who listens to the same servers need not begin again.
        let is_same = matches!(before, State::Up(before)
            if before.topology.primaries() == connected.topology.primaries());
        if !is_same {
            self.sources.send_replace(clients);
        }
    }

    /// Looks who has written here and whether these servers keep what they are given.
    async fn look(&self, connected: &Connected, is_first: bool) {
        let written = self.format(connected.changes.clone()).await.ok();
        let infos = connected.topology.primaries().iter().map(|node| {
            let mut connection = connected.questions.clone();
            async move {
                let said = connection.route_command(cmd("INFO"), to(node));
                let said = timeout(CONNECT, said).await.ok();
                (node.to_string(), said.and_then(info))
            }
        });
        let infos = join_all(infos).await;
        if is_first {
            fitness::warn(&infos);
        }
        self.fitness.send_replace(Fitness::of(written, &infos));
    }

    /// The format of what is stored here; where nothing is yet, ours is written down.
    async fn format(&self, mut connection: ClusterConnection) -> RedisResult<u64> {
        let stored: Option<u64> = cmd("GET")
            .arg(&self.format_key)
            .query_async(&mut connection)
            .await?;
        if let Some(stored) = stored {
            return Ok(stored);
        }
        cmd("SET")
            .arg(&self.format_key)
            .arg(FORMAT)
            .arg("NX")
            .exec_async(&mut connection)
            .await?;
        Ok(FORMAT)
    }
}

/// Who has which slots, as one node knows it.
async fn topology(connection: &mut ClusterConnection) -> RedisResult<Topology> {
    let mut question = cmd("CLUSTER");
    question.arg("SLOTS");
    let answer: Value = question.query_async(connection).await?;
    Topology::parse(answer)
}
