//! The tool that takes its time.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::server::Output;

/// Its name.
pub(crate) const NAME: &str = "timing";

/// The longest wait: one minute.
pub(super) const LONGEST_MS: u64 = 60_000;

/// The most progress notifications of one call.
pub(super) const MOST_STEPS: u64 = 1000;

const DEFAULT_MS: u64 = 1000;
const DEFAULT_STEPS: u64 = 10;

/// A wait that was asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    milliseconds: u64,
    steps: u64,
    progress_token: Option<Value>,
}

impl Plan {
    /// Reads the arguments; the error is a sentence for the model that called.
    pub(super) fn parse(
        arguments: &Map<String, Value>,
        progress_token: Option<Value>,
    ) -> Result<Self, String> {
        let number = |name: &str, default: u64, least: u64, most: u64| match arguments.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| {
                    format!("{name} must be a whole number from {least} to {most}, not {value}")
                }),
        };
        Ok(Self {
            milliseconds: number("milliseconds", DEFAULT_MS, 0, LONGEST_MS)?,
            steps: number("steps", DEFAULT_STEPS, 1, MOST_STEPS)?,
            progress_token,
        })
    }

    /// Waits in equal steps, with a progress notification after each if the caller gave a token for it.
    pub(crate) async fn run(&self, output: &Output) -> io::Result<Value> {
        let started = Instant::now();
        for step in 1..=self.steps {
            // From the start, not from the last step: the steps' own time must not add up.
            let due = Duration::from_micros(self.milliseconds * 1000 * step / self.steps);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            if let Some(token) = &self.progress_token {
                output
                    .send(&json!({
                        "jsonrpc": "2.0",
                        "method": "notifications/progress",
                        "params": {
                            "progressToken": token,
                            "progress": step,
                            "total": self.steps,
                            "message": format!("{step} of {}", self.steps),
                        },
                    }))
                    .await?;
            }
        }
        let text = format!(
            "asked for {} ms, took {} ms",
            self.milliseconds,
            started.elapsed().as_millis()
        );
        Ok(json!({"content": [{"type": "text", "text": text}]}))
    }
}
