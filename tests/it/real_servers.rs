//! MCP servers that people run, unmodified, each listed, called and closed through the bridge: by a client of the older revisions
//! and by one that asks for 2026-07-28 first.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::binaries::{mcp_proxy, tool, tools, workspace};
use testkit::process::{Command, Logs, Signal, address, descendants};
use testkit::site::{SENTENCE, Site};
use testkit::wait::{self, PATIENCE};
use tokio::task::spawn_blocking;

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A program, and the call that shows that it does its work.
struct Server {
    program: &'static str,
    arguments: Vec<String>,
    /// The name by which it introduces itself.
    name: &'static str,
    tool: &'static str,
    call: Value,
    /// What the answer to the call contains.
    answer: String,
}

#[derive(Debug, Clone, Copy)]
enum Client {
    /// npm `@modelcontextprotocol/sdk` 1.32.2: the handshake of 2025-11-25.
    Legacy,
    /// npm `@modelcontextprotocol/client` 2.4.0, asking `server/discover` first.
    Auto,
}

/// What the client saw.
#[derive(Debug, Deserialize)]
struct Seen {
    version: String,
    session: bool,
    server: Option<String>,
    tools: Vec<String>,
    result: Value,
}

fn time() -> Server {
    Server {
        program: "mcp-server-time",
        arguments: vec!["--local-timezone=UTC".to_owned()],
        name: "mcp-time",
        tool: "convert_time",
        call: json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kolkata" }),
        answer: "T17:30:00+05:30".to_owned(),
    }
}

fn everything() -> Server {
    Server {
        program: "mcp-server-everything",
        arguments: vec!["stdio".to_owned()],
        name: "mcp-servers/everything",
        tool: "get-sum",
        call: json!({ "a": 20, "b": 22 }),
        answer: "42".to_owned(),
    }
}

fn sequential_thinking() -> Server {
    Server {
        program: "mcp-server-sequential-thinking",
        arguments: Vec::new(),
        name: "sequential-thinking-server",
        tool: "sequentialthinking",
        call: json!({ "thought": "first", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1 }),
        answer: "thoughtHistoryLength".to_owned(),
    }
}

#[tokio::test]
async fn the_fetch_server_reads_a_page() -> Result<()> {
    let site = Site::start()?;
    let server = || -> Result<Server> {
        Ok(Server {
            program: "mcp-server-fetch",
            arguments: vec!["--allow-private-ips".to_owned()],
            name: "mcp-fetch",
            tool: "fetch",
            call: json!({ "url": site.note()? }),
            answer: SENTENCE.to_owned(),
        })
    };
    server()?.is_used_by(Client::Legacy).await?;
    server()?.is_used_by(Client::Auto).await
}

#[tokio::test]
async fn the_time_server_converts_a_time() -> Result<()> {
    time().is_used_by(Client::Legacy).await?;
    time().is_used_by(Client::Auto).await
}

#[tokio::test]
async fn the_everything_server_adds() -> Result<()> {
    everything().is_used_by(Client::Legacy).await?;
    everything().is_used_by(Client::Auto).await
}

#[tokio::test]
async fn the_filesystem_server_reads_a_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // The server compares real paths.
    let folder = directory.path().canonicalize()?;
    let file = folder.join("note.txt");
    std::fs::write(&file, "what the note says")?;
    let server = || Server {
        program: "mcp-server-filesystem",
        arguments: vec![folder.display().to_string()],
        name: "secure-filesystem-server",
        tool: "read_text_file",
        call: json!({ "path": file }),
        answer: "what the note says".to_owned(),
    };
    server().is_used_by(Client::Legacy).await?;
    server().is_used_by(Client::Auto).await
}

#[tokio::test]
async fn the_memory_server_remembers() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("memory.jsonl");
    let server = |name: &str| Server {
        program: "env",
        arguments: vec![
            format!("MEMORY_FILE_PATH={}", file.display()),
            tool("mcp-server-memory").display().to_string(),
        ],
        name: "memory-server",
        tool: "create_entities",
        call: json!({ "entities": [{ "name": name, "entityType": "person", "observations": ["writes"] }] }),
        answer: name.to_owned(),
    };
    server("Ada").is_used_by(Client::Legacy).await?;
    server("Grace").is_used_by(Client::Auto).await?;
    let remembered = std::fs::read_to_string(&file)?;
    ensure!(
        remembered.contains("Ada") && remembered.contains("Grace"),
        "{remembered}"
    );
    Ok(())
}

#[tokio::test]
async fn the_sequential_thinking_server_thinks() -> Result<()> {
    sequential_thinking().is_used_by(Client::Legacy).await?;
    sequential_thinking().is_used_by(Client::Auto).await
}

impl Server {
    async fn is_used_by(&self, client: Client) -> Result<()> {
        let logs = Logs::default();
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("addresses");
        let program = match self.program {
            "env" => "env".to_owned(),
            name => tool(name).display().to_string(),
        };
        let mut bridge = Command::new("mcp-proxy", mcp_proxy())
            .current_dir(directory.path())
            .env("PRIVATE_PORT", "0")
            // What is left when a session is closed must be nothing.
            .env("CHILD_WARM_SPARE", "false")
            .args(["--port", "0", "--address-file"])
            .arg(&file)
            .arg("--")
            .arg(program)
            .args(&self.arguments)
            .start(&logs)?;
        let public = address(&mut bridge, &file, "public").await?;

        let seen = self
            .drive(client, &format!("http://{public}/mcp"), &logs)
            .await?;
        let expected = match client {
            Client::Legacy => LEGACY,
            // Where a server does not speak it, the bridge translates.
            Client::Auto => MODERN,
        };
        ensure!(seen.version == expected, "{expected} expected: {seen:?}");
        ensure!(seen.session == (expected == LEGACY), "{seen:?}");
        ensure!(seen.server.as_deref() == Some(self.name), "{seen:?}");
        ensure!(seen.tools.iter().any(|tool| tool == self.tool), "{seen:?}");
        ensure!(
            seen.result.get("isError") != Some(&json!(true)),
            "{}",
            seen.result
        );
        ensure!(
            seen.result.to_string().contains(&self.answer),
            "{}",
            seen.result
        );

        let id = bridge.id();
        if seen.session {
            // The session is closed, and its processes with it: starters, servers, whatever they started.
            wait::until_true(
                "the end of the closed session's processes",
                PATIENCE,
                || descendants(id).is_ok_and(|left| left.is_empty()),
            )
            .await?;
        }
        let left = descendants(id)?;
        bridge.signal(Signal::TERM)?;
        let status = bridge.wait(PATIENCE).await?;
        ensure!(status.success(), "mcp-proxy ended with {status}");
        ensure!(left.iter().all(|process| !process.lives()), "{left:?}");
        Ok(())
    }

    /// Runs the client to its end.
    async fn drive(&self, client: Client, url: &str, logs: &Logs) -> Result<Seen> {
        let kind = match client {
            Client::Legacy => "sdk-1",
            Client::Auto => "client-2-auto",
        };
        let call = self.call.to_string();
        let mut driver = Command::new(kind, tool("node"))
            .arg(workspace().join("tests/clients/servers.mjs"))
            .args([kind, url, self.tool, &call])
            .env("GATEWAY_TOOLS", tools())
            .keep_stdout()
            .start(logs)?;
        let stdout = driver.take_stdout().context("stdout of the client")?;
        // Not on the thread of the test, which serves the page meanwhile.
        let line = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        })
        .await??;
        serde_json::from_str(&line)
            .with_context(|| format!("the client said {line:?}; its errors are in the log"))
    }
}
