//! What the MCP server says it is: told to operators by `/health` of the private listener.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use arc_swap::ArcSwapOption;
use chassis::health::{Check, Readiness};
use serde::{Deserialize, Serialize};

use crate::app::State;
use crate::jsonrpc::Message;
use crate::modern::era::Era;

/// The name and the version that the MCP server last gave; clones share them.
#[derive(Clone, Debug, Default)]
pub struct About(Arc<ArcSwapOption<Server>>);

/// An MCP server's own words about itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Server {
    name: String,
    version: String,
}

/// `serverInfo` of a result: a member of it in `initialize`, in `_meta` since 2026-07-28.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "serverInfo", borrow)]
    server_info: Option<Info<'a>>,
    #[serde(rename = "_meta", borrow)]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/serverInfo", borrow)]
    server_info: Option<Info<'a>>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
}

impl About {
    /// Remembers what an answer to `initialize` or `server/discover` says.
    pub fn note(&self, answer: &str) {
        let info = Message::parse(answer)
            .ok()
            .and_then(|message| message.result)
            .and_then(|result| serde_json::from_str::<Answer<'_>>(result.get()).ok())
            .and_then(|answer| {
                answer
                    .server_info
                    .or_else(|| answer.meta.and_then(|meta| meta.server_info))
            });
        if let Some(info) = info {
            let server = Server {
                name: info.name.into_owned(),
                version: info.version.into_owned(),
            };
            self.0.store(Some(Arc::new(server)));
        }
    }
}

/// What `/health` answers.
#[derive(Serialize)]
struct Health<'a> {
    ready: bool,
    checks: Vec<Check>,
    /// Absent until the MCP server has said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a Server>,
    /// The revisions of MCP that the MCP server speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    era: Option<Era>,
    sessions: usize,
    children: usize,
}

/// Adds `GET /health` to the private listener: 200 while work may be sent to the service, else 503, and why.
pub fn routes(config: &mut ServiceConfig, state: Data<State>, readiness: Readiness) {
    config.route(
        "/health",
        web::get().to(move || health(state.clone(), readiness.clone())),
    );
}

async fn health(state: Data<State>, readiness: Readiness) -> impl Responder {
    let report = readiness.report().await;
    let mut response = if report.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    let server = state.about.0.load();
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(Health {
            ready: report.ready,
            checks: report.checks,
            server: server.as_deref(),
            era: state.verdict.known(),
            sessions: state.sessions.count(),
            children: state.children.count(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stands_in_the_result_or_in_its_meta() {
        for result in [
            r#"{"serverInfo":{"name":"a","version":"1","title":"A"}}"#,
            r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}}}"#,
        ] {
            let about = About::default();
            about.note(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
            assert!(about.0.load().is_none());
            about.note(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
            let server = about.0.load_full().unwrap();
            assert_eq!((&*server.name, &*server.version), ("a", "1"));
        }
    }
}
