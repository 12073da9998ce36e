//! `just bench-proxy`: see the README of this crate.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is measured is printed, progress beside it"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bench::awake::Awake;
use bench::load::{self, Outcome, Shape, Until};
use bench::measure::{self, median, mib};
use bench::message::{self, Era, INITIALIZED};
use bench::target::{Kind, Target, peer};
use clap::Parser;
use serde_json::json;
use testkit::binaries::built;

/// Measures mcp-proxy, interleaved with a handler that has no child and with a peer.
#[derive(Debug, Parser)]
struct Cli {
    /// Seconds of load for each target, shape and round.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Rounds; the middle one counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this load on this target, once: `ours:8x8`, for a profiler.
    #[arg(long)]
    only: Option<String>,
    /// Measures calls a second time in each round, with processors that do not sleep (see `bench::awake`; needs chrt).
    #[arg(long)]
    awake: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Part {
    Calls,
    Memory,
    Opening,
    Large,
}

const SHAPES: [Shape; 3] = [shape(1, 1), shape(1, 16), shape(8, 8)];
/// Calls after which memory is looked at again.
const MANY: usize = 100_000;
const LARGE: usize = 10 * 1024 * 1024;
const LARGE_CALLS: usize = 9;

const fn shape(sessions: usize, calls: usize) -> Shape {
    Shape { sessions, calls }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let until = Until::Time(Duration::from_secs_f64(cli.seconds));
    if let Some(only) = &cli.only {
        let _awake = cli.awake.then(Awake::start).transpose()?;
        return profile(only, until).await;
    }
    let mut kinds = vec![Kind::Plain, Kind::Ours, Kind::OursModern];
    if peer().exists() {
        kinds.push(Kind::Peer);
    } else {
        eprintln!("{} is not there: no peer in this run", peer().display());
    }
    let wanted = |part| cli.parts.is_empty() || cli.parts.contains(&part);
    if wanted(Part::Calls) {
        calls(&kinds, until, &cli).await?;
    }
    kinds.retain(|kind| *kind != Kind::Plain);
    if wanted(Part::Memory) {
        memory(&kinds).await?;
    }
    if wanted(Part::Opening) {
        let mut kinds = kinds.clone();
        kinds.push(Kind::OursWithoutSpare);
        opening(&kinds).await?;
    }
    if wanted(Part::Large) {
        large(&kinds).await?;
    }
    Ok(())
}

async fn profile(only: &str, until: Until) -> Result<()> {
    let (kind, shape) = only.split_once(':').context("TARGET:SESSIONSxCALLS")?;
    let kinds = [
        ("plain", Kind::Plain),
        ("ours", Kind::Ours),
        ("modern", Kind::OursModern),
        ("peer", Kind::Peer),
    ];
    let kind = kinds.into_iter().find(|(name, _)| *name == kind);
    let (sessions, calls) = shape.split_once('x').context("SESSIONSxCALLS")?;
    let target = Target::start(kind.context("plain, ours, modern or peer")?.1).await?;
    println!("pid {}", target.process.id());
    let shape = Shape {
        sessions: sessions.parse()?,
        calls: calls.parse()?,
    };
    let outcome = load::run(&target, shape, until).await?;
    println!("{outcome:?}");
    Ok(())
}

async fn calls(kinds: &[Kind], until: Until, cli: &Cli) -> Result<()> {
    let mut targets = Vec::new();
    for kind in kinds {
        targets.push(Target::start(*kind).await?);
    }
    let ways: &[bool] = if cli.awake { &[false, true] } else { &[false] };
    let mut found: Vec<(String, Kind, Vec<Outcome>)> = Vec::new();
    for shape in SHAPES {
        let first = found.len();
        for way in ways {
            let label = format!("{shape}{}", if *way { ", awake" } else { "" });
            found.extend(kinds.iter().map(|kind| (label.clone(), *kind, vec![])));
        }
        for round in 0..cli.rounds {
            eprintln!("{shape}, round {} of {}", round + 1, cli.rounds);
            let mut places = found.iter_mut().skip(first);
            for way in ways {
                let _awake = way.then(Awake::start).transpose()?;
                for (target, (_, _, outcomes)) in targets.iter().zip(&mut places) {
                    outcomes.push(load::run(target, shape, until).await?);
                }
            }
        }
    }
    println!(
        "| sessions x calls | target | calls/s | of the plain handler | of the peer | p50 ms | p99 ms | CPU µs per call |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (shape, kind, outcomes) in &found {
        let middle =
            |value: fn(&Outcome) -> f64| median(outcomes.iter().map(value).collect::<Vec<_>>());
        // Ratios of the same round, because rounds differ more than targets do.
        let ratio = |other: Kind| {
            let others = found
                .iter()
                .find(|(at, kind, _)| at == shape && *kind == other);
            others.map_or_else(
                || "–".to_owned(),
                |(_, _, others)| {
                    let pairs = outcomes.iter().zip(others);
                    let ratios = pairs.map(|(one, other)| one.per_second / other.per_second);
                    format!("{:.2}", median(ratios.collect()))
                },
            )
        };
        println!(
            "| {shape} | {} | {:.0} | {} | {} | {:.3} | {:.2} | {:.1} |",
            kind.name(),
            middle(|outcome| outcome.per_second),
            ratio(Kind::Plain),
            ratio(Kind::Peer),
            middle(|outcome| outcome.p50),
            middle(|outcome| outcome.p99),
            middle(|outcome| outcome.cpu),
        );
    }
    Ok(())
}

async fn memory(kinds: &[Kind]) -> Result<()> {
    println!("\n| MiB | idle | 100 sessions | after 2000 calls | after {MANY} more | growth |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for kind in kinds {
        eprintln!("memory of {}", kind.name());
        let target = Target::start(*kind).await?;
        let id = target.process.id();
        let idle = measure::memory(id)?;
        let mut sessions = Vec::new();
        for _ in 0..100 {
            let mut session = target.session().await?;
            session.call("echo", &json!({ "text": "x" }), "x").await?;
            sessions.push(session);
        }
        let hundred = measure::memory(id)?;
        drop(sessions);
        drop(target);
        let target = Target::start(*kind).await?;
        let id = target.process.id();
        load::run(&target, shape(4, 4), Until::Calls(2000)).await?;
        let warm = measure::memory(id)?;
        load::run(&target, shape(4, 4), Until::Calls(MANY)).await?;
        let after = measure::memory(id)?;
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            kind.name(),
            mib(idle),
            mib(hundred),
            mib(warm),
            mib(after),
            mib(after.saturating_sub(warm)),
        );
    }
    Ok(())
}

