//! Redis (or Valkey), for any number of instances.
//!
//! Reads go through one shared connection ([`line`]); changes are Lua scripts over a pool, each on the keys of one slot;
//! events come by a subscription ([`events`]). Redis expires keys by itself, a minute later than the record in them ends:
//! the end in the record, compared with the caller's `now`, is what decides.

mod events;
mod line;
mod options;
mod predecessor;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use deadpool_redis::redis::{Client, ErrorKind, FromRedisValue, RedisError, Script, pipe};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::line::SharedLine;
pub use self::options::RedisOptions;
use self::options::{CHANGE, COMMAND, CONNECT, POOL_SIZE, WAIT, connection_config};
pub use self::predecessor::{Predecessor, PredecessorClient};
use crate::backend::{
    Backend, Event, EventFeed, EventHub, Index, Key, OpenError, Page, Record, Scan, StoreError,
    Swap, Swapped,
};
use crate::counters::{Admission, Count, Quota};
use crate::encoding;

/// How much longer than its record a key lives. More than the clocks of two instances differ, so that no instance misses
/// what another still counts.
const GRACE_MILLISECONDS: i64 = 60_000;

/// Records in Redis.
pub struct RedisBackend {
    address: String,
    prefix: String,
    line: SharedLine,
    pool: Pool,
    scripts: Scripts,
    events: Arc<EventHub>,
    runtime: Handle,
    /// They end with this value.
    _tasks: JoinSet<()>,
}

struct Scripts {
    swap: Arc<Script>,
    index_insert: Arc<Script>,
    index_remove: Arc<Script>,
    index_members: Arc<Script>,
    admit: Arc<Script>,
}

impl Scripts {
    fn new() -> Self {
        let script = |code| Arc::new(Script::new(code));
        Self {
            swap: script(include_str!("swap.lua")),
            index_insert: script(include_str!("index_insert.lua")),
            index_remove: script(include_str!("index_remove.lua")),
            index_members: script(include_str!("index_members.lua")),
            admit: script(include_str!("admit.lua")),
        }
    }
}

/// One call of a script. All keys are in one slot.
struct Call {
    script: Arc<Script>,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl RedisBackend {
    /// Begins to connect. It fails for an address that is none; a Redis that cannot be reached is tried for ever, and
    /// meanwhile each call fails with [`StoreError::Unavailable`]. Call it in the runtime that lives as long as the
    /// process.
    pub async fn open(options: RedisOptions) -> Result<Self, OpenError> {
        // The provider for `rediss://`. One that the program has chosen before stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let info = options.connection_info()?;
        let address = info.addr().to_string();
        let refused = |_| OpenError::RedisUrl {
            reason: "it is not supported by this build".to_owned(),
        };
        let client = Client::open(info.clone()).map_err(refused)?;
        let manager = Manager::new_with_config(info, connection_config()).map_err(refused)?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(COMMAND))
            .build()
            .map_err(|_| OpenError::RedisUrl {
                reason: "no pool of connections could be made for it".to_owned(),
            })?;
        let events = Arc::new(EventHub::new(false));
        let (line, keeper) = SharedLine::new(
            client.clone(),
            address.clone(),
            format!("{}format", options.prefix),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper);
        let channel = format!("{}events", options.prefix);
        tasks.spawn(events::listen(client, channel, Arc::clone(&events)));
        line.tried().await;
        Ok(Self {
            address,
            prefix: options.prefix,
            line,
            pool,
            scripts: Scripts::new(),
            events,
            runtime: Handle::current(),
            _tasks: tasks,
        })
    }

