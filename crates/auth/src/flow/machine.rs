//! `grant_type=client_credentials` (RFC 6749 section 4.4): clients of the operator get access tokens of their own.

use oauth::authorize::protected_service;
use oauth::client::Client;
use oauth::session::Session;
use oauth::{ErrorCode, ServiceName};

use super::Refusal;
use super::token::{self, TokenAnswer};
use crate::app::AppState;
use crate::audit;

/// Issues an access token for one of the client's services. There is no refresh token (RFC 6749 section 4.4.3) and no person:
/// `sub` names the client. Its scopes are those that the service needs.
pub(crate) async fn issue(
    state: &AppState,
    client: &Client,
    resources: &[String],
) -> Result<TokenAnswer, Refusal> {
    let Some(rights) = &client.operator else {
        return Err(Refusal::told(
            ErrorCode::UnauthorizedClient,
            "client_credentials is for clients that the operator of this gateway created",
        ));
    };
    let now = state.clock.now();
    let session = {
        let rules = state.policy.rules();
        let service = service(state, resources)?;
        if !rights.services.contains(&service) {
            return Err(target(format!("this client may not use {service}")));
        }
        let lifetime = rules.lifetimes(&service, &client.id).access_token;
        let scope = rules.needed_scopes(&service).clone();
        let entropy = state.entropy.as_ref();
        Session::for_machine(&client.id, service, scope, lifetime, now, entropy)
            .map_err(|error| Refusal::Internal(format!("no subject for a client: {error}")))?
    };
    let answer = token::answer(state, client, &session, None, now)?;
    let lifetime = state.policy.rules().longest_access_token();
    state
        .store
        .open_session(session.clone(), lifetime, now)
        .await?;
    // Not before it is stored: without its session a token is none.
    tracing::info!(target: "audit", event = "token_issued", session = %session.id, subject = %session.person.subject,
        client = %client.id, service = %session.service, token = %audit::token(&answer.access_token), "token issued to an operator's client");
    Ok(answer)
}

/// The one service that is asked for; it must be said which (RFC 8707 section 2.2).
fn service(state: &AppState, resources: &[String]) -> Result<ServiceName, Refusal> {
    let rules = state.policy.rules();
    let mut named = resources
        .iter()
        .map(|resource| protected_service(resource, &rules).map_err(target));
    let Some(first) = named.next().transpose()? else {
        return Err(target(
            "resource is missing; name the URL of the MCP server".to_owned(),
        ));
    };
    for other in named {
        if other? != first {
            return Err(target(
                "a token is for one resource; ask for one at a time".to_owned(),
            ));
        }
    }
    Ok(first.clone())
}

fn target(description: String) -> Refusal {
    Refusal::told(ErrorCode::InvalidTarget, description)
}
