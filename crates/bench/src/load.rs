//! Calls in flight, each answer checked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::measure;
use crate::message::{self, Era};
use crate::target::Target;

/// How many sessions, and calls in flight in each.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sessions.
    pub sessions: usize,
    /// Calls in flight in each, every one on a connection of its own.
    pub calls: usize,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}x{}", self.sessions, self.calls)
    }
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After so many calls in all.
    Calls(usize),
}

/// What came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Answers.
    pub calls: usize,
    /// Answers in a second.
    pub per_second: f64,
    /// Middle time of a call in milliseconds.
    pub p50: f64,
    /// Milliseconds that one call in a hundred takes longer than.
    pub p99: f64,
    /// Microseconds of processor time of the target's process for one call.
    pub cpu: f64,
}

/// One connection with its session's head.
struct Caller {
    connection: Connection,
    head: Vec<u8>,
    tool: String,
    era: Era,
    number: u64,
}

impl Caller {
    async fn call(&mut self) -> Result<()> {
        self.number += 1;
        // 64 bytes, different in each call of each connection.
        let text = format!("{:064}", self.number);
        let body = body(self.era, self.number, &self.tool, &text);
        let answer = self.connection.exchange(&self.head, &body).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        message::check(&answer.body, self.number, &text)
    }
}

/// The same text as `message::call` makes, with less work.
fn body(era: Era, id: u64, tool: &str, text: &str) -> Vec<u8> {
    let meta = match era {
        Era::Legacy => "",
        Era::Modern => {
            r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#
        }
    };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}{meta}}}}}"#
    )
    .into_bytes()
}

/// Opens sessions, runs, ends them.
///
/// # Errors
///
/// At the first answer that is lost, another's, or wrong.
pub async fn run(target: &Target, shape: Shape, until: Until) -> Result<Outcome> {
    let mut sessions = Vec::new();
    let mut callers = Vec::new();
    for number in 0..shape.sessions {
        let mut session = target.session().await?;
        session
            .call("echo", &json!({ "text": "first" }), "first")
            .await?;
        for caller in 0..shape.calls {
            callers.push(Caller {
                connection: target.connect().await?,
                head: target.head("POST", session.id.as_deref(), Some(&target.tool("echo"))),
                tool: target.tool("echo"),
                era: target.kind.era(),
                number: u64::try_from(number * shape.calls + caller)? * 100_000_000,
            });
        }
        sessions.push(session);
    }
    for caller in &mut callers {
        caller.call().await?;
    }
    let each = match until {
        Until::Calls(calls) => calls.div_ceil(callers.len()),
        Until::Time(_) => usize::MAX,
    };
    let cpu = measure::cpu(target.process.id())?;
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut times: Vec<u32> = Vec::new();
            let mut now = Instant::now();
            while times.len() < each
                && !matches!(until, Until::Time(limit) if now.duration_since(begun) >= limit)
            {
                caller.call().await?;
                let after = Instant::now();
                let took = after.duration_since(now);
                times.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
                now = after;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done??);
    }
    let took = begun.elapsed();
    let cpu = measure::cpu(target.process.id())?.saturating_sub(cpu);
    for session in sessions {
        session.end().await?;
    }
    times.sort_unstable();
    let millis = |share: usize| {
        let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
        f64::from(times.get(place).copied().unwrap_or_default()) / 1e6
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let calls = times.len() as f64;
    Ok(Outcome {
        calls: times.len(),
        per_second: calls / took.as_secs_f64(),
        p50: millis(50),
        p99: millis(99),
        cpu: cpu.as_secs_f64() * 1e6 / calls,
    })
}
