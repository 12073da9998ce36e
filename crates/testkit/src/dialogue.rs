//! A script that is told JSON lines on stdin and says JSON lines on stdout, each an object with the member `event`.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::mcp_client;
use crate::process::{Command, Logs, Process};
use crate::wait::{self, PATIENCE};

/// A running script.
#[derive(Debug)]
pub struct Dialogue {
    process: Process,
    events: Receiver<String>,
}

impl Dialogue {
    /// Starts the script; what it writes to stderr is in the logs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(command: Command, logs: &Logs) -> Result<Self> {
        let mut process = command.keep_stdout().start(logs)?;
        let stdout = process.take_stdout().context("stdout of the script")?;
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, events })
    }

    /// Waits for the next event and expects it to be `name`.
    ///
    /// # Errors
    ///
    /// If another comes, or the script ends; what it wrote to stderr is in the logs.
    pub async fn expect(&mut self, name: &str) -> Result<Value> {
        let line = wait::until(&format!("the script's {name:?}"), PATIENCE, || {
            let next = match self.events.try_recv() {
                Ok(line) => Some(Some(line)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(None),
            };
            async move { next }
        })
        .await?;
        let Some(line) = line else {
            bail!("the script ended instead of saying {name:?}")
        };
        let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(
            mcp_client::text(&event, "event")? == name,
            "expected {name:?}, the script says {line}"
        );
        Ok(event)
    }

    /// Tells the script something.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn tell(&mut self, message: &Value) -> Result<()> {
        self.process.write_line(&message.to_string())
    }
}
