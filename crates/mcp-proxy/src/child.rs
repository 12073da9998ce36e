//! One child process: started without a shell, leader of its own process group, ended as a whole group.
//!
//! The end: stdin closed → [`POLITE`] → SIGTERM to the group → [`TERMINATING`] → SIGKILL to the group
//! (MCP 2026-07-28, stdio transport, "Shutdown").

mod ending;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::frames::{Line, Lines};
use crate::guard;
use crate::metrics::Counted;
use crate::resources::ResourceLimits;
use crate::stderr;
use crate::stdin::Stdin;

/// How long a child may take to end after its stdin was closed.
pub const POLITE: Duration = Duration::from_secs(2);
/// How long a group may take to end after SIGTERM.
pub const TERMINATING: Duration = Duration::from_secs(5);

/// What is started: fixed by the configuration and, where that says so, by who the child is for.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program, a path or a name on the child's `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What the child may use of the machine.
    pub resources: ResourceLimits,
    /// This program, which makes the child die with it before it becomes the child (see [`guard::run`]).
    pub guard: PathBuf,
}

/// The command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// There is no such program.
    #[error(
        "the command `{0}` was not found on the PATH given to MCP servers ({1}): install it or give its full path"
    )]
    NotFound(String, String),
    /// There is no such file, or it cannot be executed.
    #[error("the command `{0}` is not an executable file")]
    NotExecutable(String),
    /// The system refused.
    #[error("the command `{program}` could not be started: {error}")]
    Refused {
        /// The program.
        program: String,
        /// The system's reason.
        error: io::Error,
    },
}

impl Command {
    /// Is there such a program? The answer of the system at the start of each child would come from inside the child.
    pub fn check(&self) -> Result<(), CannotStart> {
        use std::os::unix::fs::PermissionsExt as _;
        let executable = |path: &Path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let name = self.program.to_string_lossy().into_owned();
        if name.contains('/') {
            return if executable(Path::new(&self.program)) {
                Ok(())
            } else {
                Err(CannotStart::NotExecutable(name))
            };
        }
        let path = self
            .environment
            .iter()
            .find(|(key, _)| key == "PATH")
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| executable(&folder.join(&self.program))) {
            Ok(())
        } else {
            Err(CannotStart::NotFound(
                name,
                path.to_string_lossy().into_owned(),
            ))
        }
    }

    fn build(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.guard);
        command
            .arg(guard::SUBCOMMAND)
            .arg(std::process::id().to_string())
            .arg(self.resources.to_string())
            .arg(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Starts children from one thread that lives as long as the process: the parent-death signal is bound to the *thread*
/// that starts a child.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: std::sync::mpsc::Sender<Job>,
    runtime: Handle,
}

#[derive(Debug)]
struct Job {
    command: tokio::process::Command,
    started: oneshot::Sender<io::Result<tokio::process::Child>>,
}

/// A child that runs, before anybody listens to it.
#[derive(Debug)]
pub struct Started {
    child: tokio::process::Child,
    group: Pid,
    stdout: OwnedFd,
    stderr: pipe::Receiver,
    /// Where its messages go in.
    pub stdin: Arc<Stdin>,
}

/// Who is told what a child says. Called from the child's reader, one call at a time; must not block.
pub trait Listener: Send + Sync + 'static {
    /// A line of stdout.
    fn line(&self, line: Bytes);
    /// A line of stdout was too long, and is gone.
    fn unreadable(&self) {}
    /// Nothing more will come from the child. May be told twice: when its end begins, and with the status it ended with.
    fn ended(&self, how: &Ended);
}

/// How a child ended.
#[derive(Clone, Debug)]
pub struct Ended {
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Asked,
    Silent,
    Deaf,
    Status(ExitStatus),
    Unknown,
}

impl Ended {
    /// How it is counted.
    fn cause(&self) -> &'static str {
        match self.end {
            End::Asked => "asked",
            End::Silent => "silent",
            End::Deaf => "deaf",
            End::Unknown => "unknown",
            End::Status(status) if status.success() => "success",
            End::Status(status) if status.code().is_some() => "failure",
            End::Status(_) => "signal",
        }
    }

    /// Did it end without being asked?
    #[must_use]
    pub fn by_itself(&self) -> bool {
        !matches!(self.end, End::Asked)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Asked => formatter.write_str("the MCP server process was stopped"),
            End::Silent => formatter.write_str("the MCP server process closed its standard output"),
            End::Deaf => formatter.write_str("the MCP server process closed its standard input"),
            End::Unknown => {
                formatter.write_str("the MCP server process ended; its exit status is unknown")
            }
            End::Status(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(
                    formatter,
                    "the MCP server process ended with exit status {code}"
                ),
                (None, Some(signal)) => write!(
                    formatter,
                    "the MCP server process was killed by signal {signal}"
                ),
                (None, None) => write!(formatter, "the MCP server process ended: {status}"),
            },
        }
    }
}

