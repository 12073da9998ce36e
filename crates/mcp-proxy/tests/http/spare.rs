//! The child that was started before anybody asked for it.

use serde_json::{Value, json};
use testkit::process::Signal;
use testkit::wait::{self, PATIENCE};

use crate::bridge::{Bridge, Setup, around, initialize, scripted};
use crate::children::gone;
use crate::eras;
use crate::people::ANNA;

/// A bridge that tells of each spare child.
fn telling(setup: Setup) -> Setup {
    setup.with("LOG_LEVEL", "debug")
}

/// Waits until so many spare children have been put in their place; the process id of the last of them.
async fn spare(bridge: &Bridge, number: usize) -> String {
    let told = wait::until("a spare child", PATIENCE, || async {
        let text = bridge.logs.text();
        let mut told = text
            .lines()
            .filter(|line| line.contains("a spare child waits"));
        told.nth(number - 1).map(str::to_owned)
    });
    let line = told.await.unwrap();
    let (_, told) = line.split_once(": ").unwrap();
    let told: Value = serde_json::from_str(told).unwrap();
    told["pid"].to_string()
}

#[tokio::test]
async fn a_session_gets_the_spare_child_alone_and_another_takes_its_place() {
    let bridge = telling(scripted(&[])).ready().await;
    for number in 1..4 {
        let expected = spare(&bridge, number).await;
        let session = bridge.open("2025-11-25").await;
        assert_eq!(bridge.tool(&session, "pid", json!({})).await, expected);
    }
}

#[tokio::test]
async fn both_eras_take_the_spare_child() {
    let bridge = telling(scripted(&["--modern"])).ready().await;
    let first = spare(&bridge, 1).await;
    let mut answer = eras::modern(&bridge, 1, "pid", json!({})).send().await;
    let pid = answer.message().await["result"]["content"][0]["text"].clone();
    assert_eq!(pid, first);
    let next = spare(&bridge, 2).await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, next);
}

#[tokio::test]
async fn a_spare_child_that_has_ended_is_not_given_to_anybody() {
    let bridge = telling(scripted(&[])).ready().await;
    let spare = spare(&bridge, 1).await;
    let pid = rustix::process::Pid::from_raw(spare.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
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
    let bridge = telling(around(&[program.to_str().unwrap()])).ready().await;
    let first = spare(&bridge, 1).await;
    // Its place stays empty as long as there is no program.
    std::fs::rename(&program, &aside).unwrap();
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, first);
    let refused = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(refused.status, 503);
    std::fs::rename(&aside, &program).unwrap();
    let session = bridge.open("2025-11-25").await;
    let second = bridge.tool(&session, "pid", json!({})).await;
    // The one who was refused may have had the place filled, once the program was back: then that was the second's.
    let mut next = spare(&bridge, 2).await;
    if next == second {
        next = spare(&bridge, 3).await;
    }
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, next);
}

#[tokio::test]
async fn the_spare_child_takes_nobodys_place_and_ends_with_the_bridge() {
    let setup = telling(scripted(&[])).with("MAX_SESSIONS", "1");
    let mut bridge = setup.ready().await;
    let first = spare(&bridge, 1).await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(bridge.tool(&session, "pid", json!({})).await, first);
    let next = spare(&bridge, 2).await;
    bridge.process.signal(Signal::TERM).unwrap();
    gone(&next).await;
    assert!(bridge.process.wait(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn there_is_no_spare_child_where_each_is_made_for_one_person() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let setup = scripted(&["--announce", pids.to_str().unwrap()])
        .with("REQUIRE_IDENTITY", "true")
        .with_file("[proxy.env.set]\nPERSON = \"{user.id}\"\n");
    let bridge = setup.ready().await;
    for number in 1..4 {
        bridge.open_as("2025-11-25", &ANNA).await;
        assert_eq!(
            std::fs::read_to_string(&pids).unwrap().lines().count(),
            2 + number,
            "two probes, and one for each session"
        );
    }
}
