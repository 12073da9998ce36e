//! Redis or Valkey, for any number of instances: one server ([`primary`]), the primary that Sentinel names (the same), or a
//! [`cluster`].
//!
//! Reads go through one shared connection; changes are Lua scripts, each on the keys of one slot; events come by a
//! subscription ([`events`]). Redis expires keys by itself, a minute later than the record in them ends: the end in the
//! record, compared with the caller's `now`, is what decides.

mod address;
mod cluster;
mod events;
mod fitness;
mod options;
mod predecessor;
mod primary;
mod servers;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use deadpool_redis::redis::{Cmd, FromRedisValue, RedisError, Script, cmd, from_redis_value};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::address::Address;
use self::cluster::Cluster;
use self::options::CHANGE;
pub use self::options::RedisOptions;
pub use self::predecessor::{Predecessor, PredecessorClient};
use self::primary::{Finder, Primary};
use self::servers::{Call, Code, Failure, Servers, unavailable};
use crate::backend::{
    Backend, Event, EventFeed, EventHub, Index, Key, OpenError, Page, Record, Scan, StoreClock,
    StoreError, Swap, Swapped,
};
use crate::counters::{Admission, Quota, Taken};
use crate::encoding;

/// How much longer than its record a key lives. More than the clocks of two instances differ, so that no instance misses
/// what another still counts.
const GRACE_MILLISECONDS: i64 = 60_000;

/// Records in Redis.
pub struct RedisBackend {
    address: String,
    prefix: String,
    servers: Arc<dyn Servers>,
    scripts: Scripts,
    events: Arc<EventHub>,
    runtime: Handle,
    /// They end with this value.
    _tasks: JoinSet<()>,
}

struct Scripts {
    swap: Arc<Code>,
    index_insert: Arc<Code>,
    index_remove: Arc<Code>,
    index_members: Arc<Code>,
    admit: Arc<Code>,
    give_back: Arc<Code>,
}

impl Scripts {
    fn new() -> Self {
        let code = |text| {
            Arc::new(Code {
                text,
                script: Script::new(text),
            })
        };
        Self {
            swap: code(include_str!("swap.lua")),
            index_insert: code(include_str!("index_insert.lua")),
            index_remove: code(include_str!("index_remove.lua")),
            index_members: code(include_str!("index_members.lua")),
            admit: code(include_str!("admit.lua")),
            give_back: code(include_str!("give_back.lua")),
        }
    }
}

impl RedisBackend {
    /// Begins to connect. It fails for an address that is none; a Redis that cannot be reached is tried for ever, and
    /// meanwhile each call fails with [`StoreError::Unavailable`]. Call it in the runtime that lives as long as the
    /// process.
    pub async fn open(options: RedisOptions) -> Result<Self, OpenError> {
        // The provider for `rediss://`. One that the program has chosen before stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shown = Address::of(&options)?;
        let address = shown.to_string();
        let refused = |_: RedisError| OpenError::RedisUrl {
            reason: "it is not supported by this build".to_owned(),
        };
        let format_key = format!("{}format", options.prefix);
        let mut tasks = JoinSet::new();
        let (servers, sources): (Arc<dyn Servers>, _) = match shown {
            Address::Cluster(nodes) => {
                let (cluster, sources, keeper) =
                    Cluster::new(&nodes, address.clone(), format_key).map_err(refused)?;
                tasks.spawn(keeper);
                (Arc::new(cluster), sources)
            }
            Address::Single(info) => {
                let finder = Finder::fixed(info).map_err(refused)?;
                primary(finder, &address, format_key, &mut tasks)
            }
            Address::Sentinel {
                sentinels,
                master,
                settings,
                is_tls,
            } => {
                let finder =
                    Finder::sentinel(sentinels, &master, settings, is_tls).map_err(refused)?;
                primary(finder, &address, format_key, &mut tasks)
            }
        };
        let events = Arc::new(EventHub::new(false));
        let channel = format!("{}events", options.prefix);
        tasks.spawn(events::listen(sources, channel, Arc::clone(&events)));
        servers.tried().await;
        Ok(Self {
            address,
            prefix: options.prefix,
            servers,
            scripts: Scripts::new(),
            events,
            runtime: Handle::current(),
            _tasks: tasks,
        })
    }

