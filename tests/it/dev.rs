//! `./justw dev`: one command, the whole gateway on a laptop, nothing left afterwards, and one line for what is in the way.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use testkit::mcp_client::McpClient;
use testkit::person::{Credentials, Person};
use testkit::process::{self, Command, Logs, Process, Signal};
use testkit::wait::{self, PATIENCE};
use testkit::{binaries, network};

/// `./justw dev` with what follows, in a place of its own: somebody may be using theirs.
fn dev(place: &Path, arguments: &[&str]) -> Result<Command> {
    let built = binaries::mcp_auth();
    Ok(Command::new("dev", binaries::workspace().join("justw"))
        .arg("dev")
        .args(arguments)
        .current_dir(binaries::workspace())
        .env("GATEWAY_DEV_PLACE", place)
        // The binaries under test instead of a release build of some minutes.
        .env(
            "GATEWAY_DEV_BINARIES",
            built.parent().context("target directory")?,
        ))
}

async fn ready(dev: &mut Process, logs: &Logs) -> Result<()> {
    let ready = wait::until("./justw dev to be ready", Duration::from_secs(90), || {
        let ended = dev.ended().ok().flatten();
        let ready = logs.contain("Ready after").then_some(None);
        async move { ended.map(Some).or(ready) }
    })
    .await?;
    if let Some(status) = ready {
        bail!("./justw dev ended: {status}");
    }
    // The summary is printed line by line.
    logs.wait_for("Ctrl-C").await
}

async fn gone(family: &[process::Descendant]) -> Result<()> {
    let what = "every process of ./justw dev to be gone";
    wait::until_true(what, Duration::from_secs(20), || {
        !family.iter().any(process::Descendant::lives)
    })
    .await
}

#[tokio::test]
async fn it_serves_a_signed_in_client_and_ctrl_c_leaves_no_process() -> Result<()> {
    let logs = Logs::default();
    let directory = tempfile::tempdir()?;
    let place = directory.path().join("dev");
    let port = network::free_port()?.to_string();
    let mut running = dev(&place, &["--port", &port])?.start(&logs)?;
    ready(&mut running, &logs).await?;

    // What a person does with the printed lines.
    let text = logs.text();
    let word_after = |label: &str| -> Result<String> {
        let rest = text.split(label).nth(1).with_context(|| label.to_owned())?;
        let word = rest.split_ascii_whitespace().next().context("a word")?;
        Ok(word.to_owned())
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
    let granted = registered.authorize(&person).await?.token().await?;
    let session = granted.session().await?;
    let echoed = session
        .call_tool("echo", json!({"message": "hello"}))
        .await?;
    assert!(echoed.contains("hello"), "{echoed}");

    // Two runs in one place would share the store.
    let second = said(dev(&place, &[])?).await?;
    assert!(second.contains("./justw dev runs already here"), "{second}");

    let family = process::descendants(running.id())?;
    for name in ["traefik", "mcp-auth", "mcp-proxy", "mcp-echo"] {
        assert!(
            family.iter().any(|process| process.name == name),
            "{name} in {family:?}"
        );
    }
    running.signal_group(Signal::INT)?;
    running.wait(PATIENCE).await?;
    gone(&family).await?;
    logs.wait_for("everything has ended").await
}

#[tokio::test]
async fn a_killed_run_leaves_no_process_either() -> Result<()> {
    let logs = Logs::default();
    let directory = tempfile::tempdir()?;
    let port = network::free_port()?.to_string();
    let place = directory.path().join("dev");
    let mut running = dev(&place, &["--port", &port])?.start(&logs)?;
    ready(&mut running, &logs).await?;
    let family = process::descendants(running.id())?;
    running.signal_group(Signal::KILL)?;
    gone(&family).await
}

#[tokio::test]
async fn what_is_in_the_way_is_one_line_with_what_to_do() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let place = directory.path().join("dev");
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let line = said(dev(&place, &["--port", &port])?).await?;
    assert_eq!(
        line.replace(&port, "PORT"),
        "dev: dev: port PORT is taken; end what listens there (lsof -i :PORT) or choose another: ./justw dev --port NUMBER"
    );
    let line = said(dev(&place, &["oops"])?).await?;
    assert!(line.contains("'oops' is not NAME=COMMAND"), "{line}");

    // A machine without Python and just: only the shell and what the wrapper needs of it.
    let programs = directory.path().join("bin");
    std::fs::create_dir(&programs)?;
    for program in ["sh", "dirname", "sed", "mkdir", "tail", "rm"] {
        let found = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(program));
        let found = found.iter().find(|path| path.exists()).context(program)?;
        symlink(found, programs.join(program))?;
    }
    let bare = dev(&place, &[])?
        .env("PATH", &programs)
        .env("GATEWAY_TOOLS", directory.path().join("tools"));
    let line = said(bare).await?;
    assert!(
        line.contains("Python 3 is not installed; install it"),
        "{line}"
    );
    Ok(())
}

/// What a command says that fails at once: a single line.
async fn said(command: Command) -> Result<String> {
    let logs = Logs::default();
    let mut process = command.start(&logs)?;
    let status = process.wait(PATIENCE).await?;
    assert!(!status.success(), "{status}");
    wait::until_true("a line", PATIENCE, || !logs.text().is_empty()).await?;
    let text = logs.text();
    // `tools` lines tell what is installed already.
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("tools "))
        .collect();
    let [line] = lines[..] else {
        bail!("not one line but {text}")
    };
    Ok(line.to_owned())
}
