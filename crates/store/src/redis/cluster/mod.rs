//! A cluster: each key is on the primary of its slot.
//!
//! The library routes commands and follows slots that move. Questions may be sent again and have a connection of their own;
//! changes are sent once, and again only when Redis said that it has not done them.

mod keeper;
mod topology;

use std::time::Duration;

use async_trait::async_trait;
use backon::{ConstantBuilder, Retryable as _};
use deadpool_redis::redis::cluster::{ClusterClient, ClusterClientBuilder};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use deadpool_redis::redis::{
    Cmd, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, cmd,
    from_redis_value, pipe,
};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;
use tokio::time::timeout;

use self::keeper::Keeper;
use self::topology::{Node, Topology};
use super::events::Sources;
use super::fitness::{Fitness, complaint};
use super::options::{CHANGE, COMMAND, CONNECT, WAIT};
use super::servers::{Call, Failure, Keys, Servers, time, unavailable};
use crate::backend::{StoreClock, StoreError};

/// How often a question is sent again, to where its slot is by then.
const QUESTION_RETRIES: u32 = 4;
/// How long the library waits before it does, in milliseconds.
const QUESTION_PAUSES: [u64; 2] = [20, 200];
/// The pause before a change that Redis has not done is sent again. It is given up with [`CHANGE`].
const CHANGE_PAUSE: Duration = Duration::from_millis(50);

/// The connections to the cluster.
pub(super) struct Cluster {
    address: String,
    state: watch::Receiver<State>,
    fitness: watch::Receiver<Fitness>,
}

/// What is known of the cluster, or why nothing is.
#[derive(Clone)]
enum State {
    Down(String),
    Up(Connected),
}

#[derive(Clone)]
struct Connected {
    questions: ClusterConnection,
    changes: ClusterConnection,
    topology: Topology,
}

impl Cluster {
    /// The connections, where events come from, and the task that keeps them up for as long as it is polled.
    pub(super) fn new(
        nodes: &[ConnectionInfo],
        address: String,
        format_key: String,
    ) -> RedisResult<(Self, Sources, impl Future<Output = ()> + Send + use<>)> {
        let (state, receiver) = watch::channel(State::Down("not connected yet".to_owned()));
        let (fitness, seen) = watch::channel(Fitness::default());
        let (sources, from) = watch::channel(Vec::new());
        let keeper = Keeper {
            questions: client(nodes, QUESTION_RETRIES)?,
            changes: client(nodes, 0)?,
            node: nodes
                .first()
                .cloned()
                .ok_or((ErrorKind::InvalidClientConfig, "a cluster without a node"))?,
            address: address.clone(),
            format_key,
            state,
            sources,
            fitness,
        };
        let cluster = Self {
            address,
            state: receiver,
            fitness: seen,
        };
        Ok((cluster, from, keeper.run()))
    }

    async fn connected(&self) -> Result<Connected, String> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        let seen = match timeout(WAIT, up).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_closed)) => return Err("the store is being closed".to_owned()),
            Err(_elapsed) => self.state.borrow().clone(),
        };
        match seen {
            State::Up(connected) => Ok(connected),
            State::Down(reason) => Err(reason),
        }
    }

    async fn questions(&self) -> Result<Connected, StoreError> {
        self.connected()
            .await
            .map_err(|reason| StoreError::busy(format!("Redis at {}: {reason}", self.address)))
    }

    /// An answer in time, or why there is none.
    async fn answer<T>(
        &self,
        answer: impl Future<Output = RedisResult<T>> + Send,
    ) -> Result<T, StoreError> {
        match timeout(CHANGE, answer).await {
            Ok(answer) => answer.map_err(|error| unavailable(&self.address, error)),
            Err(elapsed) => Err(StoreError::unavailable(
                format!("Redis at {}: no answer within {CHANGE:?}", self.address),
                elapsed,
            )),
        }
    }
}

/// A client that sends a command again so often.
fn client(nodes: &[ConnectionInfo], retries: u32) -> RedisResult<ClusterClient> {
    let [shortest, longest] = QUESTION_PAUSES;
    ClusterClientBuilder::new(nodes.to_vec())
        .retries(retries)
        .min_retry_wait(shortest)
        .max_retry_wait(longest)
        // While the library looks for a lost node everything else waits.
        .connection_timeout(COMMAND)
        .response_timeout(COMMAND)
        .build()
}

/// To this node and no other.
fn to(node: &Node) -> RoutingInfo {
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
        host: node.host.clone(),
        port: node.port,
    })
}

/// Whether the error says that nothing was done: the slot is elsewhere, or nobody takes changes of it now.
fn is_undone(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly | TryAgain)
        | ErrorKind::ClusterConnectionNotFound => true,
        // A connection that could not be made has carried nothing.
        _ => error.is_connection_refusal(),
    }
}

/// Runs the script where the key is while its slot moves: the node that takes the slot wants to be told so.
async fn run_where_asked(
    connection: &mut ClusterConnection,
    script: &Cmd,
    error: &RedisError,
) -> Option<RedisResult<Value>> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    let node = SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    };
    let mut asking = pipe();
    asking.cmd("ASKING").add_command(script.clone());
    let answers = connection.route_pipeline(asking, 0, 2, node).await;
    Some(answers.and_then(|answers| {
        let answer = answers.into_iter().nth(1).unwrap_or(Value::Nil);
        answer.extract_error()
    }))
}

