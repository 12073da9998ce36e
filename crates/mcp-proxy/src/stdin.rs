//! The way into a child: written at once when its pipe has room, else from a bounded backlog.
//!
//! While a child has other requests to answer, a line waits until the thread that sends it has served every other connection
//! that is ready, and goes with what those have sent: one system call, and the child is woken once.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Lines are gathered into one write up to this many bytes, which is what a pipe holds.
const GATHERED: usize = 64 * 1024;

/// A child's stdin. A caller writes to the pipe itself, so that a call costs no task switch on its way in.
#[derive(Debug)]
pub struct Stdin {
    state: Mutex<State>,
    /// Bytes that may wait for a child that does not read.
    limit: usize,
    runtime: Handle,
    closed: CancellationToken,
}

#[derive(Debug)]
struct State {
    pipe: Option<Arc<pipe::Sender>>,
    /// What is not written yet, each piece some whole lines; a task is about to write it if there is any.
    backlog: VecDeque<Vec<u8>>,
    /// Bytes of the backlog's first piece that are already written.
    written: usize,
    bytes: usize,
    /// Cancelled when a write fails.
    broken: CancellationToken,
}

/// When a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// At once.
    Now,
    /// With the lines that follow in the same turn of this thread.
    Soon,
}

/// Why a line was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The child's stdin is closed.
    #[error("the MCP server no longer reads its input")]
    Closed,
    /// The child does not read, and its backlog is full.
    #[error("the MCP server is not reading its input: its backlog is full")]
    Full,
}

impl Stdin {
    /// Writes to `pipe`. `limit`: bytes that may wait while the child does not read.
    #[must_use]
    pub fn new(pipe: pipe::Sender, limit: usize, runtime: Handle) -> Arc<Self> {
        let state = State {
            pipe: Some(Arc::new(pipe)),
            backlog: VecDeque::new(),
            written: 0,
            bytes: 0,
            broken: CancellationToken::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            limit,
            runtime,
            closed: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the line that `line` makes. It is made while no other line can be sent, so lines go in the order in which
    /// their makers changed what they share.
    pub fn send_with<E: From<SendError>>(
        self: &Arc<Self>,
        line: impl FnOnce() -> Result<(Vec<u8>, Haste), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(pipe) = &state.pipe else {
            return Err(SendError::Closed.into());
        };
        if state.bytes > self.limit {
            return Err(SendError::Full.into());
        }
        let (mut line, haste) = line()?;
        line.push(b'\n');
        if !state.backlog.is_empty() {
            state.push(line);
            return Ok(());
        }
        if haste == Haste::Soon
            && let Ok(here) = Handle::try_current()
        {
            state.push(line);
            let stdin = Arc::clone(self);
            here.spawn(async move { stdin.flush() });
            return Ok(());
        }
        match write(pipe, &line) {
            Ok(bytes) if bytes < line.len() => {
                self.drain_later(Arc::clone(pipe));
                state.push(line);
                state.written = bytes;
                state.bytes -= bytes;
            }
            Ok(_) => {}
            // The supervisor of the child tells everybody how it ended.
            Err(_) => state.broken.cancel(),
        }
        Ok(())
    }

    /// Waits until a line could not be written: the child has closed its end. It reads no other line either, the answers to its
    /// own questions and cancellations included, so what it is about is not waited for.
    pub async fn broken(&self) {
        let broken = self.lock().broken.clone();
        broken.cancelled().await;
    }

    /// Sends a line.
    pub fn send(self: &Arc<Self>, line: Vec<u8>) -> Result<(), SendError> {
        self.send_with(|| Ok((line, Haste::Now)))
    }

    /// Writes what was gathered in this turn.
    fn flush(self: &Arc<Self>) {
        let mut state = self.lock();
        if let Some(pipe) = state.pipe.clone()
            && state.write(&pipe).is_break()
        {
            self.drain_later(pipe);
        }
    }

    fn drain_later(self: &Arc<Self>, pipe: Arc<pipe::Sender>) {
        let stdin = Arc::clone(self);
        self.runtime.spawn(async move { stdin.drain(&pipe).await });
    }

    async fn drain(&self, pipe: &pipe::Sender) {
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                ready = pipe.writable() => if ready.is_err() { return },
            }
            if self.lock().write(pipe).is_continue() {
                return;
            }
        }
    }

    /// Closes the child's stdin; what waits is dropped.
    pub fn close(&self) {
        let mut state = self.lock();
        state.pipe = None;
        state.backlog = VecDeque::new();
        state.written = 0;
        state.bytes = 0;
        self.closed.cancel();
    }
}

impl State {
    /// Adds a line to the backlog.
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        match self.backlog.back_mut() {
            Some(last) if last.len() + line.len() <= GATHERED => last.extend_from_slice(&line),
            _ => self.backlog.push_back(line),
        }
    }

    /// Writes what the pipe takes of the backlog now; `Break`: there is more.
    fn write(&mut self, pipe: &pipe::Sender) -> ControlFlow<()> {
        while let Some(lines) = self.backlog.front() {
            let Ok(bytes) = write(pipe, lines.get(self.written..).unwrap_or_default()) else {
                self.broken.cancel();
                self.backlog.clear();
                self.written = 0;
                self.bytes = 0;
                break;
            };
            self.written += bytes;
            self.bytes -= bytes;
            if self.written < lines.len() {
                return ControlFlow::Break(());
            }
            self.written = 0;
            self.backlog.pop_front();
        }
        ControlFlow::Continue(())
    }
}

/// Writes what the pipe takes now.
fn write(pipe: &pipe::Sender, mut line: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while !line.is_empty() {
        match pipe.try_write(line) {
            Ok(0) => break,
            Ok(bytes) => {
                written += bytes;
                line = line.get(bytes..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_arrive_whole_and_in_order_whatever_their_haste() {
        let (pipe, mut child) = pipe::pipe().unwrap();
        let stdin = Stdin::new(pipe, 16 * 1024 * 1024, Handle::current());
        let mut wanted = Vec::new();
        for number in 0..300_usize {
            // Far more in all than a pipe holds.
            let line = format!("{number} {}", "x".repeat(number * 31)).into_bytes();
            wanted.extend_from_slice(&line);
            wanted.push(b'\n');
            let haste = if number % 7 == 0 {
                Haste::Now
            } else {
                Haste::Soon
            };
            stdin.send_with::<SendError>(|| Ok((line, haste))).unwrap();
            if number % 40 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut found = vec![0; wanted.len()];
        child.read_exact(&mut found).await.unwrap();
        assert!(found == wanted, "the lines are others, or in another order");
        stdin.close();
        assert_eq!(stdin.send(Vec::new()), Err(SendError::Closed));
    }

    #[tokio::test]
    async fn what_waits_for_a_child_that_does_not_read_is_bounded() {
        const LIMIT: usize = 256 * 1024;
        const PIPE: usize = 1024 * 1024;
        let (pipe, mut child) = pipe::pipe().unwrap();
        let stdin = Stdin::new(pipe, LIMIT, Handle::current());
        let line = vec![b'x'; 9_999];
        let mut taken = 0;
        let refused = loop {
            match stdin.send(line.clone()) {
                Ok(()) => taken += line.len() + 1,
                Err(error) => break error,
            }
            assert!(taken <= LIMIT + PIPE, "no bound");
        };
        assert_eq!(refused, SendError::Full);
        assert!(taken > LIMIT, "{taken}");
        // What was taken arrives, and then there is room again.
        let mut found = vec![0; taken];
        child.read_exact(&mut found).await.unwrap();
        assert_eq!(stdin.send(line), Ok(()));
    }
}
