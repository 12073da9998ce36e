//! Stdio MCP servers with the `test_*` tools, prompts and resources of the official conformance suite.
//!
//! The suite's own server speaks HTTP only; a bridge is measured with servers that speak stdio. Every behaviour is written once
//! (`tools`, `prompts`, `resources`) against a `call::Call`; what differs between the eras of the protocol is in `legacy`
//! (revisions 2024-11-05 to 2025-11-25: `initialize`, requests pushed to the client) and `modern` (2026-07-28: `_meta` on each
//! request, results that require input).
//!
//! Both servers are strict where real servers are: one process serves one era, decided by its first request, and the legacy one
//! refuses work before `initialize`. So a bridge that mixes the eras on one process fails visibly.

mod call;
mod calls;
mod catalogue;
mod content;
mod inputs;
mod legacy;
mod message;
mod modern;
mod pending;
mod prompts;
mod questions;
mod resources;
mod state;
mod tools;
mod transport;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use transport::{Outbox, Server};

/// Which revisions a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eras {
    /// 2024-11-05 to 2025-11-25 only, like servers on the npm `@modelcontextprotocol/sdk` 1.x.
    LegacyOnly,
    /// 2026-07-28, and the older ones after `initialize`, like servers on the Python `mcp` 2.x.
    Dual,
}

/// Serves stdin and stdout until stdin ends.
#[must_use]
pub fn run(eras: Eras) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let served = runtime.block_on(transport::serve(|outbox| Process {
        eras,
        outbox,
        era: Mutex::new(None),
    }));
    // A read of stdin may still be parked in a thread; it must not hold up the end of the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &std::io::Error) -> ExitCode {
    use std::io::Write as _;
    // Nobody is left to be told when stderr is gone too.
    drop(writeln!(std::io::stderr(), "conformance server: {error}"));
    ExitCode::FAILURE
}

/// One process: it serves the era of its first request for the rest of its life.
struct Process {
    eras: Eras,
    outbox: Outbox,
    era: Mutex<Option<Era>>,
}

#[derive(Clone)]
enum Era {
    Legacy(Arc<legacy::Server>),
    Modern(Arc<modern::Server>),
}

impl Process {
    /// The era that this message belongs to; the first request decides it.
    fn era(&self, message: &Value) -> Option<Era> {
        let mut era = locked(&self.era);
        if era.is_none() && message.get("id").is_some() && message.get("method").is_some() {
            *era = match self.eras {
                Eras::LegacyOnly => Some(Era::Legacy(legacy::Server::new(self.outbox.clone()))),
                Eras::Dual if modern::opens_legacy(message) => {
                    Some(Era::Legacy(legacy::Server::new(self.outbox.clone())))
                }
                Eras::Dual => Some(Era::Modern(modern::Server::new(self.outbox.clone()))),
            };
        }
        era.clone()
    }
}

impl Server for Process {
    async fn receive(&self, message: Value) {
        if !message.is_object() {
            // No revision but 2025-03-26 has batches, and a bridge must not pass them to a child of another one.
            self.outbox
                .send(message::error(
                    &Value::Null,
                    &message::RpcError::invalid_request("expected one JSON-RPC message"),
                ))
                .await;
            return;
        }
        match self.era(&message) {
            Some(Era::Legacy(server)) => server.receive(message).await,
            Some(Era::Modern(server)) => server.receive(message).await,
            None => {}
        }
    }
}

/// What both eras declare.
fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "subscribe": true },
        "logging": {},
        "completions": {},
    })
}

fn server_info() -> Value {
    json!({ "name": "testkit-conformance", "title": "Conformance test server", "version": env!("CARGO_PKG_VERSION") })
}

const INSTRUCTIONS: &str = "Offers what the MCP conformance suite calls.";

/// Locks; a panic elsewhere does not make the data useless here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
