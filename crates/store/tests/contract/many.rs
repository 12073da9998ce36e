//! What `/verify` asks of the store, with a million grants in it and with a thousand: `just test-size`.
//!
//! Both stores are asked in turn, in one run, so that what else happens on the machine hits both. Nothing is asserted about speed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use store::{Backend, EmbeddedBackend, Index, Key, Kind, MemoryBackend, Record, Swap, Swapped};
use testkit::redis::RedisServer;

use crate::redis_kinds::open_with;

const MIB: u64 = 1024 * 1024;

/// Grants in the small store.
const FEW: u64 = 1000;
/// Grants of one client.
const PER_CLIENT: u64 = 10;
/// Questions of one turn.
const QUESTIONS: u64 = 2000;
/// Turns of each store.
const TURNS: u64 = 15;

/// Sizes of the JSON of a client, a session and a person, as they are stored.
const SIZES: [usize; 3] = [460, 640, 150];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An id of the usual length that looks like chance, the same for the same number.
fn id(number: u64) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}{:06x}", number & 0xff_ffff)
}

fn client(number: u64) -> Key {
    Key::new(Kind::Client, format!("mcp-{}", id(number / PER_CLIENT)))
}

fn session(number: u64) -> Key {
    Key::new(Kind::Session, id(number))
}

fn person(number: u64) -> Key {
    Key::new(Kind::Person, format!("github:{}", number / PER_CLIENT))
}

async fn put(backend: &dyn Backend, key: &Key, size: usize, end: Option<Timestamp>) {
    let record = Record::new(vec![b'x'; size], end);
    let swap = Swap {
        key,
        expected: None,
        new: Some(&record),
        event: None,
    };
    assert_eq!(backend.swap(swap, at(0)).await.unwrap(), Swapped::Done);
}

/// One grant, with its client and its person if it is their first, listed where the service lists it.
async fn grant(backend: &dyn Backend, number: u64) {
    let end = Some(at(1_000_000));
    let [of_client, of_session, of_person] = SIZES;
    if number.is_multiple_of(PER_CLIENT) {
        let key = client(number);
        put(backend, &key, of_client, end).await;
        let listed = backend.index_insert(&Index::Clients, key.id(), end, at(0));
        listed.await.unwrap();
        let key = person(number);
        put(backend, &key, of_person, None).await;
        let listed = backend.index_insert(&Index::People, key.id(), None, at(0));
        listed.await.unwrap();
    }
    let key = session(number);
    put(backend, &key, of_session, end).await;
    for index in [
        Index::Sessions,
        Index::SessionsOfPerson(person(number).id().to_owned()),
        Index::SessionsOfClient(client(number).id().to_owned()),
    ] {
        let listed = backend.index_insert(&index, key.id(), end, at(0));
        listed.await.unwrap();
    }
}

async fn fill(backend: &Arc<dyn Backend>, grants: u64) {
    stream::iter(0..grants)
        .for_each_concurrent(512, |number| async move { grant(&**backend, number).await })
        .await;
}

/// How long one question takes, on the average of a turn; eight are asked at a time.
async fn turn(backend: &Arc<dyn Backend>, grants: u64, seed: u64) -> Duration {
    let began = Instant::now();
    stream::iter(0..QUESTIONS)
        .for_each_concurrent(8, |question| async move {
            let number = (question + seed * QUESTIONS).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let number = number % grants;
            let keys = [session(number), client(number), person(number)];
            let found = backend.read(&keys, at(1)).await.unwrap();
            assert!(found.iter().all(Option::is_some), "{number}");
        })
        .await;
    began.elapsed() / u32::try_from(QUESTIONS).unwrap()
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort();
    of[of.len() / 2]
}

async fn compare(name: &str, few: Arc<dyn Backend>, many: Arc<dyn Backend>, grants: u64) {
    fill(&few, FEW).await;
    let began = Instant::now();
    fill(&many, grants).await;
    let filled = began.elapsed();
    let (mut times, mut times_of_many) = (Vec::new(), Vec::new());
    for seed in 0..TURNS {
        times.push(turn(&few, FEW, seed).await);
        times_of_many.push(turn(&many, grants, seed).await);
    }
    let mut ratios: Vec<_> = times
        .iter()
        .zip(&times_of_many)
        .map(|(few, many)| many.div_duration_f64(*few))
        .collect();
    ratios.sort_by(f64::total_cmp);
    eprintln!(
        "{name}: a question takes {:?} with {FEW} grants, {:?} with {grants}: {:.2} times as long (filled in {filled:.0?})",
        median(times),
        median(times_of_many),
        ratios[ratios.len() / 2],
    );
}

/// What this process keeps in memory.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn grants() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how many, from just test-size")]
    let wanted = std::env::var("STORE_TEST_GRANTS").ok();
    wanted
        .and_then(|wanted| wanted.parse().ok())
        .unwrap_or(1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just test-size"]
async fn many_grants_in_memory() {
    let before = memory();
    let many: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    compare(
        "memory",
        Arc::new(MemoryBackend::new()),
        Arc::clone(&many),
        grants(),
    )
    .await;
    println!("memory: {} MiB", (memory() - before) / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just test-size"]
async fn many_grants_in_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.redb");
    let before = memory();
    let few = EmbeddedBackend::open(directory.path().join("few.redb"))
        .await
        .unwrap();
    let many: Arc<dyn Backend> = Arc::new(EmbeddedBackend::open(&path).await.unwrap());
    compare("redb", Arc::new(few), Arc::clone(&many), grants()).await;
    let file = std::fs::metadata(&path).unwrap();
    println!(
        "redb: the file has {} MiB, {} MiB of them on the disk; the process {} MiB",
        file.len() / MIB,
        std::os::unix::fs::MetadataExt::blocks(&file) * 512 / MIB,
        (memory().saturating_sub(before)) / MIB
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just test-size"]
async fn many_grants_in_redis() {
    let settings = ["appendonly no"];
    let (few, many) = (
        RedisServer::start_with(&settings).await.unwrap(),
        RedisServer::start_with(&settings).await.unwrap(),
    );
    let stores = (
        open_with(&few.url(), "mcp-auth:").await,
        open_with(&many.url(), "mcp-auth:").await,
    );
    compare("Redis", stores.0, stores.1, grants()).await;
    let info: String = many.query(&["INFO", "memory"]).await.unwrap();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory_human:"));
    println!("Redis: {} of memory", used.unwrap_or("?"));
}