    /// Runs a script to its end, also when the caller goes away. `subject` is what an error about the stored data names.
    async fn run<T>(&self, call: Call, subject: &(dyn fmt::Display + Sync)) -> Result<T, StoreError>
    where
        T: FromRedisValue + Send + 'static,
    {
        self.servers.admitted()?;
        let servers = Arc::clone(&self.servers);
        // It ends in time: what is on its way is answered or given up there.
        let task = self
            .runtime
            .spawn(async move { timeout(CHANGE, servers.run(&call)).await });
        let failed =
            |reason: String| StoreError::busy(format!("Redis at {}: {reason}", self.address));
        match task.await {
            Ok(Ok(Ok(answer))) => {
                from_redis_value(answer).map_err(|error| unavailable(&self.address, error.into()))
            }
            Ok(Ok(Err(Failure::Redis(error)))) => match error.code() {
                Some("CORRUPT" | "WRONGTYPE") => {
                    Err(StoreError::corrupt(subject, error.to_string()))
                }
                _ => Err(unavailable(&self.address, error)),
            },
            Ok(Ok(Err(Failure::NoConnection(reason)))) => Err(failed(reason)),
            Ok(Err(_elapsed)) => Err(failed(format!("no answer within {CHANGE:?}"))),
            Err(error) => Err(StoreError::unavailable(
                format!("Redis at {}: the command was not finished", self.address),
                error,
            )),
        }
    }

    /// Asks something that may be asked again.
    async fn ask<T: FromRedisValue>(&self, question: Cmd) -> Result<T, StoreError> {
        let answer = self.servers.ask(question).await?;
        from_redis_value(answer).map_err(|error| unavailable(&self.address, error.into()))
    }

    fn record_key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn counter_key(&self, counter: &str) -> String {
        format!("{}count:{counter}", self.prefix)
    }

    fn channel(&self) -> String {
        format!("{}events", self.prefix)
    }

    /// The two keys of an index. The braces put them into one slot of a cluster.
    fn index_keys(&self, index: &Index) -> [String; 2] {
        ["names", "ends"].map(|half| format!("{}{{index:{index}}}:{half}", self.prefix))
    }
}

fn primary(
    finder: Finder,
    address: &str,
    format_key: String,
    tasks: &mut JoinSet<()>,
) -> (Arc<dyn Servers>, events::Sources) {
    let (primary, sources, keeper) = Primary::new(finder, address.to_owned(), format_key);
    tasks.spawn(keeper);
    (Arc::new(primary), sources)
}

fn milliseconds(instant: Timestamp) -> Vec<u8> {
    instant.as_millisecond().to_string().into_bytes()
}