/// What [`Started::listen`] needs to know.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Ends the child when cancelled; cancelled when the child has begun to end.
    pub stop: CancellationToken,
    /// Kills the whole group at once when cancelled.
    pub kill: CancellationToken,
    /// What its log lines are labelled with.
    pub span: tracing::Span,
    /// Longest line of stdout, in bytes.
    pub line_limit: usize,
    /// What is counted.
    pub counted: Counted,
}

impl Spawner {
    /// Starts the thread. Call inside the runtime on which children are served.
    pub fn new() -> io::Result<Self> {
        let runtime = Handle::current();
        let (jobs, received) = std::sync::mpsc::channel::<Job>();
        let context = runtime.clone();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _context = context.enter();
                while let Ok(mut job) = received.recv() {
                    // An answer nobody waits for any more drops the child, and `kill_on_drop` ends it.
                    let _ = job.started.send(job.command.spawn());
                }
            })?;
        Ok(Self { jobs, runtime })
    }

    /// The runtime on which children are served.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts one child. `backlog_limit`: bytes that may wait for a child that does not read.
    pub async fn start(
        &self,
        command: &Command,
        backlog_limit: usize,
    ) -> Result<Started, CannotStart> {
        command.check()?;
        let refused = |error| CannotStart::Refused {
            program: command.program.to_string_lossy().into_owned(),
            error,
        };
        let (started, answer) = oneshot::channel();
        let gone = || refused(io::Error::other("the thread that starts children is gone"));
        self.jobs
            .send(Job {
                command: command.build(),
                started,
            })
            .map_err(|_| gone())?;
        let mut child = answer.await.map_err(|_| gone())?.map_err(refused)?;
        let _context = self.runtime.enter();
        let missing = || refused(io::Error::other("its standard streams are missing"));
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(missing)?;
        let stdin = child
            .stdin
            .take()
            .ok_or_else(missing)?
            .into_owned_fd()
            .map_err(refused)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(missing)?
            .into_owned_fd()
            .map_err(refused)?;
        let stderr = child
            .stderr
            .take()
            .ok_or_else(missing)?
            .into_owned_fd()
            .map_err(refused)?;
        let stdin = pipe::Sender::from_owned_fd(stdin).map_err(refused)?;
        Ok(Started {
            child,
            group,
            stdout,
            stderr: pipe::Receiver::from_owned_fd(stderr).map_err(refused)?,
            stdin: Stdin::new(stdin, backlog_limit, self.runtime.clone()),
        })
    }
}

impl Started {
    /// Its process id, and that of its group.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Has it not ended yet?
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Serves the child until it has ended. It is supervised on `runtime`, but what it says is read on the runtime of the
    /// caller: on the worker that serves the session's connections no other thread is woken between a call and its answer.
    /// `permit` is dropped when the whole group is gone.
    pub fn listen(
        self,
        runtime: &Handle,
        listener: Arc<impl Listener>,
        watch: Watch,
        permit: impl Send + 'static,
    ) {
        let Self {
            child,
            group,
            stdout,
            stderr,
            stdin,
        } = self;
        runtime.spawn(stderr::log(stderr, watch.span.clone()));
        let reader =
            Handle::current().spawn(read_lines(stdout, Arc::clone(&listener), watch.clone()));
        runtime.spawn(async move {
            ending::supervise(child, group, stdin, reader, listener, watch).await;
            drop(permit);
        });
    }
}

async fn read_lines(stdout: OwnedFd, listener: Arc<impl Listener>, watch: Watch) {
    let mut stdout = match pipe::Receiver::from_owned_fd(stdout) {
        Ok(stdout) => stdout,
        Err(error) => {
            warn!(parent: &watch.span, %error, "cannot read from the MCP server");
            return;
        }
    };
    let mut lines = Lines::new(watch.line_limit);
    loop {
        match stdout.read_buf(lines.buffer()).await {
            Ok(0) => break,
            Ok(read) => {
                watch.counted.bytes_out.inc_by(read as u64);
                while let Some(line) = lines.next_line() {
                    match line {
                        Line::Whole(line) => listener.line(line),
                        Line::TooLong(bytes) => {
                            warn!(parent: &watch.span, bytes, limit = watch.line_limit, "dropped an over-long line of the MCP server");
                            listener.unreadable();
                        }
                    }
                }
            }
            Err(error) => {
                warn!(parent: &watch.span, %error, "cannot read from the MCP server");
                break;
            }
        }
    }
    if let Some(line) = lines.rest() {
        listener.line(line);
    }
}
