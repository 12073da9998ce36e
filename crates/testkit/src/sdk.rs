//! The official MCP clients, each driven through its own OAuth code by a small script in `tests/clients/`.
//!
//! A driver says JSON lines on stdout and hears JSON lines on stdin. The person and the browser are the test's.

use anyhow::Result;
use serde_json::{Value, json};
use url::Url;

use crate::dialogue::Dialogue;
use crate::person::Person;
use crate::process::{Command, Logs};
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
    dialogue: Dialogue,
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
        let command = Command::new(kind, binaries::tool(program))
            .arg(binaries::workspace().join("tests/clients").join(script))
            .args([kind, mcp_url.as_str(), page.as_str()])
            .env("GATEWAY_TOOLS", binaries::tools());
        let dialogue = Dialogue::start(command, logs)?;
        Ok(Self { dialogue })
    }

    /// Waits for the next event and expects it to be `name`.
    ///
    /// # Errors
    ///
    /// If another comes, or the driver ends; what it wrote to stderr is in the logs.
    pub async fn expect(&mut self, name: &str) -> Result<Value> {
        self.dialogue.expect(name).await
    }

    /// Tells the driver something.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn tell(&mut self, message: &Value) -> Result<()> {
        self.dialogue.tell(message)
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
