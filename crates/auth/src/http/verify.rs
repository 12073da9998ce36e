//! `GET /verify`: Traefik asks before every request to a service.
//!
//! Two inputs decide: the bearer token, and the service that the operator wrote into the address. The host that the client
//! used is only compared with it. Answers are 200, 401, 403 and 503.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chassis::identity;
use oauth::{ErrorCode, ServiceName, Site, Sites};

use super::challenge::{Challenge, refuse};
use super::{error, extract};
use crate::app::AppState;
use crate::audit;
use crate::counted::Verified;
use crate::flow::verify::{self, VerifyError};

/// Traefik itself waits for half a minute; nobody should wait for two seconds.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Decides and renders.
pub(crate) async fn verify(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let (service, is_public) = {
        let rules = state.policy.rules();
        let service = service(&request, rules.sites());
        let is_public = service.as_ref().is_some_and(|it| rules.is_public(it));
        (service, is_public)
    };
    let Some(service) = service else {
        state.counted.verified(Verified::UnknownService);
        return error::json(
            ErrorCode::AccessDenied,
            "no service of this gateway has this address",
        );
    };
    // Before the token is looked at: with and without one, nobody is known to a public service.
    if is_public {
        state.counted.verified(Verified::Public);
        return HttpResponse::Ok().finish();
    }
    let token = match extract::bearer(&request) {
        Ok(Some(token)) => token,
        Ok(None) => {
            state.counted.verified(Verified::NoToken);
            return refuse(&state, &service, Challenge::NoToken);
        }
        Err(()) => {
            state.counted.verified(Verified::InvalidToken);
            return refuse(&state, &service, Challenge::InvalidToken);
        }
    };
    match tokio::time::timeout(DEADLINE, verify::verify(&state, token, &service)).await {
        Ok(Ok(decision)) => HttpResponse::Ok()
            .insert_header((identity::SUBJECT, decision.claims.sub.as_str()))
            .insert_header((identity::LOGIN, decision.claims.login.as_str()))
            .insert_header((identity::CLIENT, decision.claims.client_id.as_str()))
            .insert_header((identity::SCOPE, decision.scope.as_str()))
            .finish(),
        Ok(Err(VerifyError::InvalidToken)) => {
            denied(&request, &state, &service, token, Verified::InvalidToken);
            refuse(&state, &service, Challenge::InvalidToken)
        }
        Ok(Err(VerifyError::InsufficientScope)) => {
            denied(
                &request,
                &state,
                &service,
                token,
                Verified::InsufficientScope,
            );
            refuse(&state, &service, Challenge::InsufficientScope)
        }
        Ok(Err(VerifyError::Store(problem))) => {
            state.counted.verified(Verified::Unavailable);
            error::unavailable(&problem)
        }
        Ok(Err(VerifyError::Busy)) => {
            state.counted.verified(Verified::Busy);
            error::json(
                ErrorCode::TemporarilyUnavailable,
                "too many requests are being checked; try again",
            )
        }
        Err(_) => {
            state.counted.verified(Verified::Unavailable);
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
    outcome: Verified,
) {
    state.counted.verified(outcome);
    if state.limits.may_tell_denial(state.clock.now()) {
        tracing::info!(target: "audit", event = "verify_denied", reason = outcome.name(), service = %service, token = %audit::token(token),
            request_id = %chassis::telemetry::request_id(request), "a token was refused");
    }
}

/// The service of the address (`?resource=mcp-fetch`) and of the host; if both are there they must agree.
fn service(request: &HttpRequest, sites: &Sites) -> Option<ServiceName> {
    let mut named = url::form_urlencoded::parse(request.query_string().as_bytes())
        .filter(|(name, _)| name == "resource")
        .map(|(_, value)| value);
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return None;
    }
    let by_host = match extract::single_header(request, "x-forwarded-host").ok()? {
        None => None,
        Some(host) => match sites.site_of(host)? {
            Site::Service(name) => Some(name),
            Site::Auth => return None,
        },
    };
    let by_address = match &first {
        None => None,
        Some(name) => Some(sites.service(name)?),
    };
    match (by_address, by_host) {
        (Some(address), Some(host)) => (*address == host).then_some(host),
        (Some(address), None) => Some(address.clone()),
        (None, host) => host,
    }
}
