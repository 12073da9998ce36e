//! `just soak`: for a while everything that sessions, clients and children do, of both eras; then the bridge must be as it was.

#![expect(
    clippy::print_stdout,
    reason = "what is measured and the verdict are printed"
)]

mod client;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bench::measure::{descriptors, memory, mib};
use clap::Parser;
use testkit::binaries::built;
use testkit::network::http_client;
use testkit::process::{self, Command, Logs, Process, Signal, descendants};
use testkit::wait::{self, PATIENCE};

use client::{Client, STORIES};

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
