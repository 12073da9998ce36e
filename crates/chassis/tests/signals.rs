//! Signals reach the whole process: this file is a test binary of its own, with one test.

use std::process::Command;
use std::time::Duration;

use chassis::shutdown::Shutdown;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_first_signal_is_soft_and_the_second_hard() {
    let signal = |name: &str| {
        let sent = Command::new("kill")
            .args(["-s", name, &std::process::id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    };
    let shutdown = Shutdown::new();
    shutdown.tasks().spawn(std::future::pending::<()>());
    shutdown
        .listen_for_signals(Duration::from_secs(600))
        .unwrap();

    signal("TERM");
    tokio::time::timeout(LIMIT, shutdown.soft().cancelled())
        .await
        .unwrap();
    assert!(!shutdown.hard().is_cancelled());

    signal("INT");
    let all_ended = tokio::time::timeout(LIMIT, shutdown.finish())
        .await
        .unwrap();
    assert!(!all_ended);
    assert!(shutdown.hard().is_cancelled());
}
