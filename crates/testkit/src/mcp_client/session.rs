//! An MCP session over Streamable HTTP, revision 2025-11-25.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use eventsource_stream::{Event, Eventsource as _};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::grant::Granted;

const PROTOCOL_VERSION: &str = "2025-11-25";

/// The opening request, with or without a token.
pub(super) fn initialize_request(
    http: &reqwest::Client,
    url: &Url,
    access_token: Option<&str>,
) -> RequestBuilder {
    let request = http
        .post(url.clone())
        .header(ACCEPT, "application/json, text/event-stream")
        .json(&json!({
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": {},
                "clientInfo": {"name": "testkit", "version": "1.0.0"},
            },
        }));
    match access_token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    /// Status of the HTTP answer.
    pub status: StatusCode,
    /// Headers of the HTTP answer.
    pub headers: HeaderMap,
    /// The JSON-RPC response, or what stood in the body.
    pub message: Value,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    http: reqwest::Client,
    url: Url,
    access_token: String,
    id: Option<String>,
    /// The result of `initialize`.
    pub server: Value,
    next: AtomicU64,
}

impl Session {
    pub(super) async fn open(http: reqwest::Client, url: Url, access_token: &str) -> Result<Self> {
        let response = initialize_request(&http, &url, Some(access_token))
            .send()
            .await?;
        let id = response
            .headers()
            .get("mcp-session-id")
            .map(|value| value.to_str().map(str::to_owned))
            .transpose()?;
        let reply = read(response, &json!(0)).await?;
        ensure!(
            reply.status == StatusCode::OK,
            "initialize: {} {}",
            reply.status,
            reply.message
        );
        let server = reply
            .message
            .get("result")
            .with_context(|| format!("initialize: {}", reply.message))?
            .clone();
        let session = Self {
            http,
            url,
            access_token: access_token.to_owned(),
            id,
            server,
            next: AtomicU64::new(1),
        };
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let status = session.post(&initialized).send().await?.status();
        ensure!(
            status == StatusCode::ACCEPTED,
            "notifications/initialized: {status}"
        );
        Ok(session)
    }

    /// Speaks in a session by its id alone, as somebody who has learnt it would.
    #[must_use]
    pub fn resume(granted: &Granted, id: &str) -> Self {
        let client = &granted.registered.discovered.client;
        Self {
            http: client.http.clone(),
            url: client.url.clone(),
            access_token: granted.tokens.access.clone(),
            id: Some(id.to_owned()),
            server: Value::Null,
            next: AtomicU64::new(1),
        }
    }

    /// Uses another access token from now on, as a client does after a refresh.
    pub fn set_access_token(&mut self, access_token: &str) {
        access_token.clone_into(&mut self.access_token);
    }

    /// The session id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// A POST of this session.
    pub fn post(&self, message: &Value) -> RequestBuilder {
        self.with_session(self.http.post(self.url.clone()))
            .header(ACCEPT, "application/json, text/event-stream")
            .json(message)
    }

    fn with_session(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request
            .header("mcp-protocol-version", PROTOCOL_VERSION)
            .bearer_auth(&self.access_token);
        match &self.id {
            Some(id) => request.header("mcp-session-id", id),
            None => request,
        }
    }

    /// Sends a request and waits for the answer, whatever it is.
    ///
    /// # Errors
    ///
    /// If the connection breaks or no answer comes on the stream.
    pub async fn request(&self, method: &str, params: Value) -> Result<Reply> {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let response = self.post(&message).send().await?;
        read(response, &id).await
    }

    /// Sends a request and returns what comes back while it comes.
    ///
    /// # Errors
    ///
    /// If the answer is not a stream.
    pub async fn stream(&self, method: &str, params: Value) -> Result<Messages> {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        Messages::of(self.post(&message).send().await?)
    }

    /// Opens the GET stream.
    ///
    /// # Errors
    ///
    /// If the answer is not a stream.
    pub async fn listen(&self) -> Result<Messages> {
        let request = self
            .with_session(self.http.get(self.url.clone()))
            .header(ACCEPT, "text/event-stream");
        Messages::of(request.send().await?)
    }

    /// Opens a GET stream that begins after the event of this id.
    ///
    /// # Errors
    ///
    /// If the answer is not a stream.
    pub async fn listen_after(&self, last_event_id: &str) -> Result<Messages> {
        let request = self
            .with_session(self.http.get(self.url.clone()))
            .header(ACCEPT, "text/event-stream")
            .header("last-event-id", last_event_id);
        Messages::of(request.send().await?)
    }

    /// Calls a tool and returns the texts of its result.
    ///
    /// # Errors
    ///
    /// If the call fails at any level, or the tool says so.
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Result<String> {
        let params = json!({"name": name, "arguments": arguments});
        let reply = self.request("tools/call", params).await?;
        let Some(result) = reply.message.get("result") else {
            bail!("{name}: {} {}", reply.status, reply.message)
        };
        ensure!(
            result.get("isError").and_then(Value::as_bool) != Some(true),
            "{name}: {result}"
        );
        let content = result.get("content").and_then(Value::as_array);
        let texts = content
            .into_iter()
            .flatten()
            .filter_map(|part| part.get("text").and_then(Value::as_str));
        Ok(texts.collect::<Vec<_>>().join("\n"))
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub async fn close(self) -> Result<StatusCode> {
        let request = self.with_session(self.http.delete(self.url.clone()));
        Ok(request.send().await?.status())
    }
}

/// The messages of an open stream.
pub struct Messages {
    events: BoxStream<'static, Result<Event>>,
    last_event_id: String,
}

impl Messages {
    fn of(response: reqwest::Response) -> Result<Self> {
        let status = response.status();
        ensure!(is_stream(&response), "no stream but {status}");
        let events = response.bytes_stream().eventsource();
        Ok(Self {
            events: events.map(|event| event.map_err(Into::into)).boxed(),
            last_event_id: String::new(),
        })
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// If the stream ends or breaks.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let event = self.events.next().await.context("the stream ended")??;
            event.id.clone_into(&mut self.last_event_id);
            // A priming event has no data.
            if !event.data.is_empty() {
                return Ok(serde_json::from_str(&event.data)?);
            }
        }
    }

    /// The id of the last event that had one, for [`Session::listen_after`].
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Messages")
    }
}

fn is_stream(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Reads an answer: one JSON object, or the response to `id` from a stream of events.
async fn read(response: reqwest::Response, id: &Value) -> Result<Reply> {
    let status = response.status();
    let headers = response.headers().clone();
    let message = if is_stream(&response) {
        let mut messages = Messages::of(response)?;
        loop {
            let message = messages
                .next()
                .await
                .with_context(|| format!("no response to {id}"))?;
            if message.get("id") == Some(id) {
                break message;
            }
        }
    } else {
        let text = response.text().await?;
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Ok(Reply {
        status,
        headers,
        message,
    })
}
