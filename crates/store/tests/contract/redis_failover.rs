//! Another server becomes the primary in the middle of the traffic: no wrong answer, and the new one is found without help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use store::{Backend, Event, EventFeed, Key, Kind, Notice, Record, StoreError, Swap, Swapped};
use testkit::redis::{self, RedisCluster, RedisSentinels, RedisServer};
use testkit::wait;

use crate::redis_kinds::open_with;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const PREFIX: &str = "mcp-auth:";

/// Records that are counted up by the traffic; those of a cluster are on all of its servers.
const RECORDS: usize = 8;

/// How soon changes go on once another server is the primary.
const RECOVERY: Duration = Duration::from_secs(5);

fn key(number: usize) -> Key {
    Key::new(Kind::Session, format!("session-{number}"))
}

fn counted(count: u64) -> Record {
    Record::new(count.to_string().into_bytes(), None)
}

fn count_in(record: &Record) -> u64 {
    str::from_utf8(record.bytes()).unwrap().parse().unwrap()
}

/// Counts records up, and looks from another instance whether what was answered as done is there.
struct Traffic {
    writer: Arc<dyn Backend>,
    reader: Arc<dyn Backend>,
    /// What was answered as done at last, of each record.
    done: [AtomicU64; RECORDS],
    /// What may be done although it was not answered.
    tried: [AtomicU64; RECORDS],
    changes: AtomicU64,
    reads: AtomicU64,
    refusals: AtomicU64,
    /// Whether no change begins, and how many are under way.
    is_held: AtomicBool,
    under_way: AtomicU64,
    is_over: AtomicBool,
}

