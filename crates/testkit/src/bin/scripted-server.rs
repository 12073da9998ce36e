//! A stdio MCP server that behaves as badly as it is told to, for the tests of `mcp-proxy`.
//!
//! `tools/call` names what it does (see [`Server::call`]); flags change it as a whole:
//!
//! - `--modern`: speaks 2026-07-28, too; a process belongs to the era of its first message;
//! - `--ignore-eof`: goes on after its stdin was closed (with `sh -c 'trap "" TERM; exec …'` it ignores SIGTERM, too);
//! - `--silent`: reads and never answers; `--silent-initialize`: does not answer `initialize`;
//! - `--exit STATUS`: ends at once; `--announce FILE`: appends its process id to a file;
//! - `--exit-initialize`: ends when a client says `initialize`; `--exit-once-said`: ends when anybody does, once there is a
//!   file `exit` in the working directory;
//! - `--paged`: lists its tools on two pages; `--still`: acknowledges nothing that is listened for;
//! - `--ignored`: what follows has no meaning.

#![expect(clippy::print_stdout, reason = "stdout is the transport")]
#![expect(clippy::print_stderr, reason = "flooding stderr is one of its manners")]
#![expect(
    clippy::disallowed_methods,
    reason = "its environment is what it is asked to show"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "a member that a JSON value does not have is null"
)]

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
struct Flags {
    modern: bool,
    ignore_eof: bool,
    silent: bool,
    silent_initialize: bool,
    paged: bool,
    still: bool,
    exit_initialize: bool,
    exit_once_said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

#[derive(Debug, Default)]
struct Server {
    flags: Flags,
    era: Option<Era>,
    /// Calls that wait for `release`.
    held: Vec<Value>,
    /// The call that waits for the client's answer.
    asking: Option<Value>,
    /// Notifications that came.
    notified: Vec<Value>,
    /// Ids of requests to listen.
    listening: Vec<Value>,
}

fn main() -> std::process::ExitCode {
    let mut flags = Flags::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--modern" => flags.modern = true,
            "--ignore-eof" => flags.ignore_eof = true,
            "--exit-initialize" => flags.exit_initialize = true,
            "--exit-once-said" => flags.exit_once_said = true,
            "--paged" => flags.paged = true,
            "--still" => flags.still = true,
            "--silent" => flags.silent = true,
            "--silent-initialize" => flags.silent_initialize = true,
            "--exit" => return exit_status(arguments.next().as_deref()),
            // Whatever follows is only there to be shown.
            "--ignored" => break,
            "--announce" => announce(arguments.next().as_deref()),
            other => {
                eprintln!("scripted-server: unknown flag {other}");
                return std::process::ExitCode::from(2);
            }
        }
    }
    let mut server = Server {
        flags,
        ..Server::default()
    };
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(message) if !server.flags.silent => {
                if let Some(status) = server.take(&message) {
                    return status;
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("scripted-server: not JSON: {error}"),
        }
    }
    if server.flags.ignore_eof {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    std::process::ExitCode::SUCCESS
}

fn exit_status(text: Option<&str>) -> std::process::ExitCode {
    std::process::ExitCode::from(text.and_then(|text| text.parse().ok()).unwrap_or(1))
}

/// Is it the bridge that asks, to see whether anybody answers?
fn is_probe(message: &Value) -> bool {
    message["params"]["clientInfo"]["name"] == "mcp-proxy"
}

/// Is there a file `exit` where the bridge runs?
fn is_told_to_exit() -> bool {
    std::path::Path::new("exit").exists()
}

fn announce(file: Option<&str>) {
    let file = file.map(|file| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
    });
    if let Some(Ok(mut file)) = file {
        // At once: another one may be writing, too. A test that waits for the line says so when it does not come.
        let _ = file.write_all(format!("{}\n", std::process::id()).as_bytes());
    }
}

fn send(message: &Value) {
    println!("{message}");
}

fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A reader that is gone is noticed at the next message.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

