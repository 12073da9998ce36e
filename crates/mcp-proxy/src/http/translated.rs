//! `POST /mcp` of MCP 2026-07-28 for an older MCP server.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::value::RawValue;

use crate::app::State;
use crate::calls::Accepts;
use crate::http::error::{Refusal, json};
use crate::http::hand_over;
use crate::http::modern::{answer, check_parameters};
use crate::http::tools::Edited;
use crate::identity::Identity;
use crate::jsonrpc::Message;
use crate::modern::translation::child::conversation::{STATE_UNKNOWN, can_ask};
use crate::modern::translation::inward::Inward;
use crate::modern::translation::parked::Binding;
use crate::modern::translation::profile::Profile;

/// Serves one modern request whose headers and `_meta` have been checked. `edited`: how its answer is shown.
pub async fn serve(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
    accepts: Accepts,
    message: &Message<'_>,
    edited: Option<Edited>,
) -> Result<HttpResponse, Refusal> {
    // Tasks of 2025-11-25 are another thing than the extension of that name, and answers in their shape are none here.
    if message.method.starts_with("tasks/") {
        return Err(Refusal::UnknownMethod(message.method.clone().into_owned()));
    }
    let inward = Inward::read(message)?;
    let asks = can_ask(&message.method);
    if asks
        && let Some(token) = &inward.state
        && let Some(replica) = hand_over::elsewhere(request, state, token).await
    {
        let gone = Refusal::InvalidParams(STATE_UNKNOWN);
        return replica.message(request, message.text, gone).await;
    }
    let shared = state.leases.shared(identity).await?;
    match &*message.method {
        "server/discover" => {
            let id = message.id.map_or("null", RawValue::get);
            let mut answer = shared.discovered(id);
            if let Some(edited) = edited {
                answer = edited.edit(answer);
            }
            return Ok(json(HttpResponse::Ok(), answer));
        }
        "subscriptions/listen" => {
            let announced = state.tools.now().narrow();
            let in_flight = shared.listen(message, &inward, accepts, announced).await?;
            return answer(in_flight, state, accepts, true, None).await;
        }
        _ => {}
    }
    check_parameters(request, message, async |tool, life| {
        shared.schemas(tool, life).await
    })
    .await?;
    let subject = identity.map(|identity| &*identity.owner.subject);
    if asks && let Some(token) = &inward.state {
        let binding = Binding::new(subject, &inward);
        let (ticket, child, number) = state
            .leases
            .parked
            .redeem(token, binding)
            .map_err(|_| Refusal::InvalidParams(STATE_UNKNOWN))?;
        let in_flight = child.resume((ticket, number), message, &inward, accepts)?;
        return answer(in_flight, state, accepts, false, edited).await;
    }
    let profile = if asks {
        inward.profile
    } else {
        Profile::default()
    };
    let level = inward.level.filter(|_| shared.logs());
    if profile.is_empty() && level.is_none() {
        let in_flight = shared.call(message, &inward, accepts, None)?;
        return answer(in_flight, state, accepts, false, edited).await;
    }
    let claim = state.leases.lease(identity, profile).await?;
    if let Some(level) = level {
        claim.child().set_level(level).await;
    }
    let binding = Binding::new(subject, &inward);
    let in_flight = claim
        .child()
        .call(message, &inward, accepts, Some(binding))?;
    claim.begun();
    answer(in_flight, state, accepts, false, edited).await
}
