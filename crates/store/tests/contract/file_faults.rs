//! What can go wrong with the file: wrong paths, a second process, kill -9, a full disk.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    Backend as _, EmbeddedBackend, Kind, OpenError, Records, StoreError, StoredRecord, Transition,
    Upkeep,
};
use testkit::wait;

#[derive(Serialize, Deserialize)]
struct Counter {
    count: u64,
    padding: String,
}

impl StoredRecord for Counter {
    const KIND: Kind = Kind::Client;
    const VERSION: u32 = 1;
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

async fn increment(records: &Records, padding: usize) -> Result<u64, StoreError> {
    records
        .update("counter", NOW, |old: Option<Counter>| {
            let count = old.map_or(0, |old| old.count) + 1;
            let padding = "x".repeat(padding);
            Transition::put(Counter { count, padding }, None, count)
        })
        .await
}

async fn count(records: &Records) -> Result<u64, StoreError> {
    let counter = records.get::<Counter>("counter", NOW).await?;
    Ok(counter.map_or(0, |counter| counter.count))
}

async fn records(path: &Path) -> Records {
    Records::new(Arc::new(EmbeddedBackend::open(path).await.unwrap()))
}

async fn refusal(path: &Path) -> (OpenError, String) {
    let Err(error) = EmbeddedBackend::open(path).await else {
        panic!("{} was opened", path.display());
    };
    let line = error.to_string();
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    assert!(!line.contains('\n'), "{line}");
    (error, line)
}

#[tokio::test]
async fn the_file_is_for_its_user_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(EmbeddedBackend::open(&path).await.unwrap());
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(EmbeddedBackend::open(&path).await.unwrap());
    assert_eq!(mode(), 0o600);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let first = EmbeddedBackend::open(&path).await.unwrap();
    let (error, line) = refusal(&path).await;
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(line.contains("in use by another process"), "{line}");
    first.ping().await.unwrap();
    let mut child = writer(&path, "");
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("in use by another process"), "{line}");
    child.wait().unwrap();
    drop(first);
    EmbeddedBackend::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_wrong_path_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let (error, line) = refusal(&directory.path().join("missing/auth.redb")).await;
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error:?}");
    assert!(line.contains("create it or set STORE_PATH"), "{line}");
    let (error, _) = refusal(directory.path()).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    let foreign = directory.path().join("notes.txt");
    std::fs::write(&foreign, "not a store\n".repeat(1000)).unwrap();
    let (error, _) = refusal(&foreign).await;
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    let untouched = std::fs::read_to_string(&foreign).unwrap();
    assert!(untouched.starts_with("not a store\n"), "{untouched:.20}");
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let forbidden = if rustix::process::geteuid().is_root() {
        // Root may write everywhere, except into what the kernel lets nobody write.
        Path::new("/sys/kernel/uevent_seqnum").to_owned()
    } else {
        closed.join("auth.redb")
    };
    let (error, line) = refusal(&forbidden).await;
    assert!(matches!(error, OpenError::NotPermitted { .. }), "{error:?}");
    assert!(line.contains("set STORE_PATH"), "{line}");
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let versions = redb::TableDefinition::<&str, u64>::new("meta");
    {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(versions)
            .unwrap()
            .insert("schema_version", 99)
            .unwrap();
        transaction.commit().unwrap();
    }
    let (error, line) = refusal(&path).await;
    assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
    assert!(line.contains("version 99"), "{line}");
    assert!(line.contains("knows 1"), "{line}");
}

const STORE_FILE: &str = "STORE_TEST_FILE";

/// The other process of the tests here: increments a counter in the file and says each number when it is stored. Without
/// the variable it is a test that does nothing.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "how a test talks to its child")]
    let Ok(path) = std::env::var(STORE_FILE) else {
        return;
    };
    // It is compacted all the time, so that the cut meets that as well.
    let upkeep = Upkeep {
        compact_from: 0,
        look_every: Duration::ZERO,
    };
    let backend = match EmbeddedBackend::open_with(&path, upkeep).await {
        Ok(backend) => backend,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let records = Records::new(Arc::new(backend));
    loop {
        match increment(&records, 20_000).await {
            Ok(count) => println!("stored {count}"),
            Err(error) => {
                let read = count(&records).await;
                println!("refused with {} readable: {error}", read.unwrap_or(0));
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// This test program again, as [`child_that_writes_until_it_is_killed`]; `limit` goes before it in a shell.
fn writer(path: &Path, limit: &str) -> Child {
    Command::new("sh")
        .arg("-c")
        .arg(format!(r#"{limit} exec "$0" "$@""#))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("file_faults::child_that_writes_until_it_is_killed")
        .env(STORE_FILE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The number in a line `stored 7`.
fn stored(line: &str) -> Option<u64> {
    line.strip_prefix("stored ")?.parse().ok()
}

/// How often a process is killed; `just test-kills` asks for more.
fn kills() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how a recipe talks to a test")]
    let asked = std::env::var("STORE_TEST_KILLS");
    asked.map_or(50, |number| number.parse().unwrap())
}

#[tokio::test]
async fn what_was_answered_survives_kill_nine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let mut answered = 0;
    for _ in 0..kills() {
        // A little more each time, so that the cut does not always meet the same moment.
        let enough = answered + 1 + answered % 7;
        let mut child = writer(&path, "");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = stored(&line) {
                assert!(number > answered, "{number} after {answered}");
                answered = number;
            }
            if answered >= enough {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The one that was under way may have been stored without having been answered, and others unread in the pipe.
        let found = count(&records(&path).await).await.unwrap();
        assert!(found >= answered, "{found} of {answered}");
        answered = found;
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    drop(EmbeddedBackend::open(&path).await.unwrap());
    // In blocks of 512 bytes; the file needs some room for each of its own commits. SIGXFSZ would end the process.
    let blocks = std::fs::metadata(&path).unwrap().len() / 512;
    let limit = format!("trap '' XFSZ; ulimit -S -f {};", blocks.max(1));
    let mut child = writer(&path, &limit);
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut answered = 0;
    let refused = lines
        .by_ref()
        .inspect(|line| answered = stored(line).unwrap_or(answered))
        .find(|line| line.starts_with("refused"))
        .expect("the limit is met");
    // Reads go on, and what was answered is there.
    let readable = format!("refused with {answered} readable:");
    let still_readable = refused.starts_with(&readable)
        || lines
            .by_ref()
            .take(2000)
            .any(|line| line.starts_with(&readable));
    assert!(still_readable, "{refused}");
    let pid = rustix::process::Pid::from_child(&child);
    let unlimited = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, unlimited).unwrap();
    let again = lines
        .take(30_000)
        .find_map(|line| stored(&line))
        .expect("it can be written again");
    assert!(again > answered, "{again} after {answered}");
    child.kill().unwrap();
    child.wait().unwrap();
    let records = records(&path).await;
    assert!(count(&records).await.unwrap() >= again);
    increment(&records, 0).await.unwrap();
    let wait = wait::PATIENCE;
    tokio::time::timeout(wait, records.backend().ping())
        .await
        .unwrap()
        .unwrap();
}
