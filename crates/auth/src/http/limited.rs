//! Where a request is held against the limits, and what is answered beyond them.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use chassis::peer::ClientAddress;
use oauth::ErrorCode;

use super::error::{self, Refused};
use super::pages;
use crate::app::AppState;
use crate::flow::token::ClientCredentials;
use crate::limits::{Exceeded, Limit, Who, retry_after};

/// Counts a request that is answered in JSON. Give `client` for limits per client and address.
pub(crate) async fn json(
    request: &HttpRequest,
    state: &AppState,
    limit: Limit,
    client: Option<&str>,
) -> Result<(), Refused> {
    let mut who = Who::at(ClientAddress::of(request));
    if let Some(client) = client {
        who = who.named(client);
    }
    let admission = state.limits.take(limit, &who, state.clock.now()).await;
    admission.map_err(|exceeded| too_many_json(exceeded).into())
}

/// Counts a request of a client, whatever it calls itself: per address, and per client and address.
pub(crate) async fn client(
    request: &HttpRequest,
    state: &AppState,
    limit: Limit,
    credentials: &ClientCredentials,
) -> Result<(), Refused> {
    json(request, state, Limit::Address, None).await?;
    json(request, state, limit, Some(name(credentials))).await
}

/// What the client calls itself; some leave it out when they refresh.
pub(crate) fn name(credentials: &ClientCredentials) -> &str {
    credentials.client_id.as_deref().unwrap_or_default()
}

/// Counts a request that is answered in JSON against a limit of all together.
pub(crate) async fn json_of_all(state: &AppState, limit: Limit) -> Result<(), Refused> {
    let admission = state.limits.take(limit, &Who::ALL, state.clock.now()).await;
    admission.map_err(|exceeded| too_many_json(exceeded).into())
}

/// Counts a request that is answered with a page.
pub(crate) async fn page(
    request: &HttpRequest,
    state: &AppState,
    limit: Limit,
) -> Result<(), Refused> {
    let who = Who::at(ClientAddress::of(request));
    let admission = state.limits.take(limit, &who, state.clock.now()).await;
    admission.map_err(|exceeded| too_many_page(request, exceeded).into())
}

/// Counts a request that is answered with a page against a limit of all together.
pub(crate) async fn page_of_all(
    request: &HttpRequest,
    state: &AppState,
    limit: Limit,
) -> Result<(), Refused> {
    let admission = state.limits.take(limit, &Who::ALL, state.clock.now()).await;
    admission.map_err(|exceeded| too_many_page(request, exceeded).into())
}

/// Holds failures against [`Limit::TokenFailures`]: refuses before `answer` is made when there were too many. Only a refusal of
/// the client's fault stays counted.
pub(crate) async fn failures(
    request: &HttpRequest,
    state: &AppState,
    client: &str,
    answer: impl Future<Output = error::Answer>,
) -> error::Answer {
    let who = Who::at(ClientAddress::of(request)).named(client);
    let limit = Limit::TokenFailures;
    let attempt = state.limits.attempt(limit, &who, &*state.clock).await;
    let attempt = attempt.map_err(too_many_json)?;
    let answer = answer.await;
    let is_failure = matches!(&answer, Err(refused) if refused.status().is_client_error());
    if !is_failure {
        attempt.succeeded().await;
    }
    answer
}

/// 429 in JSON (RFC 6585 section 4). Clients keep their tokens on this code.
pub(crate) fn too_many_json(exceeded: Exceeded) -> HttpResponse {
    let seconds = retry_after(exceeded.wait);
    let mut response = error::json_with(
        StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TemporarilyUnavailable.as_str(),
        &format!("too many requests; try again in {seconds} seconds"),
    );
    set_retry_after(&mut response, seconds);
    response
}

/// 429 as a page.
pub(crate) fn too_many_page(request: &HttpRequest, exceeded: Exceeded) -> HttpResponse {
    let seconds = retry_after(exceeded.wait);
    let text = format!(
        "Too many requests came from your network. Wait {seconds} seconds and reload this page."
    );
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = pages::message(request, status, "Try again in a moment", &text);
    set_retry_after(&mut response, seconds);
    response
}

pub(crate) fn set_retry_after(response: &mut HttpResponse, seconds: u64) {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
}
