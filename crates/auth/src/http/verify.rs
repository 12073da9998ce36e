//! `GET /verify`: Traefik asks before every request to a service.
//!
//! Two inputs decide: the bearer token, and the service that the operator wrote into the address. The host that the client
//! used is only compared with it. Answers are 200, 401, 403 and 503.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chassis::identity;
use oauth::{ErrorCode, ServiceName, Site};

use super::{error, extract};
use crate::app::AppState;
use crate::audit;
use crate::flow::verify::{self, VerifyError};

/// Traefik itself waits for half a minute; nobody should wait for two seconds.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Decides and renders.
pub(crate) async fn verify(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let Some(service) = service(&request, &state) else {
        state.counted.verified("unknown_service");
        return error::json(
            ErrorCode::AccessDenied,
            "no service of this gateway has this address",
        );
    };
    // Before the token is looked at: with and without one, nobody is known to a public service.
    if state.policy.rules().is_public(service) {
        state.counted.verified("public");
        return HttpResponse::Ok().finish();
    }
    let token = match extract::bearer(&request) {
        Ok(Some(token)) => token,
        Ok(None) => {
            state.counted.verified("no_token");
            return challenge(&state, service, false);
        }
        Err(()) => {
            state.counted.verified("invalid_token");
            return challenge(&state, service, true);
        }
    };
    match tokio::time::timeout(DEADLINE, verify::verify(&state, token, service)).await {
        Ok(Ok(decision)) => HttpResponse::Ok()
            .insert_header((identity::SUBJECT, decision.claims.sub.as_str()))
            .insert_header((identity::LOGIN, decision.claims.login.as_str()))
            .insert_header((identity::CLIENT, decision.claims.client_id.as_str()))
            .insert_header((identity::SCOPE, decision.scope.as_str()))
            .finish(),
        Ok(Err(VerifyError::InvalidToken)) => {
            denied(&request, &state, service, token, "invalid_token");
            challenge(&state, service, true)
        }
        Ok(Err(VerifyError::InsufficientScope)) => {
            denied(&request, &state, service, token, "insufficient_scope");
            insufficient_scope(&state, service)
        }
        Ok(Err(VerifyError::Store(problem))) => {
            state.counted.verified("unavailable");
            error::unavailable(&problem)
        }
        Ok(Err(VerifyError::Busy)) => {
            state.counted.verified("busy");
            error::json(
                ErrorCode::TemporarilyUnavailable,
                "too many requests are being checked; try again",
            )
        }
        Err(_) => {
            state.counted.verified("unavailable");
            error::json(
                ErrorCode::TemporarilyUnavailable,
                "the gateway's store does not answer; try again",
            )
        }
    }
}

/// Counts a refused token, and writes about some of them. The span of this endpoint is off, so the request is named here.
fn denied(
    request: &HttpRequest,
    state: &AppState,
    service: &ServiceName,
    token: &str,
    outcome: &'static str,
) {
    state.counted.verified(outcome);
    if state.limits.may_tell("verify_denied", state.clock.now()) {
        tracing::info!(target: "audit", event = "verify_denied", reason = outcome, service = %service, token = %audit::token(token),
            request_id = %chassis::telemetry::request_id(request), "a token was refused");
    }
}

/// The service of the address (`?resource=mcp-fetch`) and of the host; if both are there they must agree.
fn service<'a>(request: &HttpRequest, state: &'a AppState) -> Option<&'a ServiceName> {
    let mut named = url::form_urlencoded::parse(request.query_string().as_bytes())
        .filter(|(name, _)| name == "resource")
        .map(|(_, value)| value);
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return None;
    }
    let by_host = match extract::single_header(request, "x-forwarded-host").ok()? {
        None => None,
        Some(host) => match state.sites.site_of(host)? {
            Site::Service(name) => Some(name),
            Site::Auth => return None,
        },
    };
    let by_address = match &first {
        None => None,
        Some(name) => Some(state.sites.service(name)?),
    };
    match (by_address, by_host) {
        (Some(address), Some(host)) => (*address == host).then_some(address),
        (Some(address), None) => Some(address),
        (None, Some(host)) => state.sites.service(host.as_str()),
        (None, None) => None,
    }
}

/// 403 with the scope that is needed (RFC 6750 section 3.1).
fn insufficient_scope(state: &AppState, service: &ServiceName) -> HttpResponse {
    let metadata = state.sites.resource_metadata(service);
    let scope = state.policy.rules().needed_scopes(service).to_string();
    let challenge = format!(
        "Bearer error=\"insufficient_scope\", resource_metadata=\"{metadata}\", scope=\"{scope}\""
    );
    let mut response = error::json(
        ErrorCode::InsufficientScope,
        "the access token does not have all the scopes that this service needs; ask for those in the challenge",
    );
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// 401 with the way to a token (RFC 6750 section 3, RFC 9728 section 5.1). `error` only if a token was shown.
fn challenge(state: &AppState, service: &ServiceName, has_token: bool) -> HttpResponse {
    let metadata = state.sites.resource_metadata(service);
    let scope = state.policy.rules().needed_scopes(service).to_string();
    let (challenge, text) = if has_token {
        (
            format!(
                "Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\", scope=\"{scope}\""
            ),
            "the access token is malformed, expired or revoked, or is for another service",
        )
    } else {
        (
            format!("Bearer resource_metadata=\"{metadata}\", scope=\"{scope}\""),
            "an access token is needed; resource_metadata tells where to get one",
        )
    };
    let mut response = error::json_with(
        StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidToken.as_str(),
        text,
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
