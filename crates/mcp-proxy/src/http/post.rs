//! `POST /mcp`: a message comes in.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::app::State;
use crate::calls::{Accepts, Reply};
use crate::http::error::{Refusal, json};
use crate::http::hand_over::{self, Place};
use crate::http::headers::{self, SESSION_ID};
use crate::http::origin::single;
use crate::http::tools::{self, Edited};
use crate::http::{admit, batch, body, modern, named};
use crate::identity::Identity;
use crate::jsonrpc::{self, Kind, Message};
use crate::metrics::Answered;
use crate::modern::validate;
use crate::session::{Pending, Session};
use crate::sessions::Opened;
use crate::sse;
use crate::version::Version;

/// `POST /mcp`.
pub async fn post(request: HttpRequest, payload: Payload, state: Data<State>) -> HttpResponse {
    let begun = Instant::now();
    let response = match serve(&request, payload, &state).await {
        Ok(response) => response,
        Err((refusal, id)) => refusal.answer(id.as_deref()),
    };
    let status = response.status().as_u16();
    state
        .counted
        .answers
        .get_or_create(&Answered { status })
        .inc();
    state.counted.seconds.observe(begun.elapsed().as_secs_f64());
    response
}

/// A refusal, and the raw id of the request it answers.
pub type Failure = (Refusal, Option<Box<str>>);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        (refusal, None)
    }
}

async fn serve(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, Failure> {
    let identity = admit(request, state)?;
    let accepts = headers::accepts(request.headers());
    if !accepts.json && !accepts.sse {
        return Err(Refusal::NotAcceptable.into());
    }
    if !headers::is_json(request.headers()) {
        return Err(Refusal::NotJson.into());
    }
    let body = body::read(
        request.headers(),
        payload,
        state.config.limits.message_bytes,
        &state.room,
    )
    .await?;
    state.counted.bytes_in.inc_by(body.bytes.len() as u64);
    let text = std::str::from_utf8(&body.bytes)
        .map_err(|error| Refusal::Malformed(jsonrpc::Malformed::NotJson(error.to_string())))?;
    jsonrpc::check_depth(text).map_err(Refusal::from)?;
    if jsonrpc::is_batch(text) {
        return batch::serve(request, state, identity.as_ref(), accepts, text).await;
    }
    let request_id = named::request_id(request);
    let message = Message::from_client(text)
        .map_err(Refusal::from)?
        .of(request_id.as_ref());
    let id = || message.id.map(|id| Box::from(id.get()));
    let result = single_message(request, state, identity.as_ref(), accepts, &message).await;
    result.map_err(|refusal| (refusal, id()))
}

async fn single_message(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    message: &Message<'_>,
) -> Result<HttpResponse, Refusal> {
    let stopping = message.kind == Kind::Request && state.stopping.is_cancelled();
    if validate::is_modern(request.headers(), message) {
        if stopping {
            return Err(Refusal::Stopping);
        }
        return modern::serve(request, state, identity, accepts, message).await;
    }
    check_version(request)?;
    if message.kind == Kind::Request && message.method == "initialize" {
        if stopping {
            return Err(Refusal::Stopping);
        }
        return initialize(state, identity, accepts, message).await;
    }
    let session = match hand_over::session(request, state, identity).await? {
        Place::Here(session) => session,
        Place::There(replica) => {
            let gone = Refusal::SessionUnknown;
            return replica.message(request, message.text, gone).await;
        }
    };
    if stopping {
        return Err(state.ending());
    }
    if message.kind == Kind::Request {
        if let Some(edited) = tools::admit(state, identity, accepts, message)? {
            let pending = session.request(message, Edited::ACCEPTS)?;
            return whole(pending, &edited).await;
        }
        let pending = session.request(message, accepts)?;
        return answer(&session, pending, state, accepts, None).await;
    }
    session.tell(message)?;
    Ok(HttpResponse::Accepted().finish())
}

/// The revision the client names, if any; any revision of ours will do, not only the negotiated one.
pub fn check_version(request: &HttpRequest) -> Result<Option<Version>, Refusal> {
    let named = single(request.headers(), &headers::PROTOCOL_VERSION)
        .map_err(|_| Refusal::BadHeader("MCP-Protocol-Version"))?;
    let Some(named) = named else {
        return Ok(None);
    };
    Version::parse(named)
        .map(Some)
        .ok_or_else(|| Refusal::UnsupportedVersion {
            requested: named.to_owned(),
            supported: Version::ALL.to_vec(),
        })
}

/// The session of a request, if it is the caller's.
pub fn session(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
) -> Result<std::sync::Arc<Session>, Refusal> {
    let id =
        single(request.headers(), &SESSION_ID).map_err(|_| Refusal::BadHeader("Mcp-Session-Id"))?;
    let id = id.ok_or(Refusal::SessionMissing)?;
    state
        .sessions
        .find(id, identity.map(|identity| &identity.owner))
        .ok_or(Refusal::SessionUnknown)
}

async fn initialize(
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    message: &Message<'_>,
) -> Result<HttpResponse, Refusal> {
    let session = match state.sessions.open(identity, message).await? {
        Opened::Own(session) => session,
        Opened::Shared(session, answer) => {
            return Ok(opened(accepts, message, &answer, Some(session.id.as_str())));
        }
        Opened::Refused(answer) => return Ok(opened(accepts, message, &answer, None)),
    };
    let limit = state.config.limits.initialize.duration();
    // A client that goes away now, or is refused, never learns the id of its session.
    let unknown = Unknown {
        state,
        session: &session,
    };
    let pending = session.request(message, accepts)?;
    let response = answer(&session, pending, state, accepts, Some(limit)).await?;
    if response.headers().contains_key(SESSION_ID) {
        std::mem::forget(unknown);
    }
    Ok(response)
}

/// The answer of a shared child to somebody's `initialize`, under the id of this one.
fn opened(
    accepts: Accepts,
    message: &Message<'_>,
    answer: &str,
    session: Option<&str>,
) -> HttpResponse {
    let id = message.id.map_or("null", RawValue::get);
    let body = match Message::parse(answer) {
        Ok(answer) => {
            let mut edits: Vec<jsonrpc::Edit<'_>> = Vec::new();
            edits.extend(answer.id.map(|old| (answer.range(old), id)));
            jsonrpc::splice(answer.text, &mut edits)
        }
        Err(_) => answer.as_bytes().to_vec(),
    };
    let mut response = HttpResponse::Ok();
    if let Some(session) = session {
        response.insert_header((SESSION_ID, session));
    }
    if accepts.json {
        return json(response, body);
    }
    response
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(sse::event(None, &body))
}

/// A session whose id its client does not know yet. Dropping it ends the session.
struct Unknown<'s> {
    state: &'s State,
    session: &'s Session,
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        self.state.sessions.close(self.session, "initialize failed");
    }
}

