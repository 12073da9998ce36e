//! `POST /mcp` of MCP 2026-07-28.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::app::State;
use crate::calls::{Accepts, Reply};
use crate::http::body;
use crate::http::error::{Refusal, json};
use crate::http::tools::{self, Edited};
use crate::http::translated;
use crate::identity::Identity;
use crate::jsonrpc::{Kind, Message, as_text, code};
use crate::modern::era::Era;
use crate::modern::parameters::Schemas;
use crate::modern::request::InFlight;
use crate::modern::{parameters, validate};
use crate::session::Refused;
use crate::version::Version;

/// Serves one modern message.
pub async fn serve(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    message: &Message<'_>,
) -> Result<HttpResponse, Refusal> {
    match message.kind {
        Kind::Request => {}
        Kind::Notification => return notification(state, identity, message).await,
        Kind::Response => {
            return Err(Refusal::BadRequest(
                "this revision of MCP has no responses from the client",
            ));
        }
    }
    let era = state
        .verdict
        .wait(state.config.limits.initialize.duration())
        .await
        .ok_or(Refusal::NotReady)?;
    validate::request(request.headers(), message, || vec![Version::V20260728])?;
    let edited = tools::admit(state, identity, accepts, message)?;
    let accepts = edited.as_ref().map_or(accepts, |_| Edited::ACCEPTS);
    if era == Era::Legacy {
        return translated::serve(request, state, identity, accepts, message, edited).await;
    }
    let shared = state.pool.child(identity).await?;
    check_parameters(request, message, async |tool, life| {
        shared.schemas(tool, life).await
    })
    .await?;
    let in_flight = shared.request(message, accepts)?;
    let listens = message.method == "subscriptions/listen";
    answer(in_flight, state, accepts, listens, edited).await
}

async fn notification(
    state: &State,
    identity: Option<&Identity>,
    message: &Message<'_>,
) -> Result<HttpResponse, Refusal> {
    // Over HTTP a request is cancelled by closing its stream; the ids of a notification would be those of anybody.
    if message.method != "notifications/cancelled"
        && state
            .verdict
            .wait(state.config.limits.initialize.duration())
            .await
            == Some(Era::Modern)
    {
        state.pool.child(identity).await?.notify(message)?;
    }
    Ok(HttpResponse::Accepted().finish())
}

/// Compares `Mcp-Param-*` with the arguments, by the child's own schemas. `schemas`: what is known of the tools if it knows
/// this one and is not older than that.
pub async fn check_parameters(
    request: &HttpRequest,
    message: &Message<'_>,
    schemas: impl AsyncFn(&str, Option<Duration>) -> Result<Arc<Schemas>, Refused>,
) -> Result<(), Refusal> {
    if message.method != "tools/call" {
        return Ok(());
    }
    let Some(tool) = message.params.name.and_then(as_text) else {
        return Ok(());
    };
    let arguments = message
        .params
        .arguments
        .map(serde_json::value::RawValue::get);
    let check = |schemas: &Schemas| {
        schemas.get(&*tool).map_or(Ok(()), |mirrored| {
            parameters::check(mirrored, request.headers(), arguments)
        })
    };
    if check(&*schemas(&tool, None).await?).is_ok() {
        return Ok(());
    }
    // What the client goes by may be newer than what is remembered.
    check(&*schemas(&tool, Some(Duration::ZERO)).await?)
}

/// Waits for what comes first. `listens`: the answer is a stream without an end of its own; `edited`: it is not shown as it
/// is.
pub async fn answer(
    mut in_flight: InFlight,
    state: &State,
    accepts: Accepts,
    listens: bool,
    edited: Option<Edited>,
) -> Result<HttpResponse, Refusal> {
    let first = if accepts.sse {
        let wait =
            tokio::time::timeout(state.config.limits.stream_after(), &mut in_flight.reply).await;
        if let Ok(first) = wait {
            first
        } else {
            in_flight.begin_stream();
            (&mut in_flight.reply).await
        }
    } else {
        (&mut in_flight.reply).await
    };
    match first.map_err(|_| Refusal::AnswerLost)? {
        Reply::Json(answer) => Ok(match edited {
            Some(edited) => edited.answer(answer, status),
            None => json(HttpResponse::build(status(&answer)), answer),
        }),
        Reply::Nothing => Ok(HttpResponse::Accepted().finish()),
        Reply::Stream(inlet) => {
            let mut events = inlet
                .into_events(state.config.limits.keep_alive.duration())
                .on_end(in_flight.hand_over());
            if listens {
                events = events.with_life(state.config.limits.stream_life.duration());
            }
            Ok(body::event_stream(events, None))
        }
    }
}

/// The status of an answer: some errors have their own (MCP 2026-07-28, streamable HTTP, "Protocol Version Header").
fn status(answer: &[u8]) -> StatusCode {
    #[derive(Deserialize)]
    struct Failed {
        error: ErrorCode,
    }
    #[derive(Deserialize)]
    struct ErrorCode {
        code: i32,
    }
    // Large answers are results; an error is short.
    let failed = (answer.len() < 64 * 1024)
        .then(|| serde_json::from_slice::<Failed>(answer).ok())
        .flatten();
    match failed.map(|failed| failed.error.code) {
        Some(code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(
            code::PARSE_ERROR
            | code::INVALID_REQUEST
            | code::HEADER_MISMATCH
            | code::MISSING_CAPABILITY
            | code::UNSUPPORTED_VERSION,
        ) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}
