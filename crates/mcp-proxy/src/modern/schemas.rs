//! What a child's tools want to see in headers: asked of the child itself, and remembered for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::calls::{Accepts, Reply};
use crate::jsonrpc::Message;
use crate::modern::parameters::{Page, Schemas, read_page};
use crate::modern::shared::Shared;
use crate::session::Refused;
use crate::version::Version;

/// Pages of a tool list that are read for the headers of its tools.
const MAX_PAGES: usize = 100;
/// How long the tool list may take, while calls wait for it.
const SCHEMAS_WAIT: Duration = Duration::from_secs(10);
/// How long a tool list is believed.
const SCHEMAS_LIFE: Duration = Duration::from_secs(60);

/// What is remembered of one child's tools.
#[derive(Debug, Default)]
pub(super) struct Cache(tokio::sync::Mutex<Option<(Instant, Arc<Schemas>)>>);

impl Cache {
    /// The headers that the child's tools want, asked for when `tool` is not known or the knowledge is older than `life`.
    /// `page`: asks the child for the page of its tool list that a cursor names, the first one without.
    pub(super) async fn get(
        &self,
        tool: &str,
        life: Option<Duration>,
        page: impl AsyncFn(Option<String>) -> Result<Option<Page>, Refused>,
    ) -> Result<Arc<Schemas>, Refused> {
        let mut known = self.0.lock().await;
        let now = Instant::now();
        if let Some((read, schemas)) = &*known {
            let age = now.duration_since(*read);
            let young = Duration::from_secs(1);
            if age < young || (age < life.unwrap_or(SCHEMAS_LIFE) && schemas.contains_key(tool)) {
                return Ok(Arc::clone(schemas));
            }
        }
        let listed = tokio::time::timeout(SCHEMAS_WAIT, list(page)).await;
        // A server that does not tell its tools has none to check.
        let schemas = Arc::new(listed.unwrap_or_else(|_| Ok(Schemas::new()))?);
        *known = Some((now, Arc::clone(&schemas)));
        Ok(schemas)
    }
}

async fn list(
    page: impl AsyncFn(Option<String>) -> Result<Option<Page>, Refused>,
) -> Result<Schemas, Refused> {
    let mut schemas = Schemas::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        // A server without tools has none to check.
        let Some(found) = page(cursor).await? else {
            break;
        };
        schemas.extend(found.schemas);
        cursor = found.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(schemas)
}

impl Shared {
    /// The headers that the child's tools want (see [`Cache::get`]).
    pub async fn schemas(
        self: &Arc<Self>,
        tool: &str,
        life: Option<Duration>,
    ) -> Result<Arc<Schemas>, Refused> {
        self.schemas
            .get(tool, life, async |cursor| self.tools(cursor).await)
            .await
    }

    async fn tools(self: &Arc<Self>, cursor: Option<String>) -> Result<Option<Page>, Refused> {
        let mut params = serde_json::json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": Version::V20260728.as_str(),
            "io.modelcontextprotocol/clientCapabilities": {},
        }});
        if let (Some(cursor), Some(params)) = (cursor, params.as_object_mut()) {
            params.insert("cursor".to_owned(), cursor.into());
        }
        let text =
            serde_json::json!({ "jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params }).to_string();
        let Ok(message) = Message::parse(&text) else {
            return Ok(None);
        };
        let mut in_flight = self.request(
            &message,
            Accepts {
                json: true,
                sse: false,
            },
        )?;
        let Ok(Reply::Json(answer)) = (&mut in_flight.reply).await else {
            return Ok(None);
        };
        Ok(read_answer(&answer))
    }
}

/// Reads the answer to `tools/list`; `None` when it is an error.
#[must_use]
pub(super) fn read_answer(answer: &[u8]) -> Option<Page> {
    let text = std::str::from_utf8(answer).ok()?;
    read_page(Message::parse(text).ok()?.result?.get())
}
