//! Random sequences of calls: each backend answers as the one in memory does.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store::{
    Backend, EmbeddedBackend, Index, Key, Kind, MemoryBackend, Record, RedisBackend, RedisOptions,
    Swap,
};
use testkit::redis::RedisServer;
use tokio::runtime::Runtime;

/// One call. What a swap expects is what was read last under that key, if `informed`, else nothing.
#[derive(Debug, Clone)]
enum Call {
    Read,
    Swap {
        id: u8,
        informed: bool,
        new: Option<(u8, Option<i64>)>,
    },
    Insert {
        index: u8,
        member: String,
        life: Option<i64>,
    },
    Remove {
        index: u8,
        member: String,
    },
    List {
        index: u8,
        after: Option<String>,
        limit: usize,
    },
    Sweep,
    /// Time goes on.
    Wait(i64),
}

const IDS: u8 = 3;

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let life = || proptest::option::weighted(0.7, 0..20_000_i64);
    let member = || "[a-c(\\[é]{1,2}";
    let call = prop_oneof![
        2 => Just(Call::Read),
        6 => (0..IDS, any::<bool>(), proptest::option::weighted(0.8, (any::<u8>(), life())))
            .prop_map(|(id, informed, new)| Call::Swap { id, informed, new }),
        3 => (0..2_u8, member(), life())
            .prop_map(|(index, member, life)| Call::Insert { index, member, life }),
        1 => (0..2_u8, member()).prop_map(|(index, member)| Call::Remove { index, member }),
        2 => (0..2_u8, proptest::option::of(member()), 0..4_usize)
            .prop_map(|(index, after, limit)| Call::List { index, after, limit }),
        1 => Just(Call::Sweep),
        3 => (0..10_000_i64).prop_map(Call::Wait),
    ];
    proptest::collection::vec(call, 1..40)
}

fn key(id: u8) -> Key {
    Key::new(Kind::Client, id.to_string())
}

fn index(number: u8) -> Index {
    match number {
        0 => Index::Clients,
        _ => Index::SessionsOfClient("c".to_owned()),
    }
}

/// Everything that can be seen after each call, as text.
async fn answers(backend: &dyn Backend, calls: &[Call]) -> Vec<String> {
    let mut now = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
    let keys: Vec<_> = (0..IDS).map(key).collect();
    let mut known: Vec<Option<Record>> = vec![None; keys.len()];
    let mut seen = Vec::new();
    let end = |now: Timestamp, life: i64| {
        Timestamp::from_millisecond(now.as_millisecond() + life).unwrap()
    };
    for call in calls {
        match call {
            Call::Read => {
                known = backend.read(&keys, now).await.unwrap();
                let bytes: Vec<_> = known
                    .iter()
                    .flatten()
                    .map(|record| (record.bytes().to_vec(), record.expires_at()))
                    .collect();
                seen.push(format!("{bytes:?}"));
            }
            Call::Swap { id, informed, new } => {
                let place = usize::from(*id);
                let expected = known[place].clone().filter(|_| *informed);
                let new = new
                    .map(|(byte, life)| Record::new(vec![byte], life.map(|life| end(now, life))));
                let swap = Swap {
                    key: &keys[place],
                    expected: expected.as_ref(),
                    new: new.as_ref(),
                    event: None,
                };
                let swapped = backend.swap(swap, now).await.unwrap();
                if swapped == store::Swapped::Done {
                    known[place] = new;
                }
                seen.push(format!("{swapped:?}"));
            }
            Call::Insert {
                index: number,
                member,
                life,
            } => {
                let end = life.map(|life| end(now, life));
                backend
                    .index_insert(&index(*number), member, end, now)
                    .await
                    .unwrap();
            }
            Call::Remove {
                index: number,
                member,
            } => backend.index_remove(&index(*number), member).await.unwrap(),
            Call::List {
                index: number,
                after,
                limit,
            } => {
                let listed = backend
                    .index_members(&index(*number), after.as_deref(), *limit, now)
                    .await
                    .unwrap();
                let count = backend.index_len(&index(*number), now).await.unwrap();
                seen.push(format!("{listed:?} of {count}"));
            }
            // How many it removes is the backend's own business.
            Call::Sweep => drop(backend.sweep(now, 3).await.unwrap()),
            Call::Wait(milliseconds) => now = end(now, *milliseconds),
        }
    }
    seen
}

/// Runs `cases` sequences on memory and on what `open` makes empty for each.
fn compare(runtime: &Runtime, cases: u32, open: impl Fn() -> Arc<dyn Backend>) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&calls(), |calls| {
        let expected = runtime.block_on(answers(&MemoryBackend::new(), &calls));
        let backend = open();
        let seen = runtime.block_on(answers(&*backend, &calls));
        prop_assert_eq!(seen, expected);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn one_file_answers_as_memory_does() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    compare(&runtime, 64, || {
        number.set(number.get() + 1);
        let path = directory.path().join(format!("{}.redb", number.get()));
        Arc::new(runtime.block_on(EmbeddedBackend::open(path)).unwrap())
    });
}

#[test]
fn redis_answers_as_memory_does() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(RedisServer::start()).unwrap();
    let number = std::cell::Cell::new(0);
    compare(&runtime, 128, || {
        number.set(number.get() + 1);
        let options = RedisOptions {
            password: Some(RedisServer::PASSWORD.to_owned()),
            prefix: format!("case-{}:", number.get()),
            ..RedisOptions::new(server.url())
        };
        Arc::new(runtime.block_on(RedisBackend::open(options)).unwrap())
    });
}
