//! How large the file gets, and that the sweep lets it be used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use store::{Backend, EmbeddedBackend, Index, Key, Kind, Record, Swap, Swapped, Upkeep};
use testkit::wait;

const MIB: u64 = 1024 * 1024;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Stores `count` sessions of a usual size that end at second 100, each with its entry in an index.
async fn fill(backend: &Arc<EmbeddedBackend>, round: i64, count: u32) {
    let now = at(round * 1000);
    let end = at(round * 1000 + 100);
    stream::iter(0..count)
        .for_each_concurrent(256, |number| {
            let backend = Arc::clone(backend);
            async move {
                let id = format!("{round}-{number:0>40}");
                let record = Record::new(vec![b'x'; 600], Some(end));
                let key = Key::new(Kind::Session, &id);
                let swap = Swap {
                    key: &key,
                    expected: None,
                    new: Some(&record),
                    event: None,
                };
                assert_eq!(backend.swap(swap, now).await.unwrap(), Swapped::Done);
                backend
                    .index_insert(&Index::Sessions, &id, Some(end), now)
                    .await
                    .unwrap();
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swept_file_does_not_grow() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let size = || std::fs::metadata(&path).unwrap().len();
    let backend = Arc::new(EmbeddedBackend::open(&path).await.unwrap());
    let count = 5_000;
    let mut sizes = Vec::new();
    for round in 0..4 {
        fill(&backend, round, count).await;
        let mut removed = 0;
        loop {
            let some = backend.sweep(at(round * 1000 + 100), 1000).await.unwrap();
            removed += some;
            if some == 0 {
                break;
            }
        }
        assert_eq!(removed, 2 * count as usize);
        sizes.push(size());
    }
    // About 1 KiB each, and as much again for the pages that a commit replaces.
    assert!(sizes.iter().all(|size| *size < 16 * MIB), "{sizes:?}");
}

/// What was large once becomes small again, while it is read and changed, and nothing is lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_mostly_air_is_compacted_while_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let size = || std::fs::metadata(&path).unwrap().len();
    let upkeep = Upkeep {
        compact_from: 4 * MIB,
        look_every: Duration::ZERO,
    };
    let backend = Arc::new(EmbeddedBackend::open_with(&path, upkeep).await.unwrap());
    fill(&backend, 0, 10_000).await;
    let large = size();
    assert!(large > 8 * MIB, "{large}");
    // Some that stay, changed all the time.
    let key = |number: u32| Key::new(Kind::Client, number.to_string());
    let text = |count: u64| Record::new(count.to_string().into_bytes(), Some(at(1_000_000)));
    let is_over = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> = (0..8)
        .map(|number| {
            let (backend, is_over) = (Arc::clone(&backend), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (key, mut count, mut old) = (key(number), 0_u64, None);
                while !is_over.load(Ordering::Relaxed) {
                    let new = text(count);
                    let swap = Swap {
                        key: &key,
                        expected: old.as_ref(),
                        new: Some(&new),
                        event: None,
                    };
                    assert_eq!(backend.swap(swap, at(50)).await.unwrap(), Swapped::Done);
                    let found = backend
                        .read(std::slice::from_ref(&key), at(50))
                        .await
                        .unwrap();
                    assert_eq!(found, [Some(new.clone())]);
                    let end = Some(at(1_000_000));
                    backend
                        .index_insert(&Index::Clients, key.id(), end, at(50))
                        .await
                        .unwrap();
                    (old, count) = (Some(new), count + 1);
                }
                old
            })
        })
        .collect();
    while backend.sweep(at(100), 1000).await.unwrap() > 0 {}
    wait::until_true("a small file", wait::PATIENCE, || size() < large / 4)
        .await
        .unwrap();
    is_over.store(true, Ordering::Relaxed);
    let mut last = Vec::new();
    for task in traffic {
        last.push(task.await.unwrap());
    }
    let check = async |backend: &EmbeddedBackend| {
        let keys: Vec<_> = (0..8).map(key).collect();
        assert_eq!(backend.read(&keys, at(50)).await.unwrap(), last);
        for (index, expected) in [(Index::Clients, 8), (Index::Sessions, 0)] {
            let listed = backend.index_len(&index, at(50)).await.unwrap();
            assert_eq!(listed, expected, "{index}");
        }
    };
    check(&*backend).await;
    drop(backend);
    check(&EmbeddedBackend::open(&path).await.unwrap()).await;
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside it");
}

/// What an installation is promised to need at most: 10 000 clients and 100 000 grants, each with its names in three
/// indexes; and then all of them refreshed once. `just test-size` says how large the file was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: just test-size"]
async fn a_large_store_fits_into_256_mib() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let size = || std::fs::metadata(&path).unwrap().len();
    let backend = Arc::new(EmbeddedBackend::open(&path).await.unwrap());
    fill(&backend, 0, 110_000).await;
    for index in [
        Index::SessionsOfPerson("github:1".to_owned()),
        Index::SessionsOfClient("mcp-0".to_owned()),
    ] {
        let (backend, index) = (&backend, &index);
        stream::iter(0..100_000)
            .for_each_concurrent(256, |number| async move {
                let id = format!("0-{number:0>40}");
                let end = Some(at(100));
                let inserted = backend.index_insert(index, &id, end, at(0)).await;
                inserted.unwrap();
            })
            .await;
    }
    let filled = size();
    let backend_ref = &backend;
    stream::iter(0..100_000)
        .for_each_concurrent(256, |number| async move {
            let key = Key::new(Kind::Session, format!("0-{number:0>40}"));
            let old = Record::new(vec![b'x'; 600], Some(at(100)));
            let new = Record::new(vec![b'y'; 600], Some(at(200)));
            let swap = Swap {
                key: &key,
                expected: Some(&old),
                new: Some(&new),
                event: None,
            };
            let swapped = backend_ref.swap(swap, at(1)).await.unwrap();
            assert_eq!(swapped, Swapped::Done);
        })
        .await;
    let refreshed = size();
    // The file grows in large steps, and what is not written yet is a hole in it.
    let used = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap()) * 512;
    println!(
        "{} MiB filled, {} MiB refreshed, {} MiB of them on the disk",
        filled / MIB,
        refreshed / MIB,
        used / MIB
    );
    assert!(used <= 256 * MIB, "{} MiB", used / MIB);
}
