//! HTTP/1.1 as bytes, for what no HTTP library sends or shows: two `Host` lines, header names with odd characters, garbage.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long an exchange may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends `request` as it is and returns all that comes back until the server closes: say `Connection: close`.
///
/// # Errors
///
/// If there is no connection, or the server does not close it within 10 s.
pub async fn exchange(server: SocketAddr, request: &str) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // A server that refuses a request early may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(LIMIT, exchange)
        .await
        .with_context(|| format!("no end of the answer to {request:?}"))?
}

/// The status of an answer, 0 if there is none.
#[must_use]
pub fn status(answer: &str) -> u16 {
    let word = answer.split_ascii_whitespace().nth(1);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The values of a header in a request or an answer, in their order. Names are compared as HTTP does.
#[must_use]
pub fn header<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or(message);
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[derive(Debug)]
struct Shared {
    answer: String,
    requests: Vec<String>,
}

/// A server that writes down the bytes of each request and answers always the same.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts on a free port and answers 200 without headers or body.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            answer: answer("200 OK", &[]),
            requests: Vec::new(),
        }));
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A broken connection concerns only the one who broke it.
                let _ = serve(stream, &state).await;
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with exactly these bytes from now on (see [`answer`]), then closes.
    pub fn set_answer(&self, answer: impl Into<String>) {
        self.lock().answer = answer.into();
    }

    /// The requests so far, and forgets them.
    #[must_use]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }

    /// Closes the port: connections are refused from now on.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The bytes of an answer without a body.
#[must_use]
pub fn answer(status: &str, headers: &[(&str, &str)]) -> String {
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let lines = lines.concat();
    format!("HTTP/1.1 {status}\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) -> Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&request) {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => request.extend(buffer.iter().take(length)),
        }
    }
    let answer = {
        let mut shared = lock(shared);
        let text = String::from_utf8_lossy(&request).into_owned();
        shared.requests.push(text);
        shared.answer.clone()
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

/// Whether the head is there and as much body as it announces.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = header(head, "content-length");
    let length: usize = length
        .first()
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    body.len() >= length
}
