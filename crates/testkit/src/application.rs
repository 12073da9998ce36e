//! Programs that people use as MCP clients, as they are released: each has a home of its own and finds the gateway by name.

use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use url::Url;

use crate::gateway::Gateway;
use crate::person::Person;
use crate::process::{Command, Logs, Process};
use crate::{binaries, network, wait};

/// Longer than any of them needs: they are a hundred megabytes and more, and load all of it.
const PATIENCE: Duration = Duration::from_secs(40);

/// Gives its arguments, a command, a terminal, as a person has one.
const TERMINAL: &str =
    "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// Runs its arguments, a command, with another list of names.
const WITH_NAMES: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// A program of `.tools/bin` and the person's settings for it.
#[derive(Debug)]
pub struct Application {
    program: PathBuf,
    environment: Vec<(String, String)>,
    home: TempDir,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Lines of stdout and stderr.
    pub text: String,
    /// Its end.
    pub status: ExitStatus,
}

impl Application {
    /// The program `name`, with nothing in its home yet.
    ///
    /// # Errors
    ///
    /// If there is no place for a home.
    pub fn new(name: &str, gateway: &Gateway) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let hosts: Vec<String> = gateway.hosts().collect();
        std::fs::write(
            home.path().join("hosts"),
            format!("127.0.0.1 localhost {}\n", hosts.join(" ")),
        )?;
        Ok(Self {
            program: binaries::tool(name),
            environment: Vec::new(),
            home,
        })
    }

    /// Sets a variable for all that follows.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    /// A file in its home.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// The program with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.started(&[], arguments)
    }

    /// The program with these arguments, at a terminal.
    #[must_use]
    pub fn at_terminal(&self, arguments: &[&str]) -> Command {
        self.started(&["python3", "-c", TERMINAL], arguments)
    }

    fn started(&self, by: &[&str], arguments: &[&str]) -> Command {
        let program = self.program.display().to_string();
        let hosts = self.file("hosts").display().to_string();
        let names = [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            WITH_NAMES,
            &hosts,
        ];
        // Many systems do not resolve what is below `localhost`, and only root can tell them; so it is told in a namespace.
        let names = if ("auth.localhost", 80).to_socket_addrs().is_ok() {
            &[]
        } else {
            &names[..]
        };
        let words = [names, by, &[&program], arguments].concat();
        let name = self
            .program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let [first, rest @ ..] = &words[..] else {
            unreachable!("the program is one")
        };
        let mut command = Command::new(&name, first)
            .args(rest)
            .current_dir(self.home.path())
            .env("HOME", self.home.path().display().to_string())
            .env("TERM", "xterm");
        for (variable, value) in &self.environment {
            command = command.env(variable, value);
        }
        command
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// If it does not start, or does not end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let logs = Logs::default();
        let mut process = self.command(arguments).start(&logs)?;
        drop(process.take_stdin());
        said(&mut process, &logs).await
    }
}

/// Waits for the end of a program.
///
/// # Errors
///
/// If it does not end.
pub async fn said(process: &mut Process, logs: &Logs) -> Result<Said> {
    let status = process.wait(PATIENCE).await?;
    let text = logs.text();
    Ok(Said { text, status })
}

/// Does what a person does whom a program sends to the browser: opens the address that it prints, agrees, signs in. The browser
/// brings the answer to the port at which the program listens.
///
/// # Errors
///
/// If it prints none, the person cannot sign in, or nobody listens.
pub async fn sign_in(logs: &Logs, person: &Person) -> Result<Url> {
    let address = wait::until("an address for the browser", PATIENCE, async || {
        let text = logs.text();
        // To a terminal the address may come with colours, and as a link.
        let mut words = text.split(|found: char| !found.is_ascii_graphic());
        words.find_map(|word| {
            let at = word.find("http://auth.localhost:")?;
            word.contains("/authorize?").then(|| word[at..].to_owned())
        })
    });
    let address: Url = address.await?.parse()?;
    let redirect_uri = address
        .query_pairs()
        .find(|(name, _)| name == "redirect_uri");
    let redirect_uri = redirect_uri.context("no redirect_uri")?.1.parse()?;
    let back = person.approve(&address, &redirect_uri).await?;
    let answer = network::http_client()?.get(back).send().await?;
    answer.error_for_status()?;
    Ok(address)
}
