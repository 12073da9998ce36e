//! A child's stderr: always drained, logged line by line within bounds.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::frames::{Line, Lines};

/// Lines of a child's stderr that are logged per second; the rest is counted.
const STDERR_LINES_PER_SECOND: u32 = 100;
/// Bytes of one line of stderr that are logged.
const STDERR_LINE: usize = 4096;

/// Logs what a child writes to its stderr until it ends.
pub async fn log(mut stderr: impl AsyncRead + Unpin, span: tracing::Span) {
    // Always drained, so that a talkative child never blocks on its stderr.
    let mut lines = Lines::new(STDERR_LINE);
    let (mut second, mut logged, mut dropped) = (Instant::now(), 0, 0_u64);
    while let Ok(read) = stderr.read_buf(lines.buffer()).await
        && read > 0
    {
        while let Some(line) = lines.next_line() {
            if second.elapsed() >= Duration::from_secs(1) {
                if dropped > 0 {
                    warn!(parent: &span, lines = dropped, "the MCP server wrote more to stderr than is logged");
                }
                (second, logged, dropped) = (Instant::now(), 0, 0);
            }
            if logged == STDERR_LINES_PER_SECOND {
                dropped += 1;
                continue;
            }
            logged += 1;
            match line {
                Line::Whole(line) => {
                    let text = String::from_utf8_lossy(&line);
                    info!(target: "child", parent: &span, stderr = %text.escape_debug());
                }
                Line::TooLong(bytes) => {
                    info!(target: "child", parent: &span, bytes, "an over-long line on stderr");
                }
            }
        }
    }
    if let Some(rest) = lines.rest() {
        info!(target: "child", parent: &span, stderr = %String::from_utf8_lossy(&rest).escape_debug());
    }
    if dropped > 0 {
        warn!(parent: &span, lines = dropped, "the MCP server wrote more to stderr than is logged");
    }
}
