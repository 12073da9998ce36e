//! `subscriptions/listen` for an older child (MCP 2026-07-28, basic/patterns/subscriptions).

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, Weak};

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::calls::Accepts;
use crate::http::error::Refusal;
use crate::jsonrpc::Message;
use crate::modern::request::{InFlight, Request, Serving};
use crate::modern::translation::child::Legacy;
use crate::modern::translation::inward::Inward;
use crate::modern::translation::members::{Members, Object, line, quoted, response};
use crate::session::Refused;

/// Resources that one request may watch; the acknowledgement leaves out what is beyond.
const MAX_WATCHED: usize = 256;
/// Bytes of the longest URI that may be watched; a longer one is left out.
const MAX_URI: usize = 8192;

/// A request that listens.
#[derive(Debug)]
pub struct Listening {
    pub(super) request: Request,
    filter: Filter,
    _watching: Watching,
}

/// What a client wants to be told of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: BTreeSet<Box<str>>,
}

impl Filter {
    fn wants(&self, message: &Message<'_>) -> bool {
        match &*message.method {
            "notifications/tools/list_changed" => self.tools_list_changed,
            "notifications/prompts/list_changed" => self.prompts_list_changed,
            "notifications/resources/list_changed" => self.resources_list_changed,
            "notifications/resources/updated" => {
                let uri = message.params.uri.and_then(crate::jsonrpc::as_text);
                uri.is_some_and(|uri| self.resource_subscriptions.contains(&*uri))
            }
            _ => false,
        }
    }

    /// As the acknowledgement says it: only what is honoured.
    fn as_json(&self) -> Value {
        let mut honoured = serde_json::Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools_list_changed),
            ("promptsListChanged", self.prompts_list_changed),
            ("resourcesListChanged", self.resources_list_changed),
        ] {
            if wanted {
                honoured.insert(name.to_owned(), true.into());
            }
        }
        if !self.resource_subscriptions.is_empty() {
            let uris = json!(self.resource_subscriptions);
            honoured.insert("resourceSubscriptions".to_owned(), uris);
        }
        honoured.into()
    }
}

/// Resources of a child that somebody watches: the child is asked for each once, however many watch it.
#[derive(Debug, Default)]
struct Watching {
    child: Weak<Legacy>,
    uris: Vec<Box<str>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(child) = self.child.upgrade() else {
            return;
        };
        for uri in &self.uris {
            // Counted and told under one lock, so that the child hears of it in this order.
            let mut watched = child.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(count) = watched.get_mut(uri) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                watched.remove(uri);
                drop(child.send("resources/unsubscribe", &json!({ "uri": uri })));
            }
        }
    }
}

impl Legacy {
    /// Watches resources for somebody; those that the child does not let us watch are left out.
    async fn watch(self: &Arc<Self>, uris: BTreeSet<Box<str>>) -> Watching {
        let mut watching = Watching {
            child: Arc::downgrade(self),
            uris: Vec::new(),
        };
        let mut asked = Vec::new();
        let short = uris.into_iter().filter(|uri| uri.len() <= MAX_URI);
        for uri in short.take(MAX_WATCHED) {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let count = watched.entry(uri.clone()).or_default();
            *count += 1;
            let first = *count == 1;
            watching.uris.push(uri.clone());
            if first {
                asked.push((
                    uri.clone(),
                    self.send("resources/subscribe", &json!({ "uri": uri })),
                ));
            }
        }
        for (uri, answer) in asked {
            if !Self::agreed(answer).await {
                watching.uris.retain(|kept| *kept != uri);
                let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
                watched.remove(&uri);
            }
        }
        watching
    }

