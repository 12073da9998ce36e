//! The official clients of 2026-07-28 and a server on the npm SDK 1.x that asks its client in the middle of a call: the bridge
//! translates, and neither side knows.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::binaries::{mcp_proxy, tool, tools, workspace};
use testkit::process::{Command, Logs, address};

#[tokio::test]
async fn pypi_mcp_2_3_0_answers_an_older_server() -> Result<()> {
    is_asked("python-mcp", &["asking.py"]).await
}

#[tokio::test]
async fn npm_client_2_4_0_answers_an_older_server() -> Result<()> {
    is_asked("node", &["asking.mjs", "auto"]).await
}

#[tokio::test]
async fn npm_client_2_4_0_pinned_to_2026_07_28_answers_an_older_server() -> Result<()> {
    is_asked("node", &["asking.mjs", "pinned"]).await
}

/// Runs a client to its end: one question after the other, one alone, three at once.
async fn is_asked(interpreter: &str, script: &[&str]) -> Result<()> {
    let logs = Logs::default();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("addresses");
    let mut bridge = Command::new("mcp-proxy", mcp_proxy())
        .current_dir(directory.path())
        .env("PRIVATE_PORT", "0")
        .args(["--port", "0", "--address-file"])
        .arg(&file)
        .arg("--")
        .arg(tool("node"))
        .arg(workspace().join("tests/conformance/sdk-legacy-server.mjs"))
        .arg(workspace().join(".tools/npm"))
        .start(&logs)?;
    let public = address(&mut bridge, &file, "public").await?;
    let (name, rest) = script.split_first().context("no script")?;
    let mut driver = Command::new("client", tool(interpreter))
        .arg(workspace().join("tests/clients").join(name))
        .args(rest)
        .arg(format!("http://{public}/mcp"))
        .env("GATEWAY_TOOLS", tools())
        .keep_stdout()
        .start(&logs)?;
    let stdout = driver.take_stdout().context("stdout of the client")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let seen: Value = serde_json::from_str(&line)
        .with_context(|| format!("the client said {line:?}; its errors are in the log"))?;
    let asked = [
        "Step 1: What is your name?",
        "Step 2: What is your favorite color?",
        "What is the capital of France?",
        "What is your name?",
        "Generate a greeting",
        "roots",
    ];
    let answers = ["Alice likes blue", "Paris", "Three answers"];
    let expected = json!({ "version": "2026-07-28", "asked": asked, "answers": answers });
    assert_eq!(seen, expected);
    Ok(())
}