impl Traffic {
    async fn start(url: &str) -> Arc<Self> {
        let traffic = Arc::new(Self {
            writer: open_with(url, PREFIX).await,
            reader: open_with(url, PREFIX).await,
            done: Default::default(),
            tried: Default::default(),
            changes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        for number in 0..RECORDS {
            let (key, new) = (key(number), counted(0));
            let swap = Swap {
                key: &key,
                expected: None,
                new: Some(&new),
                event: None,
            };
            let swapped = traffic.writer.swap(swap, NOW).await.unwrap();
            assert_eq!(swapped, Swapped::Done);
        }
        traffic
    }

    /// One change of one record: from what is there to one more.
    async fn change(&self, number: usize) -> Result<(), StoreError> {
        let key = key(number);
        let least = self.done[number].load(Ordering::SeqCst);
        let there = self.writer.read(std::slice::from_ref(&key), NOW).await?;
        let there = there[0].clone().unwrap();
        self.check(number, &there, least);
        let new = counted(count_in(&there) + 1);
        self.tried[number].fetch_max(count_in(&new), Ordering::SeqCst);
        let swap = Swap {
            key: &key,
            expected: Some(&there),
            new: Some(&new),
            event: Some(&Event::SessionChanged(format!("session-{number}"))),
        };
        match self.writer.swap(swap, NOW).await? {
            Swapped::Done => {
                self.done[number].fetch_max(count_in(&new), Ordering::SeqCst);
                self.changes.fetch_add(1, Ordering::SeqCst);
            }
            // Only when the one before was done without an answer; and nobody else changes it.
            Swapped::Conflict => {}
        }
        Ok(())
    }

    /// What was read is neither older than what was answered as done, nor newer than what anybody tried.
    fn check(&self, number: usize, there: &Record, least: u64) {
        let count = count_in(there);
        assert!(
            count >= least,
            "{count} is older than {least}, which was done"
        );
        let most = self.tried[number].load(Ordering::SeqCst);
        assert!(count <= most, "{count} was never written");
    }

    async fn write(self: Arc<Self>, number: usize) {
        while !self.is_over.load(Ordering::SeqCst) {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            if !self.is_held.load(Ordering::SeqCst) && self.change(number).await.is_err() {
                self.refusals.fetch_add(1, Ordering::SeqCst);
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn read(self: Arc<Self>, number: usize) {
        while !self.is_over.load(Ordering::SeqCst) {
            let least = self.done[number].load(Ordering::SeqCst);
            let started = Instant::now();
            match self.reader.read(&[key(number)], NOW).await {
                Ok(found) => {
                    let found = found[0].as_ref().unwrap();
                    self.check(number, found, least);
                    self.reads.fetch_add(1, Ordering::SeqCst);
                }
                Err(StoreError::Unavailable { .. }) => {
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => panic!("{error}"),
            }
            assert!(
                started.elapsed() < Duration::from_secs(4),
                "{:?}",
                started.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets no change begin, and waits for the end of those that have.
    async fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
        let is_quiet = || self.under_way.load(Ordering::SeqCst) == 0;
        wait::until_true("the end of changes", wait::PATIENCE, is_quiet)
            .await
            .unwrap();
    }

    /// Waits for so many more changes of each kind.
    async fn goes_on(&self, limit: Duration) {
        let (changes, reads) = (&self.changes, &self.reads);
        let (before, read_before) = (changes.load(Ordering::SeqCst), reads.load(Ordering::SeqCst));
        wait::until_true("traffic that goes on", limit, || {
            changes.load(Ordering::SeqCst) > before + 50
                && reads.load(Ordering::SeqCst) > read_before + 50
        })
        .await
        .unwrap();
    }
}

/// Lets traffic flow, does `strike` while no change is under way that a replica might not have yet, and expects the traffic
/// to go on by itself, with events, within [`RECOVERY`] of what `struck` waits for.
async fn survive(
    url: &str,
    strike: impl AsyncFnOnce(),
    struck: impl AsyncFnOnce(),
) -> (Arc<Traffic>, tokio::task::JoinSet<()>) {
    let traffic = Traffic::start(url).await;
    let mut feed = traffic.reader.events();
    until_connected(&feed).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..RECORDS {
        tasks.spawn(Arc::clone(&traffic).write(number));
        tasks.spawn(Arc::clone(&traffic).read(number));
    }
    traffic.goes_on(wait::PATIENCE).await;
    traffic.hold().await;
    strike().await;
    traffic.is_held.store(false, Ordering::SeqCst);
    struck().await;
    let started = Instant::now();
    traffic.goes_on(RECOVERY).await;
    for number in 0..RECORDS {
        // Each of them, wherever it is.
        wait::until("a change", RECOVERY, || async {
            traffic.change(number).await.ok()
        })
        .await
        .unwrap();
    }
    eprintln!("the traffic went on after {:?}", started.elapsed());
    assert!(
        traffic.refusals.load(Ordering::SeqCst) > 0,
        "nothing was noticed: was it struck?"
    );
    hears(&traffic, &mut feed).await;
    (traffic, tasks)
}

async fn end(traffic: Arc<Traffic>, tasks: tokio::task::JoinSet<()>) {
    traffic.is_over.store(true, Ordering::SeqCst);
    // A panic in one of them is the verdict.
    tasks.join_all().await;
}

async fn until_connected(feed: &EventFeed) {
    let mut connected = feed.connected();
    let waiting = connected.wait_for(|connected| *connected);
    tokio::time::timeout(wait::PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
}

/// Whoever listens was told to forget what it knew, and a change of each record is heard of again.
async fn hears(traffic: &Traffic, feed: &mut EventFeed) {
    let heard = async { while feed.next().await != Some(Notice::Restored) {} };
    tokio::time::timeout(wait::PATIENCE, heard).await.unwrap();
    for number in 0..RECORDS {
        let event = Event::SessionChanged(format!("session-{number}"));
        let told = async { while feed.next().await != Some(Notice::Changed(event.clone())) {} };
        traffic.change(number).await.unwrap();
        tokio::time::timeout(wait::PATIENCE, told).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_that_sentinel_chooses_is_found() {
    let servers = RedisSentinels::start(3).await.unwrap();
    let url = servers.url();
    let (traffic, tasks) = survive(
        &url,
        async || {
            servers.in_step().await.unwrap();
            // It hangs, and wakes up later still taking itself for the primary.
            servers.servers[0].freeze().unwrap();
        },
        async || servers.until_failed_over().await.unwrap(),
    )
    .await;
    servers.servers[0].thaw().unwrap();
    traffic.goes_on(RECOVERY).await;
    let demoted = || async {
        let role: String = servers.servers[0]
            .query(&["INFO", "replication"])
            .await
            .ok()?;
        role.contains("role:slave").then_some(())
    };
    wait::until("the old primary as a replica", wait::PATIENCE, demoted)
        .await
        .unwrap();
    traffic.goes_on(RECOVERY).await;
    end(traffic, tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_goes_on() {
    let mut servers = RedisCluster::start().await.unwrap();
    let url = servers.url();
    let mut lost = servers.primaries.remove(0);
    let (traffic, tasks) = survive(
        &url,
        async || {
            redis::in_step(&lost, &servers.replica).await.unwrap();
            lost.kill().await.unwrap();
        },
        async || {
            wait::until("a new primary", wait::PATIENCE, || async {
                let info: String = servers.replica.query(&["INFO", "replication"]).await.ok()?;
                info.contains("role:master").then_some(())
            })
            .await
            .unwrap();
        },
    )
    .await;
    end(traffic, tasks).await;
}

/// A slot that moves to another node is followed, also while it is on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed() {
    let servers = RedisCluster::start().await.unwrap();
    let backend = open_with(&servers.url(), PREFIX).await;
    let (from, to) = (servers.primary(1).unwrap(), servers.primary(2).unwrap());
    let [from_id, to_id]: [String; 2] = [
        from.query(&["CLUSTER", "MYID"]).await.unwrap(),
        to.query(&["CLUSTER", "MYID"]).await.unwrap(),
    ];
    // A record in a slot of the second server.
    let mut found = None;
    for number in 0..1000 {
        let name = format!("{PREFIX}{}", key(number));
        let slot: u64 = from.query(&["CLUSTER", "KEYSLOT", &name]).await.unwrap();
        if (5461..=10922).contains(&slot) {
            found = Some((key(number), name, slot.to_string()));
            break;
        }
    }
    let (key, name, slot) = found.unwrap();
    let change = async |from: Option<u64>, to: u64| {
        let (expected, new) = (from.map(counted), counted(to));
        let swap = Swap {
            key: &key,
            expected: expected.as_ref(),
            new: Some(&new),
            event: None,
        };
        assert_eq!(backend.swap(swap, NOW).await.unwrap(), Swapped::Done);
        let read = backend.read(std::slice::from_ref(&key), NOW).await.unwrap();
        assert_eq!(read, [Some(new)]);
    };
    change(None, 1).await;
    // So many that no server is looked through in one page.
    for number in 0..200 {
        let (key, new) = (Key::new(Kind::Client, number.to_string()), counted(0));
        let swap = Swap {
            key: &key,
            expected: None,
            new: Some(&new),
            event: None,
        };
        assert_eq!(backend.swap(swap, NOW).await.unwrap(), Swapped::Done);
    }
    let scan = |cursor| store::Scan {
        kind: Kind::Client,
        prefix: "",
        cursor,
        limit: 1,
    };
    let page = backend.scan(scan(None), NOW).await.unwrap();
    let order = async |server: &RedisServer, words: &[&str]| {
        let answer: String = server.query(words).await.unwrap();
        assert_eq!(answer, "OK", "{words:?}");
    };
    order(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    order(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    change(Some(1), 2).await;
    let port = to.address().port().to_string();
    let password = RedisServer::PASSWORD;
    order(
        from,
        &[
            "MIGRATE",
            "127.0.0.1",
            &port,
            &name,
            "0",
            "1000",
            "AUTH",
            password,
        ],
    )
    .await;
    // The slot is here still, its record there already.
    change(Some(2), 3).await;
    for server in [to, from, servers.primary(0).unwrap()] {
        order(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
    }
    change(Some(3), 4).await;
    // A list that was begun before would miss what has moved.
    wait::until("an old list that is refused", wait::PATIENCE, || async {
        let old = backend.scan(scan(page.next.as_deref()), NOW).await;
        matches!(old, Err(StoreError::UnknownCursor { .. })).then_some(())
    })
    .await
    .unwrap();
}
