//! Child processes of a test: logged line by line with a prefix, and gone with their whole group when the test ends.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;
pub use rustix::process::Signal;

use crate::wait::{self, PATIENCE};

/// How long the last line of a process that has ended may be on its way to the logs.
const LAST_LINE: Duration = Duration::from_secs(2);

/// What processes wrote, in the order in which it was read, each line as `name: text`.
///
/// Each line is also written to stderr at once, so that a test which fails (or is ended because it hangs) shows them.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Logs {
    /// All lines so far, as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Whether a line contains `text`.
    #[must_use]
    pub fn contain(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// Waits until a line contains `text`.
    ///
    /// # Errors
    ///
    /// After [`PATIENCE`].
    pub async fn wait_for(&self, text: &str) -> Result<()> {
        wait::until_true(&format!("a log line with {text:?}"), PATIENCE, || {
            self.contain(text)
        })
        .await
    }

    fn add(&self, line: String) {
        eprintln!("{line}");
        self.lines().push(line);
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `stream` to its end on a thread of its own: a pipe that nobody empties would stop the child.
    fn follow(&self, name: &str, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let logs = self.clone();
        let name = name.to_owned();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(&line);
                logs.add(format!("{name}: {}", text.trim_end()));
                line.clear();
            }
        })
    }
}

/// A process to be started. It gets exactly the environment given here, and `PATH`, `HOME`.
#[derive(Debug)]
pub struct Command {
    name: String,
    inner: std::process::Command,
    quiet_stdout: bool,
}

impl Command {
    /// Runs `program` and names it `name` in the logs.
    #[must_use]
    pub fn new(name: &str, program: impl AsRef<Path>) -> Self {
        let mut inner = std::process::Command::new(program.as_ref());
        inner.env_clear();
        for kept in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(kept) {
                inner.env(kept, value);
            }
        }
        Self {
            name: name.to_owned(),
            inner,
            quiet_stdout: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.inner.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<Argument: AsRef<std::ffi::OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Self {
        self.inner.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.inner.current_dir(directory);
        self
    }

    /// Leaves stdout to the caller ([`Process::take_stdout`]) instead of the logs.
    #[must_use]
    pub fn keep_stdout(mut self) -> Self {
        self.quiet_stdout = true;
        self
    }

    /// Starts the process as the leader of a group of its own.
    ///
    /// # Errors
    ///
    /// If the program cannot be executed.
    pub fn start(mut self, logs: &Logs) -> Result<Process> {
        let mut child = self
            .inner
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{}: {:?} does not start", self.name, self.inner))?;
        let mut readers = Vec::new();
        if let Some(stream) = child.stderr.take() {
            readers.push(logs.follow(&self.name, stream));
        }
        if !self.quiet_stdout
            && let Some(stream) = child.stdout.take()
        {
            readers.push(logs.follow(&self.name, stream));
        }
        Ok(Process {
            name: self.name,
            child,
            readers,
        })
    }
}

/// A running process. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// They end when nobody can write to the logs any more.
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Its process id, which is also the id of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its stdout, where [`Command::keep_stdout`] left it.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its stdin; dropping it closes it.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Writes a line to its stdin.
    ///
    /// # Errors
    ///
    /// If stdin is closed.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let Some(stdin) = &mut self.child.stdin else {
            bail!("{}: stdin is closed", self.name)
        };
        writeln!(stdin, "{line}")?;
        stdin.flush()?;
        Ok(())
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    ///
    /// If the system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal to the process alone, as an operator does.
    ///
    /// # Errors
    ///
    /// If there is no such process any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.pid()?, signal)
            .with_context(|| format!("{}: cannot be sent {signal:?}", self.name))
    }

    /// Sends a signal to its whole group, as a terminal sends SIGINT on Ctrl-C.
    ///
    /// # Errors
    ///
    /// If there is no such group any more.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process_group(self.pid()?, signal)
            .with_context(|| format!("{}: its group cannot be sent {signal:?}", self.name))
    }

    /// Waits for the end, at most for `limit`, and then until the logs have its last line.
    ///
    /// # Errors
    ///
    /// If it still runs then.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let status = wait::until(&what, limit, || {
            let status = self.child.try_wait().ok().flatten();
            async move { status }
        })
        .await?;
        // A process that it started may hold its pipes for longer: what that writes is nobody's last line.
        let is_read = || self.readers.iter().all(JoinHandle::is_finished);
        let _ = wait::until_true("its last line", LAST_LINE, is_read).await;
        Ok(status)
    }

    /// `kill -9` to the process alone, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// If it was gone already.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let status = self.wait(PATIENCE).await?;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            bail!("{} was not killed but ended with {status}", self.name);
        }
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .with_context(|| format!("{}: has no process id", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            // Its group may already be gone; there is nobody to tell.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A process as the system knows it: ids are used again, start times are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descendant {
    /// Its id.
    pub id: u32,
    /// The command's name, cut at 15 characters.
    pub name: String,
    parent: u32,
    zombie: bool,
    started: String,
}

impl Descendant {
    /// Whether it still runs.
    #[must_use]
    pub fn lives(&self) -> bool {
        read_process(self.id).is_some_and(|now| now.started == self.started && !now.zombie)
    }
}

/// All living children of a process, their children, and so on, whatever group or session they are in. Linux only.
///
/// # Errors
///
/// If there is no `/proc`.
pub fn descendants(of: u32) -> Result<Vec<Descendant>> {
    let entries = std::fs::read_dir("/proc").context("/proc")?;
    let all: Vec<Descendant> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read_process)
        .filter(|process| !process.zombie)
        .collect();
    let mut found: Vec<Descendant> = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        parents.extend(children.clone().map(|process| process.id));
        found.extend(children.cloned());
    }
    Ok(found)
}

/// Reads `/proc/ID/stat` (proc(5)): the name in parentheses may hold anything, the fields after it are plain.
fn read_process(id: u32) -> Option<Descendant> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Descendant {
        id,
        name: head.split_once('(')?.1.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
        started: (*fields.get(19)?).to_owned(),
    })
}

/// Reads one address of the file that `mcp-auth` and `mcp-proxy` write with `--address-file`: lines `name=address:port`.
///
/// # Errors
///
/// If the process ends before it has written the file, or does not write it in time.
pub async fn address(process: &mut Process, file: &Path, name: &str) -> Result<SocketAddr> {
    let what = format!("{} to write {}", process.name, file.display());
    let found = wait::until(&what, PATIENCE, || {
        let ended = process.child.try_wait().ok().flatten();
        let found = match ended {
            Some(status) => Some(Err(anyhow::anyhow!("{} ended: {status}", process.name))),
            None => std::fs::read_to_string(file)
                .ok()
                .map(|text| parse_address(&text, name)),
        };
        async move { found }
    })
    .await?;
    found.with_context(|| format!("{} of {}", name, process.name))
}

fn parse_address(text: &str, name: &str) -> Result<SocketAddr> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .with_context(|| format!("no line {name}=… in {text:?}"))?;
    line.parse()
        .with_context(|| format!("{line:?} is not an address"))
}
