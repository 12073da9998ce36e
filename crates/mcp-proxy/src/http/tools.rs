//! The rules for tools at the door: calls that are not allowed are refused, lists are narrowed on their way out, and
//! discovery says that they may change.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use chassis::telemetry::untrusted;
use tracing::field::display;
use tracing::info;

use crate::app::State;
use crate::calls::Accepts;
use crate::http::error::{Refusal, json};
use crate::identity::Identity;
use crate::jsonrpc::{Message, as_text};
use crate::sse;
use crate::tools::Access;
use crate::tools::announce::declare;
use crate::tools::filter::filter;

/// How an answer that is changed on its way out is given.
///
/// Its request is sent as that of a client that takes JSON only, so that the answer is in one piece and never in what a
/// session remembers for resumption.
#[derive(Clone, Debug)]
pub struct Edited {
    how: How,
    /// The client takes no JSON.
    as_event: bool,
}

#[derive(Clone, Debug)]
enum How {
    /// A list without the tools that the person may not call.
    Narrowed(Access),
    /// Discovery that says that the list of tools may change.
    Declared,
}

/// Lets a request pass, or refuses it. `Some`: its answer must be given with [`Edited::answer`].
pub fn admit(
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    message: &Message<'_>,
) -> Result<Option<Edited>, Refusal> {
    match &*message.method {
        "tools/call" => {
            let Some(tool) = message.params.name.and_then(as_text) else {
                // The MCP server says what is wrong with it.
                return Ok(None);
            };
            if state.tools.now().access(identity).allows(&tool) {
                return Ok(None);
            }
            let login = identity.map_or("-", |identity| &*identity.login);
            let request_id = message.came_with.map(display);
            info!(request_id, login, tool = %untrusted(&tool), "refused a call of a tool: the rules do not allow it");
            state.counted.tools_refused.inc();
            Err(Refusal::ToolNotAllowed(tool.into_owned()))
        }
        "tools/list" => {
            let access = state.tools.now().access(identity);
            Ok((!access.is_whole()).then_some(Edited {
                how: How::Narrowed(access),
                as_event: !accepts.json,
            }))
        }
        "server/discover" => Ok(state.tools.now().narrow().then_some(Edited {
            how: How::Declared,
            as_event: !accepts.json,
        })),
        _ => Ok(None),
    }
}

impl Edited {
    /// How the request goes on.
    pub const ACCEPTS: Accepts = Accepts {
        json: true,
        sse: false,
    };

    /// The answer as this person gets it.
    #[must_use]
    pub fn edit(&self, answer: Vec<u8>) -> Vec<u8> {
        match &self.how {
            How::Narrowed(access) => filter(answer, access),
            How::Declared => declare(&answer).unwrap_or(answer),
        }
    }

    /// The answer to a request. `status`: that of an answer in JSON.
    #[must_use]
    pub fn answer(
        &self,
        answer: Vec<u8>,
        status: impl FnOnce(&[u8]) -> StatusCode,
    ) -> HttpResponse {
        let answer = self.edit(answer);
        if self.as_event {
            return HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, "text/event-stream"))
                .insert_header((CACHE_CONTROL, "no-store"))
                .body(sse::event(None, &answer));
        }
        json(HttpResponse::build(status(&answer)), answer)
    }
}
