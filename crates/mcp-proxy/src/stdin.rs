//! The way into a child: written at once when its pipe has room, else from a bounded backlog.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

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
    backlog: VecDeque<Vec<u8>>,
    /// Bytes of the backlog's first line that are already written.
    written: usize,
    bytes: usize,
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
        line: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        let Some(pipe) = state.pipe.clone() else {
            return Err(SendError::Closed.into());
        };
        if state.bytes > self.limit {
            return Err(SendError::Full.into());
        }
        let mut line = line()?;
        line.push(b'\n');
        let mut written = 0;
        if state.backlog.is_empty() {
            match write(&pipe, &line) {
                Ok(bytes) if bytes == line.len() => return Ok(()),
                Ok(bytes) => written = bytes,
                // The supervisor of the child tells everybody how it ended.
                Err(_) => return Ok(()),
            }
        }
        let idle = state.backlog.is_empty();
        state.bytes += line.len() - written;
        if idle {
            state.written = written;
        }
        state.backlog.push_back(line);
        drop(state);
        if idle {
            let stdin = Arc::clone(self);
            self.runtime.spawn(async move { stdin.drain(&pipe).await });
        }
        Ok(())
    }

    /// Sends a line.
    pub fn send(self: &Arc<Self>, line: Vec<u8>) -> Result<(), SendError> {
        self.send_with(|| Ok(line))
    }

    async fn drain(&self, pipe: &pipe::Sender) {
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                ready = pipe.writable() => if ready.is_err() { return },
            }
            let mut state = self.lock();
            let state = &mut *state;
            while let Some(line) = state.backlog.front() {
                if let Ok(bytes) = write(pipe, line.get(state.written..).unwrap_or_default()) {
                    state.written += bytes;
                    state.bytes -= bytes;
                    if state.written < line.len() {
                        break;
                    }
                    state.written = 0;
                    state.backlog.pop_front();
                } else {
                    state.backlog.clear();
                    state.bytes = 0;
                    return;
                }
            }
            if state.backlog.is_empty() {
                return;
            }
        }
    }

    /// Closes the child's stdin; what waits is dropped.
    pub fn close(&self) {
        let mut state = self.lock();
        state.pipe = None;
        state.backlog = VecDeque::new();
        state.bytes = 0;
        self.closed.cancel();
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
