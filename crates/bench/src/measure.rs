//! What the system says about a process. Linux only (proc(5)).

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Processor time of a process, user and system, all threads, without its children.
///
/// # Errors
///
/// If the process is gone.
pub fn cpu(pid: u32) -> Result<Duration> {
    // Nanoseconds on a processor; the ticks of `stat` are too coarse for one round.
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let mut total = 0_u64;
    for task in tasks {
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        total += first_number(&text).context("schedstat")?;
    }
    Ok(Duration::from_nanos(total))
}

/// Resident memory in bytes.
///
/// # Errors
///
/// If the process is gone.
pub fn memory(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(first_number(line.context("no VmRSS")?).context("VmRSS")? * 1024)
}

/// Open file descriptors.
///
/// # Errors
///
/// If the process is gone.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The middle one; zero of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// MiB with one decimal.
#[must_use]
pub fn mib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mib = bytes as f64 / (1024.0 * 1024.0);
    format!("{mib:.1}")
}
