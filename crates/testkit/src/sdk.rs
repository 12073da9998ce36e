//! The official MCP clients, each driven through its own OAuth code by a small script in `tests/clients/`.
//!
//! A driver says JSON lines on stdout and hears JSON lines on stdin. The person and the browser are the test's.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use url::Url;

use crate::person::Person;
use crate::process::{Command, Logs, Process};
use crate::wait::{self, PATIENCE};
use crate::{binaries, mcp_client};

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// `PyPI` `mcp` 2.3.0 as it is: asks `server/discover` first.
    PythonAuto,
    /// The same, with the handshake of 2025-11-25.
    PythonLegacy,
    /// npm `@modelcontextprotocol/sdk` 1.32.2.
    TypeScript1,
    /// npm `@modelcontextprotocol/client` 2.4.0 as it is: the handshake of 2025-11-25.
    TypeScript2,
    /// The same, asking `server/discover` first.
    TypeScript2Auto,
}

/// A running driver.
#[derive(Debug)]
pub struct Driver {
    process: Process,
    events: Receiver<String>,
}

impl Driver {
    /// Starts the client on the MCP endpoint `mcp_url`; it will call the tool `fetch` for `page`.
    ///
    /// # Errors
    ///
    /// If the interpreter does not start.
    pub fn start(sdk: Sdk, mcp_url: &Url, page: &Url, logs: &Logs) -> Result<Self> {
        let (program, script, kind) = match sdk {
            Sdk::PythonAuto => ("python-mcp", "python_mcp.py", "auto"),
            Sdk::PythonLegacy => ("python-mcp", "python_mcp.py", "legacy"),
            Sdk::TypeScript1 => ("node", "typescript.mjs", "sdk-1"),
            Sdk::TypeScript2 => ("node", "typescript.mjs", "client-2"),
            Sdk::TypeScript2Auto => ("node", "typescript.mjs", "client-2-auto"),
        };
        let mut process = Command::new(kind, binaries::tool(program))
            .arg(binaries::workspace().join("tests/clients").join(script))
            .args([kind, mcp_url.as_str(), page.as_str()])
            .env("GATEWAY_TOOLS", binaries::tools())
            .keep_stdout()
            .start(logs)?;
        let stdout = process.take_stdout().context("stdout of the driver")?;
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
    /// If another comes, or the driver ends; what it wrote to stderr is in the logs.
    pub async fn expect(&mut self, name: &str) -> Result<Value> {
        let line = wait::until(&format!("the driver's {name:?}"), PATIENCE, || {
            let next = match self.events.try_recv() {
                Ok(line) => Some(Some(line)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(None),
            };
            async move { next }
        })
        .await?;
        let Some(line) = line else {
            bail!("the driver ended instead of saying {name:?}")
        };
        let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(
            mcp_client::text(&event, "event")? == name,
            "expected {name:?}, the driver says {line}"
        );
        Ok(event)
    }

    /// Tells the driver something.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn tell(&mut self, message: &Value) -> Result<()> {
        self.process.write_line(&message.to_string())
    }

    /// Waits until the client sends its person to the browser, lets the person approve, and hands the answer to the client.
    ///
    /// # Errors
    ///
    /// If the client does not ask, or the person cannot sign in.
    pub async fn sign_in(&mut self, person: &Person) -> Result<()> {
        let event = self.expect("authorize").await?;
        let url = mcp_client::text(&event, "url")?.parse()?;
        let redirect_uri = mcp_client::text(&event, "redirect_uri")?.parse()?;
        let back = person.approve(&url, &redirect_uri).await?;
        self.tell(&json!({"callback": back}))
    }
}
