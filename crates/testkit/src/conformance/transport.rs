//! Newline-framed JSON-RPC over stdin and stdout (MCP specification, basic/transports/stdio).

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

use super::message::{self, RpcError};

/// Messages that wait for stdout; a sender waits when there are more.
const QUEUE: usize = 256;

/// What a server does with a message. Requests are served beside each other: `receive` returns without waiting for them.
pub(super) trait Server {
    async fn receive(&self, message: Value);
}

/// The way to stdout, shared by everything that answers.
#[derive(Clone)]
pub(super) struct Outbox(mpsc::Sender<Value>);

impl Outbox {
    /// Queues one message. After the client is gone it is dropped: nobody is left to read it.
    pub(super) async fn send(&self, message: Value) {
        drop(self.0.send(message).await);
    }
}

/// Reads messages until stdin ends; then writes what is queued already and returns.
pub(super) async fn serve<S: Server>(server: impl FnOnce(Outbox) -> S) -> std::io::Result<()> {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (end, ended) = tokio::sync::oneshot::channel();
    let outbox = Outbox(sender);
    let writer = tokio::spawn(write(queue, ended));
    let server = Arc::new(server(outbox.clone()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(&line) {
            Ok(message) => server.receive(message).await,
            Err(error) => {
                let error = RpcError::new(-32700, format!("Parse error: {error}"));
                outbox.send(message::error(&Value::Null, &error)).await;
            }
        }
    }
    let _ = end.send(());
    writer.await.map_err(std::io::Error::other)?
}

async fn write(
    mut queue: mpsc::Receiver<Value>,
    mut ended: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let mut stdout = tokio::io::stdout();
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => message,
            _ = &mut ended => None,
        };
        let Some(message) = message else {
            return Ok(());
        };
        // `to_string` of a `Value` has no line break: they are escaped inside strings.
        let mut line = message.to_string();
        line.push('\n');
        stdout.write_all(line.as_bytes()).await?;
        stdout.flush().await?;
    }
}
