//! The harness: a running bridge, and a client that shows everything that came over the wire.

use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::process::{Command, Logs, Process};
use testkit::wait::{self, PATIENCE};

/// A running `mcp-proxy`.
pub(crate) struct Bridge {
    pub(crate) process: Process,
    pub(crate) logs: Logs,
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    http: reqwest::Client,
    directory: tempfile::TempDir,
}

/// How to start one.
pub(crate) struct Setup {
    command: Vec<String>,
    variables: Vec<(String, String)>,
    file: String,
    port: u16,
}

/// The scripted MCP server with flags.
pub(crate) fn scripted(flags: &[&str]) -> Setup {
    let program = testkit::binaries::built("scripted-server");
    let program = program.to_str().unwrap();
    around(&[&[program], flags].concat())
}

/// The scripted MCP server, deaf to SIGTERM, with flags.
pub(crate) fn stubborn(flags: &[&str]) -> Setup {
    let program = testkit::binaries::built("scripted-server");
    let script = format!(
        "trap '' TERM; exec {} {}",
        program.display(),
        flags.join(" ")
    );
    around(&["sh", "-c", &script])
}

/// Any MCP server.
pub(crate) fn around(command: &[&str]) -> Setup {
    Setup {
        command: command.iter().map(ToString::to_string).collect(),
        variables: Vec::new(),
        file: String::new(),
        port: 0,
    }
}

impl Setup {
    /// Sets a variable of the bridge.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Listens on this port, for those who must know it before the start.
    pub(crate) fn on(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Writes a configuration file.
    pub(crate) fn with_file(mut self, text: &str) -> Self {
        text.clone_into(&mut self.file);
        self
    }

    /// The command line of the bridge, and the file where it says its addresses.
    pub(crate) fn command(&self, directory: &tempfile::TempDir) -> (Command, PathBuf) {
        let file = directory.path().join("addresses");
        std::fs::write(directory.path().join("gateway.toml"), &self.file).unwrap();
        let mut command = Command::new("mcp-proxy", env!("CARGO_BIN_EXE_mcp-proxy"))
            .current_dir(directory)
            .env("PRIVATE_PORT", "0")
            .args(["--port", &self.port.to_string(), "--address-file"])
            .arg(&file);
        for (name, value) in &self.variables {
            command = command.env(name, value);
        }
        (command.arg("--").args(&self.command), file)
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(self) -> Bridge {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::default();
        let (command, file) = self.command(&directory);
        let process = command.start(&logs).unwrap();
        let text = wait::until("the address file", PATIENCE, || async {
            std::fs::read_to_string(&file).ok()
        })
        .await
        .unwrap();
        let address = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.parse::<SocketAddr>().unwrap()
        };
        let (public, private) = (address("public="), address("private="));
        let http = testkit::network::http_client().unwrap();
        Bridge {
            process,
            logs,
            public,
            private,
            http,
            directory,
        }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn ready(self) -> Bridge {
        let bridge = self.start().await;
        wait::until("readiness", PATIENCE, || async {
            (bridge.readiness().await == 200).then_some(())
        })
        .await
        .unwrap();
        bridge
    }
}

/// A request on its way.
pub(crate) struct Call<'b> {
    bridge: &'b Bridge,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An answer, with a body that is read when it is asked for.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    response: Option<reqwest::Response>,
    read: String,
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Bridge {
    /// From now on its client calls from this address of this machine.
    pub(crate) fn called_from(&mut self, address: &str) {
        let address = address.parse().unwrap();
        self.http = testkit::network::http_client_at(Some(address)).unwrap();
    }

    pub(crate) async fn readiness(&self) -> u16 {
        let url = format!("http://{}/health/ready", self.private);
        self.http
            .get(url)
            .send()
            .await
            .map_or(0, |answer| answer.status().as_u16())
    }

    /// Makes a server with `--exit-once-said` end, or lets it live again.
    pub(crate) fn say_exit(&self, exit: bool) {
        let file = self.directory.path().join("exit");
        if exit {
            std::fs::write(file, "").unwrap();
        } else {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Is there such a file where it runs?
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.directory.path().join(name).exists()
    }

    /// Writes another configuration file.
    pub(crate) fn rewrite(&self, text: &str) {
        std::fs::write(self.directory.path().join("gateway.toml"), text).unwrap();
    }

    /// What the private listener shows.
    pub(crate) async fn private(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.private);
        let answer = self.http.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    pub(crate) fn call(&self, method: Method) -> Call<'_> {
        let mut headers = HeaderMap::new();
        headers.insert(
            "accept",
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        Call {
            bridge: self,
            method,
            path: "/mcp".to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    pub(crate) fn post(&self, body: &Value) -> Call<'_> {
        self.post_text(&body.to_string())
    }

    pub(crate) fn post_text(&self, body: &str) -> Call<'_> {
        let mut call = self
            .call(Method::POST)
            .header("content-type", "application/json");
        call.body = body.as_bytes().to_vec();
        call
    }

    /// Opens a session of a revision, and says that it is open.
    pub(crate) async fn open(&self, version: &str) -> String {
        self.open_as(version, &[]).await
    }

    pub(crate) async fn open_as(&self, version: &str, headers: &[(&str, &str)]) -> String {
        let mut answer = self
            .post(&initialize(version))
            .headers(headers)
            .send()
            .await;
        let session = answer.header("mcp-session-id").map(str::to_owned);
        let body = answer.text().await;
        let session = session.unwrap_or_else(|| panic!("{body}"));
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = self
            .post(&initialized)
            .session(&session)
            .headers(headers)
            .send()
            .await;
        assert_eq!(answer.status, 202);
        session
    }

    /// Calls a tool in a session and gives the text of its result.
    pub(crate) async fn tool(&self, session: &str, name: &str, arguments: Value) -> String {
        let mut answer = self
            .post(&tool(1, name, arguments))
            .session(session)
            .send()
            .await;
        let body = answer.message().await;
        body["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    }
}

pub(crate) fn initialize(version: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } })
}

pub(crate) fn tool(id: impl Into<Value>, name: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/call",
        "params": { "name": name, "arguments": arguments } })
}