#[async_trait]
impl Servers for Cluster {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let connected = self.questions().await?;
        // Each by itself: those of one pipeline must be on one node.
        let values = keys.iter().map(|key| {
            let mut connection = connected.questions.clone();
            async move { cmd("GET").arg(key).query_async(&mut connection).await }
        });
        self.answer(try_join_all(values)).await
    }

    async fn ask(&self, question: Cmd) -> Result<Value, StoreError> {
        let mut connection = self.questions().await?.questions;
        self.answer(async move { question.query_async(&mut connection).await })
            .await
    }

    async fn run(&self, call: &Call) -> Result<Value, Failure> {
        let connected = self.connected().await.map_err(Failure::NoConnection)?;
        let invocation = &call.invocation();
        let attempt = || {
            let mut connection = connected.changes.clone();
            async move {
                match invocation.invoke_async(&mut connection).await {
                    Err(error) => {
                        let script = eval(call);
                        let asked = run_where_asked(&mut connection, &script, &error).await;
                        asked.unwrap_or(Err(error))
                    }
                    answer => answer,
                }
            }
        };
        // It ends with the time for a change.
        let pauses = ConstantBuilder::new()
            .with_delay(CHANGE_PAUSE)
            .without_max_times();
        Ok(attempt
            .retry(pauses)
            .when(is_undone)
            .sleep(tokio::time::sleep)
            .await?)
    }

    /// A cursor is `MAP.NODE.CURSOR`: it holds for this map of the slots only, since a key that moves to a node that was
    /// looked through already would be missed.
    async fn keys(
        &self,
        pattern: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Keys, StoreError> {
        let unknown = |cursor: &str| StoreError::UnknownCursor {
            cursor: cursor.to_owned(),
        };
        let mut connected = self.questions().await?;
        let (map, nodes) = (
            connected.topology.fingerprint(),
            connected.topology.primaries(),
        );
        let (number, cursor) = match cursor {
            None => (0, 0),
            Some(text) => {
                let mut parts = text.splitn(3, '.');
                let mut part = || parts.next().and_then(|part| part.parse::<u64>().ok());
                match (part(), part(), part()) {
                    (Some(of), Some(number), Some(cursor)) if of == map => (number, cursor),
                    _ => return Err(unknown(text)),
                }
            }
        };
        let unknown_place = || unknown(&format!("{map}.{number}.{cursor}"));
        let mut index = usize::try_from(number).map_err(|_| unknown_place())?;
        let mut cursor = cursor;
        let mut found: Vec<Vec<u8>> = Vec::new();
        // On through the nodes, until there is a page of keys or an end.
        while found.len() < limit {
            let node = nodes.get(index).ok_or_else(unknown_place)?;
            let mut question = cmd("SCAN");
            question.arg(cursor).arg("MATCH").arg(pattern);
            question.arg("COUNT").arg(limit - found.len());
            let answer = connected.questions.route_command(question, to(node));
            let answer = self.answer(answer).await?;
            let (following, some): (u64, Vec<Vec<u8>>) = from_redis_value(answer)
                .map_err(|error| unavailable(&self.address, error.into()))?;
            found.extend(some);
            cursor = following;
            if following != 0 {
                break;
            }
            index += 1;
            if index == nodes.len() {
                return Ok(Keys { found, next: None });
            }
        }
        let next = Some(format!("{map}.{index}.{cursor}"));
        Ok(Keys { found, next })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let connected = self.questions().await?;
        // A slot without a primary may hold any session.
        connected
            .topology
            .is_whole()
            .map_err(|reason| StoreError::busy(format!("Redis at {}: {reason}", self.address)))?;
        let pings = connected.topology.primaries().iter().map(|node| {
            let mut connection = connected.questions.clone();
            async move { connection.route_command(cmd("PING"), to(node)).await }
        });
        self.answer(try_join_all(pings)).await.map(drop)
    }

    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError> {
        let connected = self.questions().await?;
        let clocks = connected.topology.primaries().iter().map(|node| {
            let mut connection = connected.questions.clone();
            async move {
                let asked = connection.route_command(cmd("TIME"), to(node));
                let answer = timeout(COMMAND, asked).await;
                StoreClock {
                    of: node.to_string(),
                    time: answer.ok().and_then(Result::ok).and_then(time),
                }
            }
        });
        Ok(join_all(clocks).await)
    }

    fn admitted(&self) -> Result<(), StoreError> {
        complaint(&self.address, &self.fitness, |seen| seen.refused.as_deref())
    }

    fn fit(&self) -> Result<(), StoreError> {
        complaint(&self.address, &self.fitness, |seen| seen.unfit.as_deref())
    }

    async fn tried(&self) {
        let _ = timeout(CONNECT * 2, self.state.clone().changed()).await;
    }
}

/// The call as one command that needs no script to be there already.
fn eval(call: &Call) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(call.script.text).arg(call.keys.len());
    for key in &call.keys {
        eval.arg(key);
    }
    for argument in &call.arguments {
        eval.arg(argument);
    }
    eval
}
