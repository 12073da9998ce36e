//! Load by wrk, which costs less than anything we would write: what the generator burns is taken from what it measures.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

const SCRIPT: &str = include_str!("wrk.lua");

/// What is asked.
#[derive(Clone, Debug)]
pub struct Load {
    /// The address.
    pub url: String,
    /// Headers of every request, each `Name: value`.
    pub headers: Vec<String>,
    /// Bearer tokens, one for each request in turn; an empty one is none.
    pub tokens: Vec<String>,
}

/// How it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// For how long.
    pub seconds: u64,
}

/// What came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Answers.
    pub requests: f64,
    /// Answers in a second.
    pub per_second: f64,
    /// Answers with a status above 399.
    pub refused: f64,
    /// Middle time of an answer in milliseconds.
    pub p50: f64,
    /// Milliseconds that one answer in a hundred takes longer than.
    pub p99: f64,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    _files: [NamedTempFile; 2],
}

/// Begins a run.
///
/// # Errors
///
/// If there is no wrk.
pub fn start(load: &Load, shape: Shape) -> Result<Running> {
    let mut script = NamedTempFile::with_suffix(".lua")?;
    script.write_all(SCRIPT.as_bytes())?;
    let mut tokens = NamedTempFile::new()?;
    for token in &load.tokens {
        writeln!(tokens, "{token}")?;
    }
    let mut command = Command::new("wrk");
    command.args(["--threads", "2", "--timeout", "10s"]);
    command.args(["--connections", &shape.connections.to_string()]);
    command.args(["--duration", &format!("{}s", shape.seconds)]);
    for header in &load.headers {
        command.args(["--header", header]);
    }
    let child = command
        .arg("--script")
        .arg(script.path())
        .arg(&load.url)
        .env("BENCH_TOKENS", tokens.path())
        .stdout(Stdio::piped())
        .spawn()
        .context("wrk cannot be started; install it: apt-get install wrk, or brew install wrk")?;
    Ok(Running {
        child,
        _files: [script, tokens],
    })
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// If a connection broke or an answer did not come.
    pub fn finish(self) -> Result<Outcome> {
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        let line = text.lines().find_map(|line| line.strip_prefix("bench "));
        let line = line.with_context(|| format!("wrk does not tell what it did: {text}"))?;
        let numbers: Vec<f64> = line
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("wrk's numbers")?;
        let &[requests, micros, refused, broken, p50, p99] = numbers.as_slice() else {
            anyhow::bail!("wrk's numbers are {numbers:?}");
        };
        ensure!(broken == 0.0, "{broken} requests were not answered");
        Ok(Outcome {
            requests,
            per_second: requests / micros * 1e6,
            refused,
            p50: p50 / 1e3,
            p99: p99 / 1e3,
        })
    }
}

/// A whole run.
///
/// # Errors
///
/// As [`start`] and [`Running::finish`].
pub fn run(load: &Load, shape: Shape) -> Result<Outcome> {
    start(load, shape)?.finish()
}
