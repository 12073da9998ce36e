//! One loop: a line from stdin, an answer to stdout. Only `timing` runs beside it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncWriteExt, BufReader, Stdout};
use tokio::sync::{Mutex, oneshot};

use crate::facts::Facts;
use crate::lines::{self, LONGEST_LINE, Line};
use crate::protocol::{self, Asker, Eras, Message, Refusal, WITH_BATCHES};
use crate::tools::{self, Memory, timing};

/// Calls of `timing` that may run at the same time.
const MOST_WAITING: usize = 64;

const INSTRUCTIONS: &str =
    "Diagnostic tools: what you send comes back, and what this server sees of you is shown.";

/// The server of one stdin and one stdout.
pub(crate) struct Server {
    eras: Eras,
    memory: Memory,
    output: Output,
    /// Who sent `initialize`.
    initialized: Option<Asker>,
    /// Running calls of `timing` by the JSON text of their id; sending cancels one.
    waiting: HashMap<String, oneshot::Sender<()>>,
}

/// Writes whole lines, one writer at a time; clones write to the same stdout.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Stdout>>);

impl Output {
    /// Writes one message and its line end.
    pub(crate) async fn send(&self, message: &Value) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut stdout = self.0.lock().await;
        stdout.write_all(&line).await?;
        stdout.flush().await
    }
}

/// What becomes of a request.
enum Reply {
    Now(Value),
    /// The call waits; its task answers.
    Later(timing::Plan, Asker),
}

impl Server {
    /// A server that has not been spoken to.
    pub(crate) fn new(eras: Eras, facts: Facts) -> Self {
        Self {
            eras,
            memory: Memory::new(facts),
            output: Output(Arc::new(Mutex::new(tokio::io::stdout()))),
            initialized: None,
            waiting: HashMap::new(),
        }
    }

    /// Answers until stdin ends (MCP, stdio: that is how a client ends a server) or stdout is closed.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut input = BufReader::new(tokio::io::stdin());
        loop {
            let outcome = match lines::next(&mut input, LONGEST_LINE).await? {
                Line::End => return Ok(()),
                Line::TooLong => {
                    let message = format!("A message has at most {LONGEST_LINE} bytes");
                    self.refuse(Refusal::parse_error(message)).await
                }
                Line::Whole(line) => self.read(&line).await,
            };
            match outcome {
                // The client closed our stdout: nobody is there to be answered.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                outcome => outcome?,
            }
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.memory.refused += 1;
        self.output.send(&refusal.answer(&Value::Null)).await
    }

