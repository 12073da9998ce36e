//! Targets in turn, round after round.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bench::measure::{self, median};
use bench::wrk::{self, Load, Outcome, Shape};
use testkit::process::Signal;

/// One of the compared.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) load: Load,
    /// Whose processor time is counted.
    pub(crate) process: u32,
    /// Whether the answers are refusals.
    pub(crate) is_refused: bool,
    /// Whether the process forgets first which tokens are good.
    pub(crate) is_forgetful: bool,
}

struct Round {
    outcome: Outcome,
    /// Microseconds of processor time for one answer.
    cpu: f64,
}

/// How long a configuration takes that is read again.
const READ: Duration = Duration::from_millis(200);

fn run(target: &Target, shape: Shape) -> Result<Round> {
    if target.is_forgetful {
        // Rules that are read again end every remembered decision.
        let pid = rustix::process::Pid::from_raw(target.process.cast_signed());
        rustix::process::kill_process(pid.context("a process")?, Signal::HUP)?;
        std::thread::sleep(READ);
    }
    let before = measure::cpu(target.process)?;
    let outcome = wrk::run(&target.load, shape)?;
    let cpu = measure::cpu(target.process)?.saturating_sub(before);
    let expected = if target.is_refused {
        outcome.requests
    } else {
        0.0
    };
    // wrk counts what still comes after its time as well.
    let strange = (outcome.refused - expected).abs();
    ensure!(
        strange <= 64.0,
        "{}: {} of {} answers were refusals",
        target.name,
        outcome.refused,
        outcome.requests
    );
    Ok(Round {
        outcome,
        cpu: cpu.as_secs_f64() * 1e6 / outcome.requests,
    })
}

/// Prints one table; ratios are to the first target, of the same round, because rounds differ more than targets do.
pub(crate) fn compare(title: &str, targets: &[Target], shape: Shape, rounds: usize) -> Result<()> {
    let warm = Shape {
        seconds: 1,
        ..shape
    };
    for target in targets {
        run(target, warm)?;
    }
    let mut found: Vec<Vec<Round>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("{title}: round {} of {rounds}", round + 1);
        for (target, rounds) in targets.iter().zip(&mut found) {
            rounds.push(run(target, shape)?);
        }
    }
    println!(
        "\n| {title} | answers/s | share of the first | p50 ms | p99 ms | CPU µs | share of the first |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let Some(first) = found.first() else {
        return Ok(());
    };
    for (target, rounds) in targets.iter().zip(&found) {
        let middle = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let of_first = |value: fn(&Round) -> f64| {
            let pairs = rounds.iter().zip(first);
            median(
                pairs
                    .map(|(one, first)| value(one) / value(first))
                    .collect(),
            )
        };
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} |",
            target.name,
            middle(|round| round.outcome.per_second),
            of_first(|round| round.outcome.per_second),
            middle(|round| round.outcome.p50),
            middle(|round| round.outcome.p99),
            middle(|round| round.cpu),
            of_first(|round| round.cpu),
        );
    }
    Ok(())
}
