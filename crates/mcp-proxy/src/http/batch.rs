//! Several messages in one POST: MCP 2025-03-26 and, in its children, 2024-11-05 (JSON-RPC 2.0, section 6).
//!
//! Each member stands for itself: what is no message, or not allowed, is answered in the place of its answer, and the rest
//! goes on. Only a batch that is nothing but an empty array, or over the bound of calls in flight, is refused as a whole.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::value::RawValue;

use crate::app::State;
use crate::calls::{Accepts, Reply};
use crate::http::error::{Refusal, json};
use crate::http::hand_over::{self, Place};
use crate::http::named;
use crate::http::post::{self, Failure};
use crate::http::tools::{self, Edited};
use crate::identity::Identity;
use crate::jsonrpc::{self, Kind, Message};
use crate::request_id::RequestId;
use crate::session::Pending;
use crate::version::Version;

/// Serves a batch.
pub async fn serve(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    text: &str,
) -> Result<HttpResponse, Failure> {
    if post::check_version(request)?.is_some_and(Version::is_modern) {
        return Err(Refusal::BadRequest("this revision of MCP has no batches").into());
    }
    let session = match hand_over::session(request, state, identity).await? {
        Place::Here(session) => session,
        Place::There(replica) => {
            let gone = Refusal::SessionUnknown;
            return Ok(replica.message(request, text, gone).await?);
        }
    };
    if session
        .version()
        .is_some_and(|version| version > Version::V20250326)
    {
        return Err(Refusal::BadRequest(
            "batches were removed from MCP: send one message per POST",
        )
        .into());
    }
    let request_id = named::request_id(request);
    let members = jsonrpc::parse_batch(text).map_err(Refusal::from)?;
    let Sorted {
        messages,
        answered,
        lists,
    } = sort(state, identity, accepts, &members, request_id.as_ref());
    let stopping = state.stopping.is_cancelled();
    if stopping && messages.iter().any(|message| message.kind == Kind::Request) {
        return Err(state.ending().into());
    }
    let accepts = if lists.is_empty() {
        accepts
    } else {
        Edited::ACCEPTS
    };
    let pending = session
        .batch(&messages, accepts, answered.clone())
        .map_err(Refusal::from)?;
    match pending {
        Some(pending) if lists.is_empty() => {
            Ok(post::answer(&session, pending, state, accepts, None).await?)
        }
        Some(pending) => Ok(narrowed(pending, &lists).await?),
        None if answered.is_empty() => Ok(HttpResponse::Accepted().finish()),
        None => Ok(json(HttpResponse::build(StatusCode::OK), array(&answered))),
    }
}

/// The members of a batch by what becomes of them.
#[derive(Default)]
struct Sorted<'a> {
    /// What goes to the session.
    messages: Vec<Message<'a>>,
    /// Our answers to the rest.
    answered: Vec<Vec<u8>>,
    /// The raw ids of lists that are narrowed on their way out.
    lists: Vec<(&'a str, Edited)>,
}

fn sort<'a>(
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    members: &[&'a str],
    request_id: Option<&'a RequestId>,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for member in members {
        let message = match Message::from_client(member) {
            Ok(message) => message.of(request_id),
            Err(malformed) => {
                sorted.answered.push(Refusal::from(malformed).body(None));
                continue;
            }
        };
        let id = message.id.map(RawValue::get);
        let refusal = if message.kind != Kind::Request {
            None
        } else if message.method == "initialize" {
            Some(Refusal::BadRequest(
                "initialize must not be part of a batch",
            ))
        } else {
            match tools::admit(state, identity, accepts, &message) {
                Ok(None) => None,
                Ok(Some(edited)) => {
                    sorted.lists.push((id.unwrap_or("null"), edited));
                    None
                }
                Err(refusal) => Some(refusal),
            }
        };
        match refusal {
            Some(refusal) => sorted.answered.push(refusal.body(id)),
            None => sorted.messages.push(message),
        }
    }
    sorted
}

/// The answers with their lists narrowed. Answers to equal ids cannot be told apart, so they are narrowed alike.
async fn narrowed(pending: Pending, lists: &[(&str, Edited)]) -> Result<HttpResponse, Refusal> {
    let Reply::Json(answers) = pending.reply.await.map_err(|_| Refusal::AnswerLost)? else {
        return Ok(HttpResponse::Accepted().finish());
    };
    let text = std::str::from_utf8(&answers).map_err(|_| Refusal::AnswerLost)?;
    let answers: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Refusal::AnswerLost)?;
    let answers: Vec<Vec<u8>> = answers
        .into_iter()
        .map(|answer| {
            let id = Message::parse(answer.get())
                .ok()
                .and_then(|message| message.id);
            let list = lists
                .iter()
                .find(|(list, _)| id.is_some_and(|id| id.get() == *list));
            let answer = answer.get().as_bytes().to_vec();
            match list {
                Some((_, edited)) => edited.edit(answer),
                None => answer,
            }
        })
        .collect();
    Ok(json(HttpResponse::build(StatusCode::OK), array(&answers)))
}

fn array(answers: &[Vec<u8>]) -> Vec<u8> {
    [b"[".as_slice(), &answers.join(&b','), b"]"].concat()
}
