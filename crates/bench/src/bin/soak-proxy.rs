//! `just soak`: for a while everything that sessions, clients and children do, of both eras; then the bridge must be as it was.

#![expect(
    clippy::print_stdout,
    reason = "what is measured and the verdict are printed"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bench::measure::{descriptors, memory, mib};
use bench::message::{self, Era, INITIALIZED};
use clap::Parser;
use serde_json::{Value, json};
use testkit::binaries::built;
use testkit::network::http_client;
use testkit::process::{self, Command, Logs, Process, Signal, descendants};
use testkit::wait::{self, PATIENCE};

/// Wears mcp-proxy out and looks whether it stays as it was.
#[derive(Debug, Parser)]
struct Cli {
    /// For how many seconds.
    #[arg(default_value_t = 600)]
    seconds: u64,
}

/// Clients at once.
const CLIENTS: usize = 6;
/// Memory that may come on top of that after the first fifth of the run: what the allocator keeps differs by this much.
const GROWTH: u64 = 3 * 1024 * 1024;
/// How long a session may live without a request; the bridge's own default is far longer than a short run.
const IDLE: &str = "2";
/// How long a client waits before it goes away in the middle of something.
const LEAVING: Duration = Duration::from_millis(30);

/// One thing that clients do.
#[derive(Clone, Copy, Debug)]
enum Story {
    CallsAndCloses,
    LeavesItsSession,
    LeavesItsStream,
    FollowsProgress,
    LosesItsServer,
    LeavesACall,
    TakesMuch,
    MeetsGarbage,
    ModernCalls,
    ModernFollowsProgress,
    ModernListensAndLeaves,
    ModernLeavesACall,
    ModernLosesItsServer,
}

const STORIES: [Story; 13] = [
    Story::CallsAndCloses,
    Story::LeavesItsSession,
    Story::LeavesItsStream,
    Story::FollowsProgress,
    Story::LosesItsServer,
    Story::LeavesACall,
    Story::TakesMuch,
    Story::MeetsGarbage,
    Story::ModernCalls,
    Story::ModernFollowsProgress,
    Story::ModernListensAndLeaves,
    Story::ModernLeavesACall,
    Story::ModernLosesItsServer,
];

#[derive(Debug)]
struct Bridge {
    process: Process,
    url: String,
    _directory: tempfile::TempDir,
}

/// What must be the same before and after.
#[derive(Clone, Copy, Debug)]
struct State {
    memory: u64,
    descriptors: usize,
    processes: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let mut bridge = Bridge::start().await?;
    let total = Duration::from_secs(cli.seconds);
    // The first fifth fills caches and pools; what is left then is what the rest is compared with.
    let done = bridge.wear_out(total / 5).await?;
    println!("{done} stories to warm up");
    let before = bridge.at_rest().await?;
    println!("at rest: {before}");
    let done = bridge.wear_out(total / 5 * 4).await?;
    let after = bridge.at_rest().await?;
    println!("at rest after {done} stories more: {after}");
    bridge.process.signal(Signal::TERM)?;
    let status = bridge.process.wait(PATIENCE).await?;
    let mut faults = Vec::new();
    if after.memory > before.memory + GROWTH {
        faults.push("memory grows");
    }
    if after.descriptors > before.descriptors {
        faults.push("descriptors leak");
    }
    if after.processes > before.processes {
        faults.push("processes are left");
    }
    if !status.success() {
        faults.push("it did not end cleanly");
    }
    if faults.is_empty() {
        println!("soak: passed");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("soak: failed: {}", faults.join(", "));
        Ok(ExitCode::FAILURE)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            memory,
            descriptors,
            processes,
        } = self;
        let memory = mib(*memory);
        write!(
            formatter,
            "{memory} MiB, {descriptors} descriptors, {processes} processes"
        )
    }
}