    async fn read(&mut self, line: &[u8]) -> io::Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match serde_json::from_slice(line) {
            Ok(Value::Array(batch)) => self.read_batch(batch).await,
            Ok(value) => self.read_one(value).await,
            Err(error) => {
                self.refuse(Refusal::parse_error(format!("Not JSON: {error}")))
                    .await
            }
        }
    }

    /// Several messages in one array are a thing of one revision (MCP 2025-03-26, Messages). Their answers form an array too.
    async fn read_batch(&mut self, batch: Vec<Value>) -> io::Result<()> {
        let is_allowed = self
            .initialized
            .as_ref()
            .is_some_and(|asker| asker.version == WITH_BATCHES);
        if !is_allowed || batch.is_empty() {
            let message = "A line holds one message, not an array";
            return self.refuse(Refusal::invalid_request(message)).await;
        }
        let mut answers = Vec::new();
        for value in batch {
            match Message::parse(value) {
                Ok(Message::Request { id, method, params }) => {
                    answers.push(match self.reply(&method, &params) {
                        Ok(Reply::Now(result)) => result_of(&id, &result),
                        Ok(Reply::Later(plan, asker)) => {
                            let result = plan.run(&self.output).await?;
                            result_of(&id, &asker.finish(result))
                        }
                        Err(refusal) => refusal.answer(&id),
                    });
                }
                Ok(Message::Notification { method, params }) => self.note(&method, &params),
                Ok(Message::Answer) => {}
                Err(answer) => answers.push(answer),
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        self.output.send(&Value::Array(answers)).await
    }

    async fn read_one(&mut self, value: Value) -> io::Result<()> {
        let answer = match Message::parse(value) {
            Ok(Message::Request { id, method, params }) => match self.reply(&method, &params) {
                Ok(Reply::Now(result)) => result_of(&id, &result),
                Ok(Reply::Later(plan, asker)) => {
                    self.wait(id, plan, asker);
                    return Ok(());
                }
                Err(refusal) => {
                    self.memory.refused += 1;
                    refusal.answer(&id)
                }
            },
            Ok(Message::Notification { method, params }) => {
                self.note(&method, &params);
                return Ok(());
            }
            Ok(Message::Answer) => return Ok(()),
            Err(answer) => {
                self.memory.refused += 1;
                answer
            }
        };
        self.output.send(&answer).await
    }

    /// Runs a call of `timing` beside the loop. A cancelled one is never answered (MCP, Cancellation).
    fn wait(&mut self, id: Value, plan: timing::Plan, asker: Asker) {
        let (cancel, cancelled) = oneshot::channel();
        self.waiting.insert(id.to_string(), cancel);
        let output = self.output.clone();
        tokio::spawn(async move {
            let result = tokio::select! {
                result = plan.run(&output) => result,
                Ok(()) = cancelled => return,
            };
            if let Ok(result) = result {
                // If stdout is closed, the loop finds out and ends the process.
                let _ = output.send(&result_of(&id, &asker.finish(result))).await;
            }
        });
    }

    fn note(&mut self, method: &str, params: &Map<String, Value>) {
        if method != "notifications/cancelled" {
            return;
        }
        let Some(id) = params.get("requestId") else {
            return;
        };
        if let Some(cancel) = self.waiting.remove(&id.to_string())
            && cancel.send(()).is_ok()
        {
            self.memory.cancelled += 1;
        }
    }

    /// Decides what a request gets.
    fn reply(&mut self, method: &str, params: &Map<String, Value>) -> Result<Reply, Refusal> {
        self.memory.requests += 1;
        let modern = match self.eras {
            Eras::Legacy => None,
            Eras::Modern | Eras::Both => Asker::of_modern(method, params)?,
        };
        if let Some(asker) = modern {
            return match method {
                "server/discover" => Ok(Reply::Now(asker.finish_list(json!({
                    "supportedVersions": [protocol::MODERN],
                    "capabilities": protocol::capabilities(),
                    "instructions": INSTRUCTIONS,
                })))),
                _ => self.tools(method, params, asker),
            };
        }
        if self.eras == Eras::Modern {
            return Err(Refusal::unknown_method(method));
        }
        match method {
            "initialize" => {
                let asker = Asker::of_initialize(params)?;
                let result = json!({
                    "protocolVersion": asker.version,
                    "capabilities": protocol::capabilities(),
                    "serverInfo": protocol::server_info(),
                    "instructions": INSTRUCTIONS,
                });
                self.initialized = Some(asker);
                Ok(Reply::Now(result))
            }
            "ping" => Ok(Reply::Now(json!({}))),
            _ => {
                let asker = self.initialized.clone().unwrap_or_else(Asker::unknown);
                self.tools(method, params, asker)
            }
        }
    }

    /// The methods that both eras have.
    fn tools(
        &mut self,
        method: &str,
        params: &Map<String, Value>,
        asker: Asker,
    ) -> Result<Reply, Refusal> {
        match method {
            "tools/list" => Ok(Reply::Now(
                asker.finish_list(json!({"tools": tools::list()})),
            )),
            "tools/call" => {
                let call = tools::Call::parse(params)?;
                if call.name == timing::NAME {
                    self.waiting.retain(|_, cancel| !cancel.is_closed());
                    if self.waiting.len() >= MOST_WAITING {
                        let message = format!("{MOST_WAITING} calls are waiting already");
                        return Ok(Reply::Now(asker.finish(tools::failure(&message))));
                    }
                }
                let outcome = self.memory.call(&call, &asker)?;
                Ok(match outcome {
                    tools::Outcome::Result(result) => Reply::Now(asker.finish(result)),
                    tools::Outcome::Wait(plan) => Reply::Later(plan, asker),
                })
            }
            _ => Err(Refusal::unknown_method(method)),
        }
    }
}

fn result_of(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}
