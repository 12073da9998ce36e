//! `./justw dev`: one command, the whole gateway on a laptop, and nothing left after Ctrl-C.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use testkit::binaries;
use testkit::mcp_client::McpClient;
use testkit::person::{Credentials, Person};
use testkit::process::{self, Command, Logs};
use testkit::wait;

#[tokio::test]
async fn dev_serves_a_signed_in_client_and_ctrl_c_leaves_no_process() -> Result<()> {
    let logs = Logs::default();
    let built = binaries::mcp_auth();
    let directory = tempfile::tempdir()?;
    let mut dev = Command::new("dev", binaries::workspace().join("justw"))
        .arg("dev")
        .current_dir(binaries::workspace())
        // A place of its own: somebody may be using theirs.
        .env("GATEWAY_DEV_PLACE", directory.path().join("dev"))
        // The binaries under test instead of a release build of a minute.
        .env(
            "GATEWAY_DEV_BINARIES",
            built.parent().context("target directory")?,
        )
        .start(&logs)?;
    let ready = wait::until("./justw dev to be ready", Duration::from_secs(90), || {
        let ended = dev.ended().ok().flatten();
        let ready = logs.contain("Ready after").then_some(Ok(()));
        async move { ended.map(|status| Err(status.to_string())).or(ready) }
    })
    .await?;
    assert_eq!(ready, Ok(()), "it ended");
    // The summary is printed line by line.
    logs.wait_for("Ctrl-C").await?;

    // What a person does with the printed lines.
    let text = logs.text();
    let word_after = |label: &str| -> Result<String> {
        let rest = text.split(label).nth(1).with_context(|| label.to_owned())?;
        Ok(rest
            .split_ascii_whitespace()
            .next()
            .context("a word")?
            .to_owned())
    };
    let person = Person::new(Credentials::Local {
        username: word_after("Sign in as")?,
        password: word_after(" password ")?,
    })?;
    let url = text
        .split_ascii_whitespace()
        .find(|word| word.starts_with("http://mcp-echo."))
        .context("address of mcp-echo")?;
    let registered = McpClient::new(url.parse()?)?
        .discover()
        .await?
        .register()
        .await?;
    let session = registered
        .authorize(&person)
        .await?
        .token()
        .await?
        .session()
        .await?;
    let echoed = session
        .call_tool("echo", json!({"message": "hello"}))
        .await?;
    assert!(echoed.contains("hello"), "{echoed}");

    let family = process::descendants(dev.id())?;
    for name in ["traefik", "mcp-auth", "mcp-proxy", "mcp-echo"] {
        assert!(
            family.iter().any(|process| process.name == name),
            "{name} in {family:?}"
        );
    }
    dev.interrupt()?;
    dev.wait(Duration::from_secs(30)).await?;
    wait::until_true(
        "every process of ./justw dev to be gone",
        Duration::from_secs(10),
        || !family.iter().any(process::Descendant::lives),
    )
    .await?;
    logs.wait_for("everything has ended").await
}