impl Call<'_> {
    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn headers(self, headers: &[(&str, &str)]) -> Self {
        headers
            .iter()
            .fold(self, |call, (name, value)| call.header(name, value))
    }

    pub(crate) fn session(self, id: &str) -> Self {
        self.header("mcp-session-id", id)
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let url = format!("http://{}{}", self.bridge.public, self.path);
        let request = self
            .bridge
            .http
            .request(self.method, url)
            .headers(self.headers)
            .body(self.body);
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            response: Some(response),
            read: String::new(),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The rest of the body.
    pub(crate) async fn text(&mut self) -> String {
        if let Some(response) = self.response.take() {
            self.read.push_str(&response.text().await.unwrap());
        }
        std::mem::take(&mut self.read)
    }

    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The response to the request, whichever way it came.
    pub(crate) async fn message(&mut self) -> Value {
        if !self.is_stream() {
            return self.json().await;
        }
        self.events().await.last().unwrap().json()
    }

    /// Every event until the stream ends.
    pub(crate) async fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// The next event; comments and `retry` alone are none.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.read.find("\n\n") {
                let block: String = self.read.drain(..end + 2).collect();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim_start().to_owned())
                };
                if let Some(data) = field("data:") {
                    return Some(Event {
                        id: field("id:").unwrap_or_default(),
                        data,
                    });
                }
            }
            let chunk = self.response.as_mut()?.chunk().await;
            // A stream that breaks off, or does not end in time, is none that has ended.
            let chunk = chunk.unwrap_or_else(|error| panic!("{error:?} after {:?}", self.read))?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Does the rest of the body break off?
    pub(crate) async fn is_cut(&mut self) -> bool {
        let mut response = self.response.take().unwrap();
        loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// The next line that is not empty, whatever it is.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.find('\n') {
                let line: String = self.read.drain(..=end).collect();
                if !line.trim().is_empty() {
                    return line.trim_end().to_owned();
                }
                continue;
            }
            let chunk = self
                .response
                .as_mut()
                .unwrap()
                .chunk()
                .await
                .unwrap()
                .unwrap();
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