impl Bridge {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("addresses");
        let mut process = Command::new("mcp-proxy", built("mcp-proxy"))
            .current_dir(directory.path())
            .env("PRIVATE_PORT", "0")
            .env("LOG_LEVEL", "error")
            .env("MAX_SESSIONS", "1000")
            .env("MAX_IN_FLIGHT", "1000")
            .env("SESSION_TIMEOUT", IDLE)
            // The GNU allocator keeps what the most sessions at once needed; a leak shows only if it gives back what is free.
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .env("MALLOC_ARENA_MAX", "1")
            .args(["--port", "0", "--address-file"])
            .arg(&file)
            .arg("--")
            .arg(built("scripted-server"))
            .arg("--modern")
            .start(&Logs::default())?;
        let address = process::address(&mut process, &file, "public").await?;
        let url = format!("http://{address}/mcp");
        Ok(Self {
            process,
            url,
            _directory: directory,
        })
    }

    fn state(&self) -> Result<State> {
        let id = self.process.id();
        Ok(State {
            memory: memory(id)?,
            descriptors: descriptors(id)?,
            processes: descendants(id)?.len(),
        })
    }

    /// Waits until idle sessions are over and their processes gone, then looks.
    async fn at_rest(&self) -> Result<State> {
        wait::until("the end of all sessions", PATIENCE, || async {
            let id = self.process.id();
            // The spare one is left.
            (descendants(id).ok()?.len() == 1).then_some(())
        })
        .await?;
        // Connections that the clients dropped are noticed one by one.
        let mut last = self.state()?;
        wait::until("descriptors that stay as they are", PATIENCE, || {
            let now = self.state().ok();
            let is_same = now.is_some_and(|now| now.descriptors == last.descriptors);
            last = now.unwrap_or(last);
            async move { is_same.then_some(()) }
        })
        .await?;
        self.state()
    }

    /// Lets clients live their stories for a time; answers how many.
    async fn wear_out(&self, time: Duration) -> Result<u64> {
        let begun = Instant::now();
        let stories = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                http: http_client()?,
                url: self.url.clone(),
            };
            let stories = Arc::clone(&stories);
            clients.spawn(async move {
                // Each begins elsewhere, so that different things happen at once.
                for story in STORIES.into_iter().cycle().skip(number * 2) {
                    if begun.elapsed() >= time {
                        break;
                    }
                    let told = client.tell(story).await;
                    told.with_context(|| format!("{story:?}"))?;
                    stories.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        let mut look = tokio::time::interval((time / 5).max(Duration::from_secs(1)));
        look.tick().await;
        loop {
            tokio::select! {
                done = clients.join_next() => match done {
                    Some(done) => done??,
                    None => return Ok(stories.load(Ordering::Relaxed)),
                },
                _ = look.tick() => {
                    let at = begun.elapsed().as_secs();
                    let told = stories.load(Ordering::Relaxed);
                    println!("{at:>5} s, {told} stories: {}", self.state()?);
                }
            }
        }
    }
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    #[expect(
        clippy::too_many_lines,
        reason = "a table: one short arm for each story"
    )]
    async fn tell(&self, story: Story) -> Result<()> {
        match story {
            Story::CallsAndCloses => {
                let session = self.open().await?;
                for _ in 0..10 {
                    self.legacy(&session, "pid", json!({})).await?;
                }
                let delete = self.http.delete(&self.url);
                let answer = delete.header("mcp-session-id", &session).send().await?;
                ensure!(answer.status().is_success(), "DELETE: {}", answer.status());
                let gone = self.send(Some(&session), Era::Legacy, "pid", json!({}));
                ensure!(gone.await?.status() == 404, "a closed session answers");
            }
            Story::LeavesItsSession => {
                let session = self.open().await?;
                self.legacy(&session, "pid", json!({})).await?;
            }
            Story::LeavesItsStream => {
                let session = self.open().await?;
                let get = self
                    .http
                    .get(&self.url)
                    .header("accept", "text/event-stream");
                let stream = get.header("mcp-session-id", &session).send().await?;
                ensure!(stream.status() == 200, "GET: {}", stream.status());
                self.legacy(&session, "notify", json!({ "note": 1 }))
                    .await?;
            }
            Story::FollowsProgress => {
                let session = self.open().await?;
                let answer = self
                    .send(
                        Some(&session),
                        Era::Legacy,
                        "progress",
                        json!({ "steps": 50 }),
                    )
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("done"), "no end of progress: {text}");
            }
            Story::LosesItsServer => {
                let session = self.open().await?;
                let answer = self
                    .send(Some(&session), Era::Legacy, "exit", json!({ "status": 3 }))
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("error"), "the crash was not told: {text}");
                wait::until("404", PATIENCE, || async {
                    let again = self.send(Some(&session), Era::Legacy, "pid", json!({}));
                    (again.await.ok()?.status() == 404).then_some(())
                })
                .await?;
            }
            Story::LeavesACall => {
                let session = self.open().await?;
                let held = self.send(Some(&session), Era::Legacy, "hold", json!({}));
                let _ = tokio::time::timeout(LEAVING, held).await;
                self.legacy(&session, "release", json!({})).await?;
            }
            Story::TakesMuch => {
                let session = self.open().await?;
                let bytes = 1024 * 1024;
                let answer = self
                    .send(
                        Some(&session),
                        Era::Legacy,
                        "big",
                        json!({ "bytes": bytes }),
                    )
                    .await?;
                ensure!(answer.bytes().await?.len() > bytes, "not all came");
                let much = json!({ "much": "x".repeat(bytes) });
                self.legacy(&session, "echo", much).await?;
            }
            Story::MeetsGarbage => {
                let session = self.open().await?;
                self.legacy(&session, "garbage", json!({})).await?;
                self.legacy(&session, "stderr", json!({ "lines": 300 }))
                    .await?;
                self.legacy(&session, "flood", json!({ "messages": 20 }))
                    .await?;
            }
            Story::ModernCalls => {
                for _ in 0..10 {
                    self.modern("echo", json!({})).await?;
                }
            }
            Story::ModernFollowsProgress => {
                self.modern("progress", json!({ "steps": 50 })).await?;
            }
            Story::ModernListensAndLeaves => {
                let listening = self.listen();
                let stream = tokio::time::timeout(LEAVING * 10, listening).await;
                drop(stream);
                self.modern("echo", json!({})).await?;
            }
            Story::ModernLeavesACall => {
                let held = self.send(None, Era::Modern, "hold", json!({}));
                let _ = tokio::time::timeout(LEAVING, held).await;
            }
            Story::ModernLosesItsServer => {
                let answer = self
                    .send(None, Era::Modern, "exit", json!({ "status": 3 }))
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("error"), "the crash was not told: {text}");
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<String> {
        let answer = self.post(None, message::initialize()).send().await?;
        let status = answer.status();
        let id = answer.headers().get("mcp-session-id");
        let id = id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
        let text = answer.text().await?;
        let id = id.with_context(|| format!("no session: {status}, {text}"))?;
        let answer = self.post(Some(&id), INITIALIZED.to_vec()).send().await?;
        ensure!(answer.status() == 202, "initialized: {}", answer.status());
        Ok(id)
    }

    /// A call in a session, which must be answered with a result.
    async fn legacy(&self, session: &str, tool: &str, arguments: Value) -> Result<()> {
        let answer = self
            .send(Some(session), Era::Legacy, tool, arguments)
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        let shown = || text.chars().take(300).collect::<String>();
        ensure!(
            status == 200 && text.contains("\"result\""),
            "{tool}: {status}, {}",
            shown()
        );
        Ok(())
    }

    /// A call without a session. Another client may just have ended the server they share: then it is told so, or to wait a while,
    /// and calls again.
    async fn modern(&self, tool: &str, arguments: Value) -> Result<()> {
        wait::until("an answer of the shared server", PATIENCE, || async {
            let answer = self.send(None, Era::Modern, tool, arguments.clone());
            let answer = answer.await.ok()?;
            let is_success = answer.status() == 200;
            let text = answer.text().await.ok()?;
            (is_success && text.contains("\"result\"")).then_some(())
        })
        .await
    }

    async fn send(
        &self,
        session: Option<&str>,
        era: Era,
        tool: &str,
        arguments: Value,
    ) -> Result<reqwest::Response> {
        let mut body: Value = serde_json::from_slice(&message::call(era, 1, tool, &arguments))?;
        if tool == "progress"
            && let Some(params) = body.get_mut("params").and_then(Value::as_object_mut)
        {
            let meta = params.entry("_meta").or_insert_with(|| json!({}));
            if let Some(meta) = meta.as_object_mut() {
                meta.insert("progressToken".to_owned(), json!("p"));
            }
        }
        let mut post = self.post(session, body.to_string().into_bytes());
        if era == Era::Modern {
            post = post
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", tool);
        }
        Ok(post.send().await?)
    }

    async fn listen(&self) -> Result<reqwest::Response> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
            "notifications": { "toolsListChanged": true },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }});
        let post = self.post(None, body.to_string().into_bytes());
        let post = post
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "subscriptions/listen");
        Ok(post.send().await?)
    }

    fn post(&self, session: Option<&str>, body: Vec<u8>) -> reqwest::RequestBuilder {
        let post = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body);
        match session {
            Some(id) => post.header("mcp-session-id", id),
            None => post,
        }
    }
}
