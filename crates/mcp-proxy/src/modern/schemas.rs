//! What a shared child's tools want to see in headers: asked of the child itself, and remembered for a while.

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

impl Shared {
    /// The headers that the child's tools want, asked for when `tool` is not known or the knowledge is older than `life`.
    pub async fn schemas(
        self: &Arc<Self>,
        tool: &str,
        life: Option<Duration>,
    ) -> Result<Arc<Schemas>, Refused> {
        let mut known = self.schemas.lock().await;
        let now = Instant::now();
        if let Some((read, schemas)) = &*known {
            let age = now.duration_since(*read);
            let young = Duration::from_secs(1);
            if age < young || (age < life.unwrap_or(SCHEMAS_LIFE) && schemas.contains_key(tool)) {
                return Ok(Arc::clone(schemas));
            }
        }
        let listed = tokio::time::timeout(SCHEMAS_WAIT, self.list_tools()).await;
        // A server that does not tell its tools has none to check.
        let schemas = Arc::new(listed.unwrap_or_else(|_| Ok(Schemas::new()))?);
        *known = Some((now, Arc::clone(&schemas)));
        Ok(schemas)
    }

    async fn list_tools(self: &Arc<Self>) -> Result<Schemas, Refused> {
        let mut schemas = Schemas::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut params = serde_json::json!({ "_meta": {
                "io.modelcontextprotocol/protocolVersion": Version::V20260728.as_str(),
                "io.modelcontextprotocol/clientCapabilities": {},
            }});
            if let (Some(cursor), Some(params)) = (&cursor, params.as_object_mut()) {
                params.insert("cursor".to_owned(), cursor.as_str().into());
            }
            let text =
                serde_json::json!({ "jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params }).to_string();
            let Ok(message) = Message::parse(&text) else {
                break;
            };
            let mut in_flight = self.request(
                &message,
                Accepts {
                    json: true,
                    sse: false,
                },
            )?;
            let Ok(Reply::Json(answer)) = (&mut in_flight.reply).await else {
                break;
            };
            let page = std::str::from_utf8(&answer)
                .ok()
                .and_then(|text| Message::parse(text).ok())
                .and_then(|message| message.result)
                .and_then(|result| read_page(result.get()));
            // A server without tools has none to check.
            let Some(Page {
                schemas: page,
                next_cursor,
            }) = page
            else {
                break;
            };
            schemas.extend(page);
            cursor = next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(schemas)
    }
}