fn microseconds(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A text as it stands in a pattern of `SCAN`, where some characters have a meaning.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// How long the key of something lives that ends then; empty for ever. Relative, so that the clock of the machine on which
/// Redis runs decides nothing.
fn life(expires_at: Option<Timestamp>, now: Timestamp) -> Vec<u8> {
    let Some(end) = expires_at else {
        return Vec::new();
    };
    let rest = end.as_millisecond().saturating_sub(now.as_millisecond());
    let life = rest.max(0).saturating_add(GRACE_MILLISECONDS);
    life.to_string().into_bytes()
}

#[async_trait]
impl Backend for RedisBackend {
    async fn read(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Record>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = keys.iter().map(|key| self.record_key(key)).collect();
        let values = self.servers.get(&names).await?;
        let decode = |(key, value): (&Key, Option<Vec<u8>>)| {
            let record = value.map(|value| encoding::decode(key, &value)).transpose();
            record.map(|record| record.filter(|record| !record.is_expired(now)))
        };
        keys.iter().zip(values).map(decode).collect()
    }

    async fn swap(&self, swap: Swap<'_>, now: Timestamp) -> Result<Swapped, StoreError> {
        let encoded = |record: Option<&Record>| record.map(encoding::encode).unwrap_or_default();
        let event = match swap.event {
            Some(event) => event_text(event)?,
            None => Vec::new(),
        };
        let call = Call {
            script: Arc::clone(&self.scripts.swap),
            keys: vec![self.record_key(swap.key)],
            arguments: vec![
                encoded(swap.expected),
                encoded(swap.new),
                milliseconds(now),
                life(swap.new.and_then(Record::expires_at), now),
                self.channel().into_bytes(),
                event,
            ],
        };
        let done: bool = self.run(call, swap.key).await?;
        if !done {
            return Ok(Swapped::Conflict);
        }
        if let Some(event) = swap.event {
            // This instance need not wait for its own message.
            self.events.tell(event);
        }
        Ok(Swapped::Done)
    }

    async fn scan(&self, scan: Scan<'_>, now: Timestamp) -> Result<Page, StoreError> {
        let all_of_kind = self.record_key(&Key::new(scan.kind, ""));
        let pattern = format!("{}{}*", literal(&all_of_kind), literal(scan.prefix));
        let limit = scan.limit.max(1);
        let page = self.servers.keys(&pattern, scan.cursor, limit).await?;
        let keys: Vec<_> = page
            .found
            .iter()
            .filter_map(|key| str::from_utf8(key).ok()?.strip_prefix(&all_of_kind))
            .map(|id| Key::new(scan.kind, id))
            .collect();
        let records = self.read(&keys, now).await?;
        Ok(Page {
            records: keys
                .into_iter()
                .zip(records)
                .filter_map(|(key, record)| Some((key, record?)))
                .collect(),
            next: page.next,
        })
    }

    async fn index_insert(
        &self,
        index: &Index,
        member: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let call = Call {
            script: Arc::clone(&self.scripts.index_insert),
            keys: self.index_keys(index).to_vec(),
            arguments: vec![
                member.as_bytes().to_vec(),
                expires_at.map_or_else(|| b"+inf".to_vec(), milliseconds),
                milliseconds(now),
                life(expires_at, now),
            ],
        };
        self.run(call, index).await
    }

    async fn index_remove(&self, index: &Index, member: &str) -> Result<(), StoreError> {
        let call = Call {
            script: Arc::clone(&self.scripts.index_remove),
            keys: self.index_keys(index).to_vec(),
            arguments: vec![member.as_bytes().to_vec()],
        };
        self.run(call, index).await
    }

    async fn index_members(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |member| format!("({member}"));
        let call = Call {
            script: Arc::clone(&self.scripts.index_members),
            keys: self.index_keys(index).to_vec(),
            arguments: vec![
                from.into_bytes(),
                limit.to_string().into_bytes(),
                milliseconds(now),
            ],
        };
        self.run(call, index).await
    }

    async fn index_len(&self, index: &Index, now: Timestamp) -> Result<u64, StoreError> {
        let [_, ends] = self.index_keys(index);
        let mut question = cmd("ZCOUNT");
        question.arg(ends).arg(format!("({}", now.as_millisecond()));
        question.arg("+inf");
        self.ask(question).await
    }

    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let now = now.as_microsecond();
        let call = Call {
            script: Arc::clone(&self.scripts.admit),
            keys: vec![self.counter_key(counter)],
            arguments: vec![
                microseconds(now),
                microseconds(quota.period()),
                microseconds(quota.cost()),
            ],
        };
        let wait = self.run(call, &counter).await?;
        Ok(Admission::after(wait, quota, now))
    }

    async fn give_back(
        &self,
        counter: &str,
        taken: Taken,
        quota: Quota,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now = now.as_microsecond();
        let call = Call {
            script: Arc::clone(&self.scripts.give_back),
            keys: vec![self.counter_key(counter)],
            arguments: vec![microseconds(now), microseconds(taken.unpaid(quota, now))],
        };
        self.run(call, &counter).await
    }

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        self.events.tell(event);
        let mut message = cmd("PUBLISH");
        // An event may arrive twice, so this may be sent twice.
        message.arg(self.channel()).arg(event_text(event)?);
        self.ask::<u64>(message).await.map(drop)
    }

    fn events(&self) -> EventFeed {
        self.events.feed()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.servers.ping().await?;
        self.servers.fit()
    }

    async fn clocks(&self) -> Result<Vec<StoreClock>, StoreError> {
        self.servers.clocks().await
    }

    /// Redis removes the keys of records by itself, and each insertion into an index removes names that have ended.
    async fn sweep(&self, _now: Timestamp, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

fn event_text(event: &Event) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(event)
        .map_err(|error| StoreError::unavailable("an event has no JSON form", error))
}