    /// Runs a script to its end, also when the caller goes away. It is sent once: when the connection is lost meanwhile, it
    /// has run wholly or not at all. `subject` is what an error about the stored data names.
    async fn run<T>(&self, call: Call, subject: &(dyn fmt::Display + Sync)) -> Result<T, StoreError>
    where
        T: FromRedisValue + Send + 'static,
    {
        self.line.admitted()?;
        let pool = self.pool.clone();
        let task = self.runtime.spawn(async move {
            let mut connection = pool.get().await?;
            let mut invocation = call.script.prepare_invoke();
            for key in &call.keys {
                invocation.key(key);
            }
            for argument in &call.arguments {
                invocation.arg(argument);
            }
            let answer = invocation.invoke_async(&mut connection).await;
            if let Err(error) = &answer
                && line::is_broken(error)
            {
                drop(Connection::take(connection));
            }
            answer.map_err(PoolError::Backend)
        });
        match timeout(CHANGE, task).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(PoolError::Backend(error)))) => match error.code() {
                Some("CORRUPT" | "WRONGTYPE") => {
                    Err(StoreError::corrupt(subject, error.to_string()))
                }
                _ => Err(unavailable(&self.address, error)),
            },
            Ok(Ok(Err(error))) => Err(StoreError::unavailable(
                format!("Redis at {}: no connection: {error}", self.address),
                error,
            )),
            Ok(Err(error)) => Err(StoreError::unavailable(
                format!("Redis at {}: the command was not finished", self.address),
                error,
            )),
            Err(elapsed) => Err(StoreError::unavailable(
                format!("Redis at {}: no answer within {CHANGE:?}", self.address),
                elapsed,
            )),
        }
    }

    fn record_key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn channel(&self) -> String {
        format!("{}events", self.prefix)
    }

    /// The two keys of an index. The braces put them into one slot of a cluster.
    fn index_keys(&self, index: &Index) -> [String; 2] {
        ["names", "ends"].map(|half| format!("{}{{index:{index}}}:{half}", self.prefix))
    }
}

/// What went wrong, for people. The library's texts never contain the password.
fn explain(error: &RedisError) -> String {
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

fn unavailable(address: &str, error: RedisError) -> StoreError {
    StoreError::unavailable(format!("Redis at {address}: {}", explain(&error)), error)
}

fn milliseconds(instant: Timestamp) -> Vec<u8> {
    instant.as_millisecond().to_string().into_bytes()
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
        // Not MGET, whose keys must share a slot in a cluster.
        let mut question = pipe();
        for key in keys {
            question.get(self.record_key(key));
        }
        let values: Vec<Option<Vec<u8>>> = self.line.ask(&question).await?;
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
        let unknown = |cursor: &str| StoreError::UnknownCursor {
            cursor: cursor.to_owned(),
        };
        let cursor: u64 = match scan.cursor {
            Some(cursor) => cursor.parse().map_err(|_| unknown(cursor))?,
            None => 0,
        };
        let all_of_kind = self.record_key(&Key::new(scan.kind, ""));
        let pattern = format!("{}{}*", literal(&all_of_kind), literal(scan.prefix));
        let mut question = pipe();
        question
            .cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(scan.limit.max(1));
        let ((next, found),): ((u64, Vec<Vec<u8>>),) = self.line.ask(&question).await?;
        let keys: Vec<_> = found
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
            next: (next != 0).then(|| next.to_string()),
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
        let mut question = pipe();
        question.zcount(ends, format!("({}", now.as_millisecond()), "+inf");
        let (count,) = self.line.ask(&question).await?;
        Ok(count)
    }

    async fn admit(
        &self,
        counter: &str,
        quota: Quota,
        count: Count,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let microseconds = |number: i64| number.to_string().into_bytes();
        let call = Call {
            script: Arc::clone(&self.scripts.admit),
            keys: vec![format!("{}count:{counter}", self.prefix)],
            arguments: vec![
                microseconds(now.as_microsecond()),
                microseconds(quota.period()),
                microseconds(quota.cost()),
                match count {
                    Count::Take => b"1".to_vec(),
                    Count::Look => b"0".to_vec(),
                },
            ],
        };
        self.run(call, &counter).await.map(Admission::after)
    }

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        self.events.tell(event);
        let mut message = pipe();
        // An event may arrive twice, so this may be sent twice.
        message.publish(self.channel(), event_text(event)?).ignore();
        self.line.ask(&message).await
    }

    fn events(&self) -> EventFeed {
        self.events.feed()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut question = pipe();
        question.ping().ignore();
        let () = self.line.ask(&question).await?;
        self.line.fit()
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