/// Waits for an answer that is not shown as it is.
async fn whole(pending: Pending, edited: &Edited) -> Result<HttpResponse, Refusal> {
    match pending.reply.await.map_err(|_| Refusal::AnswerLost)? {
        Reply::Json(body) => Ok(edited.answer(body, |_| StatusCode::OK)),
        Reply::Nothing => Ok(HttpResponse::Accepted().finish()),
        // What was asked for takes no stream.
        Reply::Stream(_) => Err(Refusal::AnswerLost),
    }
}

/// Waits for what comes first. `opening`: the request is `initialize` and may take this long.
pub async fn answer(
    session: &Session,
    pending: Pending,
    state: &State,
    accepts: Accepts,
    opening: Option<Duration>,
) -> Result<HttpResponse, Refusal> {
    let Pending {
        mut reply,
        exchange,
    } = pending;
    let lost = |_: oneshot::error::RecvError| Refusal::AnswerLost;
    let reply = match opening {
        Some(limit) => tokio::time::timeout(limit, reply)
            .await
            .map_err(|_| Refusal::InitializeTimeout)?
            .map_err(lost)?,
        None if accepts.sse => {
            if let Ok(first) =
                tokio::time::timeout(state.config.limits.stream_after(), &mut reply).await
            {
                first.map_err(lost)?
            } else {
                session.begin_stream(exchange);
                reply.await.map_err(lost)?
            }
        }
        None => reply.await.map_err(lost)?,
    };
    let session_id = opening.map(|_| session.id.as_str());
    match reply {
        Reply::Json(body) => {
            let mut response = HttpResponse::build(StatusCode::OK);
            if let Some(id) = session_id {
                // Where the child refused there is no session to go on with.
                if session.version().is_some() {
                    response.insert_header((SESSION_ID, id));
                }
            }
            Ok(json(response, body))
        }
        Reply::Nothing => Ok(HttpResponse::Accepted().finish()),
        Reply::Stream(inlet) => Ok(body::event_stream(
            inlet.into_events(state.config.limits.keep_alive.duration()),
            session_id,
        )),
    }
}
