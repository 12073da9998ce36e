//! What is measured: each a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::binaries::{built, tools};
use testkit::process::{self, Command, Logs, Process};
use testkit::wait::{self, PATIENCE};

use crate::connection::{Answer, Connection};
use crate::message::{self, Era, INITIALIZED};

/// One of the measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An actix-web handler without a child.
    Plain,
    /// `mcp-proxy` of this workspace: sessions, around a server of the older revisions.
    Ours,
    /// The same without a spare child: each session waits for the start of its own.
    OursWithoutSpare,
    /// The same: 2026-07-28, around a server of that revision.
    OursModern,
    /// `mcp-proxy` 0.6.0 of crates.io, the fastest other bridge known.
    Peer,
}

impl Kind {
    /// Its name in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain handler",
            Self::Ours => "ours",
            Self::OursWithoutSpare => "ours, without a spare child",
            Self::OursModern => "ours, 2026-07-28",
            Self::Peer => "peer",
        }
    }

    /// The era its client speaks.
    #[must_use]
    pub fn era(self) -> Era {
        if self == Self::OursModern {
            Era::Modern
        } else {
            Era::Legacy
        }
    }
}

/// Where the peer is installed by `just bench-proxy`.
#[must_use]
pub fn peer() -> PathBuf {
    tools().join("bench/bin/mcp-proxy")
}

/// A running target.
#[derive(Debug)]
pub struct Target {
    /// Which.
    pub kind: Kind,
    /// The process.
    pub process: Process,
    address: SocketAddr,
    path: &'static str,
    prefix: &'static str,
    _directory: tempfile::TempDir,
}

impl Target {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn start(kind: Kind) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let logs = Logs::default();
        let file = directory.path().join("addresses");
        let child = built("bench-echo");
        let (mut process, prefix) = match kind {
            Kind::Plain => {
                let command = Command::new("plain", built("bench-plain")).arg(&file);
                (command.start(&logs)?, "")
            }
            Kind::Ours | Kind::OursModern | Kind::OursWithoutSpare => {
                let legacy = (kind != Kind::OursModern).then_some("--legacy");
                let spare = kind != Kind::OursWithoutSpare;
                let command = Command::new("ours", built("mcp-proxy"))
                    .current_dir(directory.path())
                    .env("PRIVATE_PORT", "0")
                    .env("LOG_LEVEL", "warn")
                    .env("CHILD_WARM_SPARE", spare.to_string())
                    .env("MAX_SESSIONS", "2000")
                    .env("MAX_IN_FLIGHT", "1000")
                    .args(["--port", "0", "--address-file"])
                    .arg(&file)
                    .arg("--")
                    .arg(child)
                    .args(legacy);
                (command.start(&logs)?, "")
            }
            Kind::Peer => {
                // It takes no port 0, and does not say what it got.
                let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                std::fs::write(&file, format!("public={free}\n"))?;
                let config = directory.path().join("proxy.toml");
                std::fs::write(&config, peer_configuration(free.port(), &child))?;
                let command = Command::new("peer", peer()).arg("--config").arg(config);
                (command.start(&logs)?, "echo/")
            }
        };
        let address = process::address(&mut process, &file, "public").await?;
        let path = if kind == Kind::Peer { "/" } else { "/mcp" };
        let target = Self {
            kind,
            process,
            address,
            path,
            prefix,
            _directory: directory,
        };
        let target_ref = &target;
        wait::until("the first answer", PATIENCE, || async move {
            let session = target_ref.session().await.ok()?;
            session.end().await.ok()
        })
        .await?;
        let id = target.process.id();
        if kind != Kind::Peer {
            wait::until_true("the end of the first children", PATIENCE, || {
                kind.era() == Era::Modern
                    || process::descendants(id).is_ok_and(|left| left.len() <= 1)
            })
            .await?;
        }
        Ok(target)
    }

    /// Opens a session with its first connection; in the newer revision there is nothing to open.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub async fn session(&self) -> Result<Session<'_>> {
        let mut session = Session {
            target: self,
            id: None,
            connection: Connection::open(self.address).await?,
        };
        if matches!(self.kind, Kind::Ours | Kind::OursWithoutSpare | Kind::Peer) {
            let answer = session.post(&message::initialize(), None).await?;
            ensure!(answer.status == 200, "initialize: {answer:?}");
            session.id = answer.session;
            ensure!(session.id.is_some(), "no session id");
            let answer = session.post(INITIALIZED, None).await?;
            ensure!(
                answer.status == 202 || answer.status == 200,
                "initialized: {answer:?}"
            );
        }
        Ok(session)
    }

    /// The head of every request of a session.
    #[must_use]
    pub fn head(&self, method: &str, session: Option<&str>, tool: Option<&str>) -> Vec<u8> {
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n",
            self.path, self.address
        );
        if let Some(id) = session {
            head.push_str("mcp-session-id: ");
            head.push_str(id);
            head.push_str("\r\nmcp-protocol-version: 2025-11-25\r\n");
        }
        if self.kind == Kind::OursModern
            && let Some(tool) = tool
        {
            head.push_str(
                "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: ",
            );
            head.push_str(tool);
            head.push_str("\r\n");
        }
        head.into_bytes()
    }

    /// How the target calls a tool of the child.
    #[must_use]
    pub fn tool(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A connection more.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).await
    }
}

/// A session and a connection for it.
#[derive(Debug)]
pub struct Session<'t> {
    /// Of whom.
    pub target: &'t Target,
    /// `Mcp-Session-Id`.
    pub id: Option<String>,
    connection: Connection,
}

impl Session<'_> {
    async fn post(&mut self, body: &[u8], tool: Option<&str>) -> Result<Answer> {
        let head = self.target.head("POST", self.id.as_deref(), tool);
        self.connection.exchange(&head, body).await
    }

    /// Calls a tool and checks what it says. Answers how long that took: from the first byte of the request to the last one of
    /// the answer, without the work of making the one and reading the other.
    ///
    /// # Errors
    ///
    /// If it says something else.
    pub async fn call(&mut self, tool: &str, arguments: &Value, text: &str) -> Result<Duration> {
        let tool = self.target.tool(tool);
        let body = message::call(self.target.kind.era(), 7, &tool, arguments);
        let begun = Instant::now();
        let answer = self.post(&body, Some(&tool)).await?;
        let duration = begun.elapsed();
        ensure!(answer.status == 200, "{tool}: status {}", answer.status);
        message::check(&answer.body, 7, text)?;
        Ok(duration)
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub async fn end(self) -> Result<()> {
        if self.id.is_some() {
            let head = self.target.head("DELETE", self.id.as_deref(), None);
            // Its own connection may have been idle for longer than the target keeps it.
            let mut connection = self.target.connect().await?;
            connection.exchange(&head, b"").await.context("DELETE")?;
        }
        Ok(())
    }
}

fn peer_configuration(port: u16, child: &std::path::Path) -> String {
    format!(
        r#"[proxy]
name = "bench"

[proxy.listen]
host = "127.0.0.1"
port = {port}

[[backends]]
name = "echo"
transport = "stdio"
command = "{}"
args = ["--legacy"]

[observability]
log_level = "error"
"#,
        child.display()
    )
}