async fn opening(kinds: &[Kind]) -> Result<()> {
    let mut targets = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.era() == Era::Legacy) {
        targets.push((Target::start(*kind).await?, Vec::new()));
    }
    eprintln!("opening");
    let mut bare = Vec::new();
    for _ in 0..60 {
        bare.push(bare_start()?);
        for (target, times) in &mut targets {
            let begun = Instant::now();
            let mut session = target.session().await?;
            session.call("echo", &json!({ "text": "x" }), "x").await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            session.end().await?;
        }
    }
    let bare = median(bare);
    println!(
        "\n| opening: connect, initialize, initialized, first call | ms | over a bare child |"
    );
    println!("| --- | --- | --- |");
    println!("| a bare child on pipes | {bare:.2} | |");
    for (target, times) in targets {
        let ms = median(times);
        let over = ms - bare;
        println!("| {} | {ms:.2} | {over:.2} |", target.kind.name());
    }
    Ok(())
}

/// A child on pipes, without a bridge.
struct Bare {
    process: std::process::Child,
    input: std::process::ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Bare {
    fn start() -> Result<Self> {
        let mut process = std::process::Command::new(built("bench-echo"))
            .arg("--legacy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = process.stdin.take().context("stdin")?;
        let output = BufReader::new(process.stdout.take().context("stdout")?);
        Ok(Self {
            process,
            input,
            output,
        })
    }

    fn tell(&mut self, message: &[u8]) -> Result<()> {
        self.input.write_all(message)?;
        Ok(self.input.write_all(b"\n")?)
    }

    fn answer(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line)?;
        Ok(line)
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        self.process.wait()?;
        Ok(())
    }
}

/// Milliseconds for the same messages on the pipes of a child.
fn bare_start() -> Result<f64> {
    let call = message::call(Era::Legacy, 7, "echo", &json!({ "text": "x" }));
    let begun = Instant::now();
    let mut child = Bare::start()?;
    child.tell(&message::initialize())?;
    child.answer()?;
    child.tell(INITIALIZED)?;
    child.tell(&call)?;
    message::check(&child.answer()?, 7, "x")?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    child.end()?;
    Ok(took)
}

/// Milliseconds for one large message on the pipes of a child.
fn bare_large(tool: &str, arguments: &serde_json::Value, text: &str) -> Result<f64> {
    let call = message::call(Era::Legacy, 7, tool, arguments);
    let mut child = Bare::start()?;
    let mut times = Vec::new();
    for _ in 0..LARGE_CALLS {
        let begun = Instant::now();
        child.tell(&call)?;
        let answer = child.answer()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        message::check(&answer, 7, text)?;
    }
    child.end()?;
    Ok(median(times))
}

async fn large(kinds: &[Kind]) -> Result<()> {
    println!("\n| 10 MiB | answer, ms | request, ms |");
    println!("| --- | --- | --- |");
    let text = "x".repeat(LARGE);
    let asks_much = json!({ "bytes": LARGE });
    let says_much = json!({ "text": text });
    let length = LARGE.to_string();
    println!(
        "| a bare child on pipes | {:.0} | {:.0} |",
        bare_large("large", &asks_much, &text)?,
        bare_large("size", &says_much, &length)?,
    );
    for kind in kinds {
        eprintln!("large messages of {}", kind.name());
        let target = Target::start(*kind).await?;
        let answer = large_one(&target, "large", &asks_much, &text).await;
        let request = large_one(&target, "size", &says_much, &length).await;
        let shown = |outcome: Result<f64>| match outcome {
            Ok(ms) => format!("{ms:.0}"),
            Err(error) => format!("fails: {error}"),
        };
        println!(
            "| {} | {} | {} |",
            kind.name(),
            shown(answer),
            shown(request)
        );
    }
    Ok(())
}

async fn large_one(
    target: &Target,
    tool: &str,
    arguments: &serde_json::Value,
    text: &str,
) -> Result<f64> {
    let mut session = target.session().await?;
    let mut times = Vec::new();
    for _ in 0..LARGE_CALLS {
        let duration = session.call(tool, arguments, text).await?;
        times.push(duration.as_secs_f64() * 1e3);
    }
    session.end().await?;
    Ok(median(times))
}
