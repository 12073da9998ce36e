//! What clients do with the bridge, one story after another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bench::message::{self, Era, INITIALIZED};
use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

/// How long a client waits before it goes away in the middle of something.
const LEAVING: Duration = Duration::from_millis(30);

/// One thing that clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Story {
    CallsAndCloses,
    LeavesItsSession,
    LeavesItsStream,
    FollowsProgress,
    LosesItsServer,
    LeavesACall,
    TakesMuch,
    MeetsGarbage,
    ModernCalls,
    ModernFollowsProgress,
    ModernListensAndLeaves,
    ModernLeavesACall,
    ModernLosesItsServer,
}

pub(crate) const STORIES: [Story; 13] = [
    Story::CallsAndCloses,
    Story::LeavesItsSession,
    Story::LeavesItsStream,
    Story::FollowsProgress,
    Story::LosesItsServer,
    Story::LeavesACall,
    Story::TakesMuch,
    Story::MeetsGarbage,
    Story::ModernCalls,
    Story::ModernFollowsProgress,
    Story::ModernListensAndLeaves,
    Story::ModernLeavesACall,
    Story::ModernLosesItsServer,
];

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
}

impl Client {
    #[expect(
        clippy::too_many_lines,
        reason = "a table: one short arm for each story"
    )]
    pub(crate) async fn tell(&self, story: Story) -> Result<()> {
        match story {
            Story::CallsAndCloses => {
                let session = self.open().await?;
                for _ in 0..10 {
                    self.legacy(&session, "pid", json!({})).await?;
                }
                let delete = self.http.delete(&self.url);
                let answer = delete.header("mcp-session-id", &session).send().await?;
                ensure!(answer.status().is_success(), "DELETE: {}", answer.status());
                let gone = self.send(Some(&session), Era::Legacy, "pid", json!({}));
                ensure!(gone.await?.status() == 404, "a closed session answers");
            }
            Story::LeavesItsSession => {
                let session = self.open().await?;
                self.legacy(&session, "pid", json!({})).await?;
            }
            Story::LeavesItsStream => {
                let session = self.open().await?;
                let get = self
                    .http
                    .get(&self.url)
                    .header("accept", "text/event-stream");
                let stream = get.header("mcp-session-id", &session).send().await?;
                ensure!(stream.status() == 200, "GET: {}", stream.status());
                self.legacy(&session, "notify", json!({ "note": 1 }))
                    .await?;
            }
            Story::FollowsProgress => {
                let session = self.open().await?;
                let answer = self
                    .send(
                        Some(&session),
                        Era::Legacy,
                        "progress",
                        json!({ "steps": 50 }),
                    )
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("done"), "no end of progress: {text}");
            }
            Story::LosesItsServer => {
                let session = self.open().await?;
                let answer = self
                    .send(Some(&session), Era::Legacy, "exit", json!({ "status": 3 }))
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("error"), "the crash was not told: {text}");
                wait::until("404", PATIENCE, || async {
                    let again = self.send(Some(&session), Era::Legacy, "pid", json!({}));
                    (again.await.ok()?.status() == 404).then_some(())
                })
                .await?;
            }
            Story::LeavesACall => {
                let session = self.open().await?;
                let held = self.send(Some(&session), Era::Legacy, "hold", json!({}));
                let _ = tokio::time::timeout(LEAVING, held).await;
                self.legacy(&session, "release", json!({})).await?;
            }
            Story::TakesMuch => {
                let session = self.open().await?;
                let bytes = 1024 * 1024;
                let answer = self
                    .send(
                        Some(&session),
                        Era::Legacy,
                        "big",
                        json!({ "bytes": bytes }),
                    )
                    .await?;
                ensure!(answer.bytes().await?.len() > bytes, "not all came");
                let much = json!({ "much": "x".repeat(bytes) });
                self.legacy(&session, "echo", much).await?;
            }
            Story::MeetsGarbage => {
                let session = self.open().await?;
                self.legacy(&session, "garbage", json!({})).await?;
                self.legacy(&session, "stderr", json!({ "lines": 300 }))
                    .await?;
                self.legacy(&session, "flood", json!({ "messages": 20 }))
                    .await?;
            }
            Story::ModernCalls => {
                for _ in 0..10 {
                    self.modern("echo", json!({})).await?;
                }
            }
            Story::ModernFollowsProgress => {
                self.modern("progress", json!({ "steps": 50 })).await?;
            }
            Story::ModernListensAndLeaves => {
                let listening = self.listen();
                let stream = tokio::time::timeout(LEAVING * 10, listening).await;
                drop(stream);
                self.modern("echo", json!({})).await?;
            }
            Story::ModernLeavesACall => {
                let held = self.send(None, Era::Modern, "hold", json!({}));
                let _ = tokio::time::timeout(LEAVING, held).await;
            }
            Story::ModernLosesItsServer => {
                let answer = self
                    .send(None, Era::Modern, "exit", json!({ "status": 3 }))
                    .await?;
                let text = answer.text().await?;
                ensure!(text.contains("error"), "the crash was not told: {text}");
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<String> {
        let answer = self.post(None, message::initialize()).send().await?;
        let status = answer.status();
        let id = answer.headers().get("mcp-session-id");
        let id = id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
        let text = answer.text().await?;
        let id = id.with_context(|| format!("no session: {status}, {text}"))?;
        let answer = self.post(Some(&id), INITIALIZED.to_vec()).send().await?;
        ensure!(answer.status() == 202, "initialized: {}", answer.status());
        Ok(id)
    }

    /// A call in a session, which must be answered with a result.
    async fn legacy(&self, session: &str, tool: &str, arguments: Value) -> Result<()> {
        let answer = self
            .send(Some(session), Era::Legacy, tool, arguments)
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        let shown = || text.chars().take(300).collect::<String>();
        ensure!(
            status == 200 && text.contains("\"result\""),
            "{tool}: {status}, {}",
            shown()
        );
        Ok(())
    }

    /// A call without a session. Another client may just have ended the server they share: then it is told so, or to wait a while,
    /// and calls again.
    async fn modern(&self, tool: &str, arguments: Value) -> Result<()> {
        wait::until("an answer of the shared server", PATIENCE, || async {
            let answer = self.send(None, Era::Modern, tool, arguments.clone());
            let answer = answer.await.ok()?;
            let is_success = answer.status() == 200;
            let text = answer.text().await.ok()?;
            (is_success && text.contains("\"result\"")).then_some(())
        })
        .await
    }

    async fn send(
        &self,
        session: Option<&str>,
        era: Era,
        tool: &str,
        arguments: Value,
    ) -> Result<reqwest::Response> {
        let mut body: Value = serde_json::from_slice(&message::call(era, 1, tool, &arguments))?;
        if tool == "progress"
            && let Some(params) = body.get_mut("params").and_then(Value::as_object_mut)
        {
            let meta = params.entry("_meta").or_insert_with(|| json!({}));
            if let Some(meta) = meta.as_object_mut() {
                meta.insert("progressToken".to_owned(), json!("p"));
            }
        }
        let mut post = self.post(session, body.to_string().into_bytes());
        if era == Era::Modern {
            post = post
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", tool);
        }
        Ok(post.send().await?)
    }

    async fn listen(&self) -> Result<reqwest::Response> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
            "notifications": { "toolsListChanged": true },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }});
        let post = self.post(None, body.to_string().into_bytes());
        let post = post
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "subscriptions/listen");
        Ok(post.send().await?)
    }

    fn post(&self, session: Option<&str>, body: Vec<u8>) -> reqwest::RequestBuilder {
        let post = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body);
        match session {
            Some(id) => post.header("mcp-session-id", id),
            None => post,
        }
    }
}