    /// Listens for the client: the acknowledgement comes first, then what it asked for. `announced`: changes of the tools that
    /// it sees are told whether the server tells its own or not.
    pub async fn listen(
        self: &Arc<Self>,
        message: &Message<'_>,
        inward: &Inward<'_>,
        accepts: Accepts,
        announced: bool,
    ) -> Result<InFlight, Refusal> {
        if !accepts.sse {
            return Err(Refusal::NotAcceptable);
        }
        let filter = inward
            .param("notifications")
            .filter(|filter| filter.get().starts_with('{'))
            .and_then(|filter| serde_json::from_str::<Filter>(filter.get()).ok())
            .ok_or(Refusal::InvalidParams(
                "`notifications` must be an object that says what to listen for",
            ))?;
        let changes = self
            .greeting()
            .map(|greeting| greeting.changes)
            .unwrap_or_default();
        let watching = if changes.subscribe {
            self.watch(filter.resource_subscriptions).await
        } else {
            Watching::default()
        };
        let honoured = Filter {
            tools_list_changed: filter.tools_list_changed
                && (changes.tools || announced && changes.has_tools),
            prompts_list_changed: filter.prompts_list_changed && changes.prompts,
            resources_list_changed: filter.resources_list_changed && changes.resources,
            resource_subscriptions: watching.uris.iter().cloned().collect(),
        };
        let limits = self.home.limits;
        let (number, reply) = {
            let mut state = self.lock();
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)).into());
            }
            if state.calls.len() + state.listening.len() >= limits.in_flight {
                return Err(Refused::Busy.into());
            }
            state.last_number += 1;
            let number = state.last_number;
            let (mut request, reply) = self.request(number, message, accepts);
            request.listens = true;
            let acknowledged = json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": { "notifications": honoured.as_json() },
            });
            let acknowledged = acknowledged.to_string();
            if let Ok(message) = Message::parse(&acknowledged) {
                // The first message always fits.
                request.emit(
                    &tagged(&message, &request.call.client_id.clone()),
                    limits.reader_bytes,
                );
            }
            let listening = Listening {
                request,
                filter: honoured,
                _watching: watching,
            };
            state.listening.insert(number, listening);
            (number, reply)
        };
        let owner = Arc::clone(self) as Arc<dyn Serving>;
        Ok(InFlight::new(owner, number, reply))
    }

    /// Tells those who listen what has changed.
    pub fn tell(&self, message: &Message<'_>) {
        let mut lost = Vec::new();
        {
            let mut state = self.lock();
            let wanting = state
                .listening
                .iter_mut()
                .filter(|(_, listening)| listening.filter.wants(message));
            let mut gone = Vec::new();
            for (number, listening) in wanting {
                let note = tagged(message, &listening.request.call.client_id.clone());
                if !listening.request.emit(&note, self.home.limits.reader_bytes) {
                    gone.push(*number);
                }
            }
            lost.extend(
                gone.into_iter()
                    .filter_map(|number| state.listening.remove(&number)),
            );
        }
        if !lost.is_empty() {
            warn!(parent: &self.span, streams = lost.len(), "ended streams whose clients read too slowly");
        }
    }
}

/// A notification with the id of the listening request that it is for.
fn tagged(message: &Message<'_>, client_id: &str) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Notification<'a> {
        #[serde(borrow, default)]
        params: Members<'a>,
    }
    let mut params = serde_json::from_str::<Notification<'_>>(message.text)
        .map(|notification| notification.params)
        .unwrap_or_default();
    let mut meta = params
        .get("_meta")
        .and_then(|meta| Members::parse(meta.get()))
        .unwrap_or_default();
    meta.drop_reserved();
    params.0.retain(|(key, _)| key != "_meta");
    let mut tag = Object::new();
    tag.members(&meta)
        .raw("io.modelcontextprotocol/subscriptionId", client_id);
    let mut tagged = Object::new();
    tagged.members(&params).raw("_meta", &tag.finish());
    let mut notification = Object::new();
    notification
        .raw("jsonrpc", r#""2.0""#)
        .raw("method", &quoted(&message.method))
        .raw("params", &tagged.finish());
    line(&notification.finish())
}

/// The answer to a listening request that the server ends.
pub(super) fn completion(client_id: &str, server: &str) -> Vec<u8> {
    let mut meta = Object::new();
    meta.raw("io.modelcontextprotocol/subscriptionId", client_id)
        .raw("io.modelcontextprotocol/serverInfo", server);
    let mut result = Object::new();
    result
        .raw("resultType", r#""complete""#)
        .raw("_meta", &meta.finish());
    response(client_id, &result.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_tagged_and_otherwise_as_it_was() {
        let of = |text: &str| {
            String::from_utf8(tagged(&Message::parse(text).unwrap(), "\"l\"")).unwrap()
        };
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}}"#
        );
        assert_eq!(
            of(
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"a":1.0},"uri":"\u00e9"}}"#
            ),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"\u00e9","_meta":{"a":1.0,"io.modelcontextprotocol/subscriptionId":"l"}}}"#
        );
    }
}
