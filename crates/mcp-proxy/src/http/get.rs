//! `GET /mcp`: the stream of what belongs to no call, or the rest of a stream that broke.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::State;
use crate::http::error::Refusal;
use crate::http::hand_over::{self, Place};
use crate::http::headers::{self, LAST_EVENT_ID};
use crate::http::origin::single;
use crate::http::{admit, body, post};
use crate::replay::EventId;

/// `GET /mcp`.
pub async fn get(request: HttpRequest, state: Data<State>) -> HttpResponse {
    serve(&request, &state)
        .await
        .unwrap_or_else(|refusal| refusal.answer(None))
}

async fn serve(request: &HttpRequest, state: &State) -> Result<HttpResponse, Refusal> {
    let identity = admit(request, state)?;
    refuse_modern(request)?;
    if !headers::accepts(request.headers()).sse {
        return Err(Refusal::NotAcceptable);
    }
    let session = match hand_over::session(request, state, identity.as_ref()).await? {
        Place::Here(session) => session,
        Place::There(replica) => return replica.bare(request, state).await,
    };
    let last = single(request.headers(), &LAST_EVENT_ID)
        .map_err(|_| Refusal::BadHeader("Last-Event-ID"))?;
    let last = last
        .map(str::parse::<EventId>)
        .transpose()
        .map_err(|_| Refusal::EventUnknown)?;
    let inlet = session.listen(last).ok_or(Refusal::EventUnknown)?;
    Ok(body::event_stream(
        inlet
            .into_events(state.config.limits.keep_alive.duration())
            .with_life(state.config.limits.stream_life.duration()),
        None,
    ))
}

/// GET and DELETE are no methods of the revisions without sessions.
pub fn refuse_modern(request: &HttpRequest) -> Result<(), Refusal> {
    match post::check_version(request)? {
        Some(version) if version.is_modern() => Err(Refusal::PostOnly),
        _ => Ok(()),
    }
}
