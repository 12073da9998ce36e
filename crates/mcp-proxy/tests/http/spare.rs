//! The child that was started before anybody asked for it.

use serde_json::json;
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Setup, around, initialize, scripted};
use crate::children::gone;
use crate::eras;
use crate::people::ANNA;

/// A bridge whose children write down their process ids.
struct Announced {
    pids: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Announced {
    fn new(flags: &[&str]) -> (Setup, Self) {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        std::fs::write(&pids, "").unwrap();
        let setup = scripted(&[flags, &["--announce", pids.to_str().unwrap()]].concat());
        let announced = Self {
            pids,
            _directory: directory,
        };
        (setup, announced)
    }

    fn all(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.pids).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until so many have been started.
    async fn number(&self, number: usize) -> Vec<String> {
        wait::until("the children", PATIENCE, || async {
            let all = self.all();
            (all.len() >= number).then_some(all)
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_session_gets_the_spare_child_alone_and_another_takes_its_place() {
    let (setup, announced) = Announced::new(&[]);
    let bridge = setup.ready().await;
    // Two probes, then the spare.
    let mut expected = announced.number(3).await.pop().unwrap();
    for number in 4..7 {
        let session = bridge.open("2025-11-25").await;
        assert_eq!(bridge.tool(&session, "pid", json!({})).await, expected);
        expected = announced.number(number).await.pop().unwrap();
    }
}

#[tokio::test]
async fn both_eras_take_the_spare_child() {
    let (setup, announced) = Announced::new(&["--modern"]);
    let bridge = setup.ready().await;
    let spare = announced.number(2).await.pop().unwrap();
    let mut answer = eras::modern(&bridge, 1, "pid", json!({})).send().await;
    let pid = answer.message().await["result"]["content"][0]["text"].clone();
    assert_eq!(pid, spare);
    let next = announced.number(3).await.pop().unwrap();
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, next);
}

#[tokio::test]
async fn a_spare_child_that_has_ended_is_not_given_to_anybody() {
    let (setup, announced) = Announced::new(&[]);
    let bridge = setup.ready().await;
    let spare = announced.number(3).await.pop().unwrap();
    let pid = rustix::process::Pid::from_raw(spare.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // It has ended when it is a zombie (or gone): the bridge looks no sooner than somebody needs it.
    wait::until_true("its end", PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{spare}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
    })
    .await
    .unwrap();
    let session = bridge.open("2025-11-25").await;
    assert_ne!(bridge.tool(&session, "pid", json!({})).await, spare);
}

#[tokio::test]
async fn a_spare_child_that_could_not_be_started_is_tried_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let (program, aside) = (
        directory.path().join("server"),
        directory.path().join("aside"),
    );
    std::os::unix::fs::symlink(testkit::binaries::built("scripted-server"), &program).unwrap();
    let pids = directory.path().join("pids");
    std::fs::write(&pids, "").unwrap();
    let announced = Announced {
        pids,
        _directory: directory,
    };
    let command = [
        program.to_str().unwrap(),
        "--announce",
        announced.pids.to_str().unwrap(),
    ];
    let bridge = around(&command).ready().await;
    // Two probes, then the spare, whose place stays empty as long as there is no program.
    let first = announced.number(3).await.pop().unwrap();
    std::fs::rename(&program, &aside).unwrap();
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, first);
    let refused = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(refused.status, 503);
    std::fs::rename(&aside, &program).unwrap();
    // One for the session, and one more that waits for the next.
    bridge.open("2025-11-25").await;
    let started = announced.number(5).await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    assert!(
        started.contains(&pid),
        "{pid} was not there before: {started:?}"
    );
}

#[tokio::test]
async fn the_spare_child_takes_nobodys_place_and_ends_with_the_bridge() {
    let (setup, announced) = Announced::new(&[]);
    let mut bridge = setup.with("MAX_SESSIONS", "1").ready().await;
    let spare = announced.number(3).await.pop().unwrap();
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, spare);
    let next = announced.number(4).await.pop().unwrap();
    bridge
        .process
        .signal(rustix::process::Signal::TERM)
        .unwrap();
    gone(&next).await;
    assert!(bridge.process.wait(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn there_is_no_spare_child_where_each_is_made_for_one_person() {
    let (setup, announced) = Announced::new(&[]);
    let setup = setup
        .with("REQUIRE_IDENTITY", "true")
        .with_file("[proxy.env.set]\nPERSON = \"{user.id}\"\n");
    let bridge = setup.ready().await;
    for number in 1..4 {
        bridge.open_as("2025-11-25", &ANNA).await;
        assert_eq!(
            announced.all().len(),
            2 + number,
            "two probes, and one for each session"
        );
    }
}
