//! Which revisions the MCP server speaks: asked once of a throwaway process.
//!
//! A process belongs to one era from its first message on, even if that was only a probe (MCP 2026-07-28, stdio,
//! "Backward Compatibility"), so the one that was probed serves nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chassis::health::Latch;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, info_span, warn};

use crate::about::About;
use crate::child::{Ended, Listener};
use crate::children::Children;
use crate::doubt::{client_info, discover};
use crate::jsonrpc::{Kind, Message};
use crate::version::Version;

/// What a child speaks besides the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// Revisions up to 2025-11-25 only.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// How long a silent child is waited for before it is asked in the older way. Some older servers answer nothing before
/// `initialize`.
const SILENCE: Duration = Duration::from_secs(10);
/// The first pause after a failed probe; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The answer, when it is there.
#[derive(Clone, Debug)]
pub struct Verdict(watch::Receiver<Option<Era>>);

impl Verdict {
    /// The answer, if it is there.
    #[must_use]
    pub fn known(&self) -> Option<Era> {
        *self.0.borrow()
    }

    /// The answer; waits for it up to `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<Era> {
        if let Some(era) = *self.0.borrow() {
            return Some(era);
        }
        let mut receiver = self.0.clone();
        let era = tokio::time::timeout(limit, receiver.wait_for(Option::is_some))
            .await
            .ok()?
            .ok()?;
        *era
    }
}

/// Begins to ask, and keeps asking until the MCP server answers. `latch` becomes ready with the answer, which `about` is
/// told. Asks again whenever children have begun to end before they answer: the service is not ready until one answers. `limit`:
/// time for the answer to `initialize`.
#[must_use]
pub fn probe(
    children: Children,
    latch: Latch,
    about: About,
    limit: Duration,
    stop: CancellationToken,
) -> Verdict {
    let (sender, receiver) = watch::channel(None);
    let runtime = children.runtime().clone();
    runtime.spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let again = async {
                match ask(&children, limit).await {
                    Ok((era, answer)) => {
                        info!(?era, "the MCP server answers");
                        about.note(&answer);
                        sender.send_replace(Some(era));
                        latch.ready();
                        children.note_answer();
                        children.keep_spare();
                        let how = children.unwell().await;
                        let why = format!("it keeps ending before it answers: {how}");
                        warn!(%why, "the MCP server is not well");
                        latch.not_ready(why);
                        pause = FIRST_PAUSE;
                    }
                    Err(why) => {
                        let wait = children.pause().unwrap_or(pause);
                        warn!(%why, retry_ms = wait.as_millis(), "the MCP server does not answer");
                        latch.not_ready(why);
                        sleep(wait).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            };
            tokio::select! {
                () = again => {}
                () = stop.cancelled() => break,
            }
        }
    });
    Verdict(receiver)
}

async fn ask(children: &Children, limit: Duration) -> Result<(Era, String), String> {
    if let Ok(answer) = converse(children, discover(1), limit.min(SILENCE)).await {
        let era = read(&answer);
        if era == Era::Modern {
            return Ok((era, answer));
        }
    }
    let params = serde_json::json!({
        "protocolVersion": Version::V20251125.as_str(),
        "capabilities": {},
        "clientInfo": client_info(),
    });
    let initialize =
        serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    converse(children, initialize.to_string().into_bytes(), limit)
        .await
        .map(|answer| (Era::Legacy, answer))
}

/// Reads the answer to `server/discover`. Whatever is not a result with our version is an older server's answer.
fn read(answer: &str) -> Era {
    #[derive(Deserialize)]
    struct Discovered<'a> {
        #[serde(rename = "supportedVersions", borrow)]
        supported_versions: Vec<Cow<'a, str>>,
    }
    let discovered = Message::parse(answer)
        .ok()
        .and_then(|message| message.result)
        .and_then(|result| serde_json::from_str::<Discovered<'_>>(result.get()).ok());
    match discovered {
        Some(result)
            if result
                .supported_versions
                .iter()
                .any(|version| version == Version::V20260728.as_str()) =>
        {
            Era::Modern
        }
        _ => Era::Legacy,
    }
}

struct Ear {
    said: mpsc::UnboundedSender<Result<Bytes, String>>,
    children: Children,
    ended: AtomicBool,
}

impl Listener for Ear {
    fn line(&self, line: Bytes) {
        // Nobody listens any more once the answer is there; the process is about to end.
        let _ = self.said.send(Ok(line));
    }

    fn ended(&self, how: &Ended) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.children.note_end(how, false);
        }
        let _ = self.said.send(Err(how.to_string()));
    }
}

/// The answer of a new process to one request. The process is ended afterwards.
async fn converse(
    children: &Children,
    request: Vec<u8>,
    limit: Duration,
) -> Result<String, String> {
    let started = children
        .start_new(None)
        .await
        .map_err(|error| error.to_string())?;
    let stop = CancellationToken::new();
    let _end = stop.clone().drop_guard();
    let stdin = Arc::clone(&started.stdin);
    let (said, mut heard) = mpsc::unbounded_channel();
    let ear = Ear {
        said,
        children: children.clone(),
        ended: AtomicBool::new(false),
    };
    let watch = children.watch(stop, info_span!("probe"));
    started.listen(
        children.runtime(),
        Arc::new(ear),
        watch,
        children.unbounded_permit(),
    );
    stdin.send(request).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + limit;
    loop {
        match timeout_at(deadline, heard.recv()).await {
            Ok(Some(Ok(line))) => {
                let Ok(text) = std::str::from_utf8(&line) else {
                    continue;
                };
                let is_answer =
                    Message::parse(text).is_ok_and(|message| message.kind == Kind::Response);
                if is_answer {
                    return Ok(text.to_owned());
                }
            }
            Ok(Some(Err(how))) => return Err(how),
            Ok(None) => return Err("the MCP server process is gone".to_owned()),
            Err(_) => {
                return Err(format!(
                    "the MCP server did not answer within {} s",
                    limit.as_secs()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_result_with_our_version_is_modern() {
        let era = |body: &str| read(&format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#));
        assert_eq!(
            era(r#""result":{"supportedVersions":["2026-07-28"]}"#),
            Era::Modern
        );
        assert_eq!(
            era(r#""result":{"supportedVersions":["2099-01-01"]}"#),
            Era::Legacy
        );
        assert_eq!(era(r#""result":{}"#), Era::Legacy);
        assert_eq!(
            era(r#""error":{"code":-32601,"message":"Method not found"}"#),
            Era::Legacy
        );
        assert_eq!(
            era(r#""error":{"code":-32022,"message":"x","data":{"supported":["2026-07-28"]}}"#),
            Era::Legacy
        );
    }
}
