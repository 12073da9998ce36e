//! The end of a child and of its process group.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::child::{End, Ended, Listener, POLITE, TERMINATING, Watch};
use crate::metrics;
use crate::stdin::Stdin;

/// How long after the end of the child a grandchild may keep its stdout from being read to the end.
const DRAINING: Duration = Duration::from_millis(100);

/// Waits for the end of a child, or brings it about, and ends what it leaves behind.
pub(super) async fn supervise(
    mut child: tokio::process::Child,
    group: Pid,
    stdin: Arc<Stdin>,
    mut reader: tokio::task::JoinHandle<()>,
    listener: Arc<impl Listener>,
    watch: Watch,
) {
    let mut read_to_end = false;
    let begun = tokio::select! {
        status = child.wait() => Ok(status.ok()),
        () = watch.stop.cancelled() => Err(End::Asked),
        _ = &mut reader => { read_to_end = true; Err(End::Silent) }
        () = stdin.broken() => Err(End::Deaf),
    };
    let asked = matches!(begun, Err(End::Asked));
    let (status, why) = match begun {
        Ok(status) => (status, None),
        // A child that closed a pipe is most often one that has just ended.
        Err(_) if !asked && let Ok(status) = timeout(DRAINING, child.wait()).await => {
            (status.ok(), None)
        }
        // Whoever waits for an answer learns at once that none will come.
        Err(why) => {
            let why = Ended { end: why };
            if !asked {
                info!(parent: &watch.span, "{why}, and is ended for that");
            }
            watch.stop.cancel();
            listener.ended(&why);
            stdin.close();
            (end(&mut child, group, &watch.kill).await, Some(why))
        }
    };
    stdin.close();
    if !read_to_end && timeout(DRAINING, &mut reader).await.is_err() {
        debug!(parent: &watch.span, "a process started by the MCP server still holds its stdout");
        reader.abort();
    }
    let ended = Ended {
        end: status.map_or(End::Unknown, End::Status),
    };
    info!(parent: &watch.span, asked, "{ended}");
    let cause = why.as_ref().unwrap_or(&ended).cause();
    watch
        .counted
        .ended
        .get_or_create(&metrics::Ended { cause })
        .inc();
    watch.stop.cancel();
    listener.ended(&ended);
    end_group(group, &watch.kill).await;
}

async fn end(
    child: &mut tokio::process::Child,
    group: Pid,
    kill: &CancellationToken,
) -> Option<ExitStatus> {
    for (patience, next) in [(POLITE, Signal::TERM), (TERMINATING, Signal::KILL)] {
        tokio::select! {
            status = child.wait() => return status.ok(),
            () = sleep(patience) => {}
            () = kill.cancelled() => break,
        }
        debug!(?group, signal = ?next, "the MCP server did not end");
        signal(group, next);
    }
    signal(group, Signal::KILL);
    child.wait().await.ok()
}

/// Ends what the child left behind in its group. While any of it lives, the number of the group cannot be given to others.
async fn end_group(group: Pid, kill: &CancellationToken) {
    let alive = || rustix::process::test_kill_process_group(group).is_ok();
    if !alive() {
        return;
    }
    signal(group, Signal::TERM);
    let patience = Instant::now() + TERMINATING;
    while alive() && Instant::now() < patience && !kill.is_cancelled() {
        sleep(Duration::from_millis(20)).await;
    }
    if alive() {
        signal(group, Signal::KILL);
    }
}

fn signal(group: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(group, signal) {
        debug!(?group, %error, "cannot signal the process group");
    }
}
