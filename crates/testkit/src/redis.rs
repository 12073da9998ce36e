//! A real Redis of a test's own: with a password, on a free port, killed and started again on the same data.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::{network, wait};

/// How long a server may take to answer. It takes some 20 ms on an idle machine.
const START: Duration = Duration::from_secs(10);

/// A `redis-server` with an append-only file that is synced at each change. It ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    data: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// The password of every server here. It is not a secret, but tests look for it where secrets must not be.
    pub const PASSWORD: &'static str = "redis-password-of-the-tests";

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    ///
    /// If there is no `redis-server` on the PATH, with how to install it, or if it does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// As [`RedisServer::start`], with further lines of configuration, such as `maxmemory-policy allkeys-lru`.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let mut server = Self {
            data: tempfile::tempdir().context("a directory for Redis")?,
            port: 0,
            settings: settings.iter().map(ToString::to_string).collect(),
            process: None,
        };
        // Redis cannot choose a port itself, so somebody else may take the free one first.
        let mut tries = 0;
        loop {
            server.port = network::free_port()?;
            match server.restart().await {
                Err(_) if tries < 5 && server.ended() => tries += 1,
                other => return other.map(|()| server),
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port)
    }

    /// `redis://127.0.0.1:port`, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Ends the server as a power cut would (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it could not be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await.context("kill redis-server")?;
        }
        Ok(())
    }

    /// Starts it again, on the same port and data, after ending it if it still runs.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let mut process = Command::new("redis-server")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context(
                "redis-server cannot be started; install it: apt-get install redis-server, or brew install redis",
            )?;
        let mut stdin = process.stdin.take().context("stdin of redis-server")?;
        self.process = Some(process);
        stdin.write_all(self.configuration().as_bytes()).await?;
        drop(stdin);
        let address = self.address();
        let started = wait::until("an answer of redis-server", START, || async {
            ask(address, "PING\r\n", "+PONG").await.ok()
        });
        tokio::select! {
            started = started => started,
            ended = self.process.as_mut().context("just started")?.wait() => {
                bail!("redis-server ended at its start: {}", ended?)
            }
        }
    }

    /// Stops the process without closing its connections, as a machine that hangs: SIGSTOP.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends one command over a connection of its own and expects the answer to begin so.
    ///
    /// # Errors
    ///
    /// If the answer is another one.
    pub async fn command(&self, command: &str, expected: &str) -> Result<()> {
        ask(self.address(), &format!("{command}\r\n"), expected).await
    }

    /// Sends one command over a connection of its own; the text of its answer (a bulk string).
    ///
    /// # Errors
    ///
    /// If the answer is another one.
    pub async fn text(&self, command: &str) -> Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await?);
        let request = format!("AUTH {}\r\n{command}\r\n", Self::PASSWORD);
        stream.write_all(request.as_bytes()).await?;
        let mut lines = String::new();
        stream.read_line(&mut lines).await?;
        stream.read_line(&mut lines).await?;
        let length = lines.trim_end().strip_prefix("+OK\r\n$");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let mut text = vec![0; length.with_context(|| format!("Redis answered {lines:?}"))?];
        stream.read_exact(&mut text).await?;
        Ok(String::from_utf8(text)?)
    }

    fn configuration(&self) -> String {
        let fixed = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {}\ndir \"{}\"\nsave \"\"\nappendonly yes\nappendfsync always\n\
             daemonize no\nmaxmemory-policy noeviction\n",
            self.port,
            Self::PASSWORD,
            self.data.path().display()
        );
        fixed + &self.settings.join("\n") + "\n"
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self
            .process
            .as_ref()
            .and_then(Child::id)
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .context("redis-server does not run")?;
        kill_process(pid, signal).context("signal to redis-server")
    }

    fn ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_none_or(|process| !matches!(process.try_wait(), Ok(None)))
    }
}

/// Authenticates and sends one command.
async fn ask(address: SocketAddr, command: &str, expected: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("AUTH {}\r\n{command}", RedisServer::PASSWORD);
    stream.write_all(request.as_bytes()).await?;
    let expected = format!("+OK\r\n{expected}");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    if answer != expected {
        bail!("Redis answered {answer:?}, not {expected:?}");
    }
    Ok(())
}
