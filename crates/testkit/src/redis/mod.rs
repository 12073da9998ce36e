//! A real Redis of a test's own: with a password, on a free port, killed and started again on the same data; alone, watched by
//! Sentinels, or several as a cluster. Or a real Valkey, which is started with another program and is the same otherwise.

mod cluster;
mod sentinel;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use deadpool_redis::redis::{self, Client, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub use self::cluster::RedisCluster;
pub use self::sentinel::RedisSentinels;
use crate::{binaries, network, wait};

/// How long a server may take to answer. It takes some 20 ms on an idle machine.
const START: Duration = Duration::from_secs(10);

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Redis,
    Valkey,
    Sentinel,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    /// Redis is on the PATH; Valkey is where `scripts/tools.py` puts it.
    fn path(self) -> PathBuf {
        match self {
            Self::Redis | Self::Sentinel => self.name().into(),
            Self::Valkey => binaries::tools().join("bin").join(self.name()),
        }
    }

    const fn how(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel => "apt-get install redis-server, or brew install redis",
            Self::Valkey => "python3 scripts/tools.py valkey",
        }
    }
}

/// A `redis-server` with an append-only file that is synced at each change. It ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    program: Program,
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
        Self::start_program(Program::Redis, settings).await
    }

    /// A `valkey-server`.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn start_valkey() -> Result<Self> {
        Self::start_program(Program::Valkey, &[]).await
    }

    async fn start_program(program: Program, settings: &[&str]) -> Result<Self> {
        let mut server = Self {
            program,
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
        // A file, not its input: a Sentinel writes into it what it learns.
        let file = self.data.path().join("server.conf");
        if !file.exists() || self.program != Program::Sentinel {
            std::fs::write(&file, self.configuration()).context("the configuration of Redis")?;
        }
        let mut command = Command::new(self.program.path());
        command.arg(file);
        if self.program == Program::Sentinel {
            command.arg("--sentinel");
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                let (name, how) = (self.program.name(), self.program.how());
                format!("{name} cannot be started; install it: {how}")
            })?;
        self.process = Some(process);
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

    /// Sends one command over a connection of its own and gives its answer.
    ///
    /// # Errors
    ///
    /// If there is none, or an error.
    pub async fn query<T: FromRedisValue>(&self, command: &[&str]) -> Result<T> {
        let url = format!("redis://:{}@{}", Self::PASSWORD, self.address());
        let mut connection = Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        let mut words = redis::Cmd::new();
        for word in command {
            words.arg(*word);
        }
        words
            .query_async(&mut connection)
            .await
            .with_context(|| command.join(" "))
    }

    fn configuration(&self) -> String {
        let common = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {}\ndir \"{}\"\ndaemonize no\n",
            self.port,
            Self::PASSWORD,
            self.data.path().display()
        );
        let own = match self.program {
            Program::Sentinel => String::new(),
            Program::Redis | Program::Valkey => format!(
                "masterauth {}\nsave \"\"\nappendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n",
                Self::PASSWORD
            ),
        };
        common + &own + &self.settings.join("\n") + "\n"
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

/// Waits until the replica has everything that its primary was given before.
///
/// # Errors
///
/// If it does not get it.
pub async fn in_step(primary: &RedisServer, replica: &RedisServer) -> Result<()> {
    wait::until("a replica in step", wait::PATIENCE, || async {
        let ours = offset(primary, "master_repl_offset").await?;
        let theirs = offset(replica, "slave_repl_offset").await?;
        (theirs >= ours).then_some(())
    })
    .await
}

/// How far a server has come in what it passes on, or in what it was passed.
async fn offset(server: &RedisServer, name: &str) -> Option<u64> {
    let text: String = server.query(&["INFO", "replication"]).await.ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?
        .trim()
        .parse()
        .ok()
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