impl Server {
    fn take(&mut self, message: &Value) -> Option<std::process::ExitCode> {
        let Some(method) = message["method"].as_str() else {
            // The client's answer to what was asked.
            if let Some(id) = self.asking.take() {
                self.result(&id, &json!({ "content": [text(&message.to_string())] }));
            }
            return None;
        };
        let id = &message["id"];
        let modern =
            message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string();
        let era = if modern && self.flags.modern {
            Era::Modern
        } else {
            Era::Legacy
        };
        let mine = *self.era.get_or_insert(era);
        if mine != era && !id.is_null() {
            error(id, -32600, "this process belongs to the other era");
            return None;
        }
        match method {
            _ if id.is_null() => self.notified.push(message.clone()),
            // The bridge's own probe is answered: these are for the clients.
            "initialize" if self.flags.silent_initialize && !is_probe(message) => {}
            "initialize" if self.flags.exit_initialize && !is_probe(message) => {
                return Some(exit_status(Some("9")));
            }
            "initialize" if self.flags.exit_once_said && is_told_to_exit() => {
                return Some(exit_status(Some("9")));
            }
            "initialize" => self.result(
                id,
                &json!({
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": "scripted-server", "version": "1" },
                }),
            ),
            "server/discover" if mine == Era::Modern => self.result(
                id,
                &json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
                    "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted-server", "version": "1" } } }),
            ),
            // One tool on each of two pages.
            "tools/list" if self.flags.paged => {
                let second = message["params"]["cursor"] == "second";
                let tool = json!({ "name": if second { "regional" } else { "echo" }, "inputSchema": { "type": "object" } });
                let mut page = json!({ "tools": [tool], "ttlMs": 0, "cacheScope": "public" });
                if !second {
                    page["nextCursor"] = json!("second");
                }
                self.result(id, &page);
            }
            "tools/list" => self.result(id, &json!({ "tools": [
                { "name": "echo", "inputSchema": { "type": "object" } },
                { "name": "regional", "inputSchema": { "type": "object",
                    "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } } },
            ], "ttlMs": 0, "cacheScope": "private" })),
            "subscriptions/listen" if mine == Era::Modern => {
                self.listening.push(id.clone());
                let wanted = message["params"]["notifications"].clone();
                let honoured = if self.flags.still { json!({}) } else { wanted };
                send(&json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                    "params": { "_meta": { SUBSCRIPTION: id }, "notifications": honoured } }));
            }
            "tools/call" => return self.call(id, &message["params"]),
            "ping" => self.result(id, &json!({})),
            _ => error(id, -32601, "Method not found"),
        }
        None
    }

    fn result(&self, id: &Value, result: &Value) {
        let mut result = result.clone();
        if self.era == Some(Era::Modern) {
            result["resultType"] = json!("complete");
        }
        send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    /// One manner per tool name.
    #[expect(clippy::too_many_lines, reason = "a table: one short arm per manner")]
    fn call(&mut self, id: &Value, params: &Value) -> Option<std::process::ExitCode> {
        let arguments = &params["arguments"];
        let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
        let size = |name: &str| usize::try_from(number(name)).unwrap_or(0);
        let answer = |server: &Self, content: &str| {
            server.result(id, &json!({ "content": [text(content)] }));
        };
        match params["name"].as_str().unwrap_or_default() {
            // What arrived, and the id it arrived under.
            "echo" | "regional" => answer(self, &json!({ "id": id, "params": params }).to_string()),
            "progress" => {
                for step in 0..number("steps") {
                    std::thread::sleep(Duration::from_millis(number("pause_ms")));
                    send(
                        &json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                        "params": { "progressToken": params["_meta"]["progressToken"], "progress": step } }),
                    );
                }
                answer(self, "done");
            }
            "log" => {
                send(
                    &json!({ "jsonrpc": "2.0", "method": "notifications/message",
                    "params": { "level": "info", "data": arguments["data"] } }),
                );
                answer(self, "logged");
            }
            // Asks the client something and answers with what it said.
            "ask" => {
                self.asking = Some(id.clone());
                send(&json!({ "jsonrpc": "2.0", "id": "question", "method": "roots/list" }));
            }
            // Says something that belongs to no call: that the tools have changed, or something else.
            "notify" => {
                let method = arguments["method"].as_str();
                let method = method.unwrap_or("notifications/tools/list_changed");
                send(&json!({ "jsonrpc": "2.0", "method": method,
                    "params": { "note": arguments["note"] } }));
                answer(self, "notified");
            }
            // Tells every listener.
            "tell_listeners" => {
                for listener in &self.listening {
                    send(
                        &json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
                        "params": { "_meta": { SUBSCRIPTION: listener } } }),
                    );
                }
                answer(self, "told");
            }
            // Says that its own call is cancelled, which is not for it to say.
            "cancel_itself" => {
                send(
                    &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                    "params": { "requestId": id } }),
                );
                answer(self, "answered");
            }
            // Reads and says nothing any more.
            "hang" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            "hold" => self.held.push(id.clone()),
            "release" => {
                for held in self.held.drain(..).rev() {
                    send(
                        &json!({ "jsonrpc": "2.0", "id": held, "result": { "content": [text("released")] } }),
                    );
                }
                answer(self, "released");
            }
            "notified" => answer(self, &Value::from(self.notified.clone()).to_string()),
            "pid" => answer(self, &std::process::id().to_string()),
            "arguments" => {
                let all: Vec<Value> = std::env::args().skip(1).map(Value::from).collect();
                answer(self, &Value::from(all).to_string());
            }
            // Takes memory and uses it.
            "allocate" => {
                let taken = vec![1_u8; size("bytes")];
                answer(
                    self,
                    &taken
                        .iter()
                        .map(|byte| usize::from(*byte))
                        .sum::<usize>()
                        .to_string(),
                );
            }
            "environment" => {
                let all: serde_json::Map<String, Value> = std::env::vars()
                    .map(|(name, value)| (name, value.into()))
                    .collect();
                answer(self, &Value::from(all).to_string());
            }
            "exit" => {
                return Some(std::process::ExitCode::from(
                    u8::try_from(number("status")).unwrap_or(1),
                ));
            }
            "abort" => std::process::abort(),
            // A child of its own that holds stdout; ends itself if `exit` is set.
            "fork" => {
                let child = std::process::Command::new("sleep").arg("600").spawn();
                let pid = child.map_or(0, |child| child.id());
                answer(self, &pid.to_string());
                if arguments["exit"] == true {
                    return Some(std::process::ExitCode::from(3));
                }
            }
            "garbage" => {
                raw(b"hello, I am a debug line\n\xff\xfe not text\nnull\n42\n[]\n{\"jsonrpc\":\"2.0\"\n\n{\"a\":1}\n");
                raw(b"{\"jsonrpc\":\"2.0\",\"id\":99999,\"result\":{}}\n");
                answer(self, "after the garbage");
            }
            "long_line" => {
                raw(&vec![b'x'; size("bytes")]);
                raw(b"\n");
                answer(self, "after the long line");
            }
            // Lines that are too long or no text.
            "unreadable" => {
                for _ in 0..number("lines") {
                    if arguments["kind"] == "long" {
                        raw(&vec![b'x'; 100_000]);
                        raw(b"\n");
                    } else {
                        raw(b"\xff\xfe\n");
                    }
                }
                answer(self, "after the lines");
            }
            // Lives on, and reads nothing more.
            "deaf" => {
                if let Ok(nothing) = std::fs::File::open("/dev/null")
                    && rustix::stdio::dup2_stdin(nothing).is_ok()
                {
                    answer(self, "nothing more is read");
                }
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            "big" => answer(self, &"x".repeat(size("bytes"))),
            "stderr" => {
                for _ in 0..number("lines") {
                    eprintln!("{}", "e".repeat(100));
                }
                answer(self, "after the flood");
            }
            // Floods the client with notifications of a call.
            "flood" => {
                for step in 0..number("messages") {
                    send(
                        &json!({ "jsonrpc": "2.0", "method": "notifications/message",
                        "params": { "level": "info", "data": format!("{step} {}", "f".repeat(1000)) } }),
                    );
                }
                answer(self, "after the flood");
            }
            _ => error(id, -32602, "unknown tool"),
        }
        None
    }
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn error(id: &Value, code: i32, message: &str) {
    send(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
}
