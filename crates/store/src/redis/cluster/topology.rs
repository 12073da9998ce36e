//! Which node has which slots.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};

use deadpool_redis::redis::{
    Client, ConnectionAddr, ConnectionInfo, RedisResult, Value, from_redis_value,
};

/// The slots of every cluster.
const SLOTS: u64 = 16_384;

/// A node, as the others name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Node {
    /// A client of this node that shows and wants what is shown to and wanted of that one.
    pub(super) fn client(&self, like: &ConnectionInfo) -> RedisResult<Client> {
        let addr = match like.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host: self.host.clone(),
                port: self.port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(self.host.clone(), self.port),
        };
        Client::open(like.clone().set_addr(addr))
    }
}

/// Who is the primary of which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    /// First slot, last slot, primary; in the order of slots.
    ranges: Vec<(u64, u64, Node)>,
    /// Each primary once, in order.
    primaries: Vec<Node>,
}

impl Topology {
    /// The answer to `CLUSTER SLOTS`.
    pub(super) fn parse(answer: Value) -> RedisResult<Self> {
        // Of each range: the first slot, the last one, the primary, replicas; of each node: host, port, and more.
        let rows: Vec<Vec<Value>> = from_redis_value(answer)?;
        let mut ranges = Vec::with_capacity(rows.len());
        for row in rows {
            let mut row = row.into_iter();
            let (Some(first), Some(last), Some(primary)) = (row.next(), row.next(), row.next())
            else {
                continue;
            };
            let mut primary = from_redis_value::<Vec<Value>>(primary)?.into_iter();
            let (Some(host), Some(port)) = (primary.next(), primary.next()) else {
                continue;
            };
            let node = Node {
                host: from_redis_value(host)?,
                port: from_redis_value(port)?,
            };
            ranges.push((from_redis_value(first)?, from_redis_value(last)?, node));
        }
        ranges.sort();
        let mut primaries: Vec<_> = ranges.iter().map(|(.., node)| node.clone()).collect();
        primaries.sort();
        primaries.dedup();
        Ok(Self { ranges, primaries })
    }

    /// Each primary once, in an order that only a change of the map changes.
    pub(super) fn primaries(&self) -> &[Node] {
        &self.primaries
    }

    /// Fails when there are slots that nobody has.
    pub(super) fn is_whole(&self) -> Result<(), String> {
        let covered: u64 = self
            .ranges
            .iter()
            .map(|(first, last, _)| last + 1 - first)
            .sum();
        if covered == SLOTS {
            Ok(())
        } else {
            Err(format!("only {covered} of its {SLOTS} slots have a node"))
        }
    }

    /// Another number for another map.
    pub(super) fn fingerprint(&self) -> u64 {
        // Its keys are fixed, so that every instance and every release of one toolchain gets the same number; another one
        // makes a list begin again.
        let mut hasher = DefaultHasher::new();
        self.ranges.hash(&mut hasher);
        hasher.finish()
    }
}
