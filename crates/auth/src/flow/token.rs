//! `/token`: who asks, what every grant looks at, and the answer. Each grant of a person has a file of its own.

mod code;
mod refresh;

use oauth::claims::AccessClaims;
use oauth::client::{Client, PresentedCredentials};
use oauth::rules::TokenLifetimes;
use oauth::session::{Revocation, Session};
use oauth::{ClientId, ErrorCode, ScopeSet, Timestamp, TokenId};
use serde::Serialize;
use store::{Event, StoreError};
use zeroize::Zeroizing;

pub(crate) use self::code::{CodeGrant, exchange_code};
pub(crate) use self::refresh::{RefreshGrant, client_of_refresh_token, refresh};
use super::admission::is_still_welcome;
use super::{Refusal, membership};
use crate::app::AppState;

/// What a client presented to prove who it is.
#[derive(Debug, Default)]
pub(crate) struct ClientCredentials {
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<Zeroizing<String>>,
    /// By `Authorization: Basic`.
    pub(crate) by_header: bool,
}

/// The answer (RFC 6749 section 5.1).
#[derive(Serialize)]
pub(crate) struct TokenAnswer {
    pub(super) access_token: String,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
}

/// The client behind the credentials. An unknown client and a wrong secret get the same answer: 401 `invalid_client`, on
/// which clients register anew.
pub(crate) async fn authenticate(
    state: &AppState,
    credentials: &ClientCredentials,
) -> Result<Client, Refusal> {
    let refuse = |description| Refusal::Client {
        description,
        by_header: credentials.by_header,
    };
    let id = credentials
        .client_id
        .as_deref()
        .ok_or_else(|| refuse("client_id is missing"))?;
    let unknown = "the client is not registered here, or its secret is wrong";
    let id = ClientId::parse(id).map_err(|_| refuse(unknown))?;
    let client = state
        .policy
        .client(&state.store, &id, state.clock.now())
        .await?;
    let presented = match &credentials.client_secret {
        Some(secret) => PresentedCredentials::Secret(secret),
        None => PresentedCredentials::None,
    };
    client
        .filter(|client| client.is_proved_by(&presented))
        .ok_or_else(|| refuse(unknown))
}

/// A client uses the grants that it registered and no others (RFC 6749 section 5.2).
fn check_grant(is_registered: bool, name: &str) -> Result<(), Refusal> {
    if is_registered {
        return Ok(());
    }
    let text = format!("the client did not register the grant {name}");
    Err(Refusal::told(ErrorCode::UnauthorizedClient, text))
}

/// Ids of documents and of operators' clients come back after such a client was removed; what it had been given before does
/// not (RFC 7592 section 2.3). `/verify` looks at the same.
fn is_since_registration(session: &Session, client: &Client) -> bool {
    session.created_at >= client.issued_at
}

fn lifetimes(state: &AppState, session: &Session) -> TokenLifetimes {
    state
        .policy
        .rules()
        .lifetimes(&session.service, &session.client_id)
}

/// Whether the person behind a session still may use its service.
async fn is_welcome(
    state: &AppState,
    session: &Session,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (person, service) = (&session.person, &session.service);
    is_still_welcome(state, person, service, session.created_at, now).await
}

/// Ends the session of somebody who may not come in any more.
async fn end_session(
    state: &AppState,
    session: &Session,
    why: Revocation,
    now: Timestamp,
) -> Result<(), Refusal> {
    state
        .store
        .revoke_session(
            &session.id,
            why,
            lifetimes(state, session).access_token,
            now,
        )
        .await?;
    state
        .decisions
        .learn(Event::SessionChanged(session.id.to_string()));
    Ok(())
}

/// Every resource that is named must be the session's (RFC 8707 section 2.2).
fn check_resources(
    state: &AppState,
    session: &Session,
    resources: &[String],
) -> Result<(), Refusal> {
    let is_theirs =
        |resource: &String| state.sites().service_of_resource(resource) == Some(&session.service);
    if resources.iter().all(is_theirs) {
        Ok(())
    } else {
        Err(Refusal::told(
            ErrorCode::InvalidTarget,
            "resource is not the one that was granted",
        ))
    }
}

/// The answer with the tokens of a session; a machine's session has no refresh token.
pub(crate) fn answer(
    state: &AppState,
    client: &Client,
    session: &Session,
    scope: Option<ScopeSet>,
    now: Timestamp,
) -> Result<TokenAnswer, Refusal> {
    let scope = scope.unwrap_or_else(|| session.scope.clone());
    let lifetime_end = oauth::after(now, lifetimes(state, session).access_token);
    let end = [session.ends_at(), membership::ends_at(state, session)]
        .into_iter()
        .flatten()
        .fold(lifetime_end, Timestamp::min);
    let claims = AccessClaims {
        iss: state.sites().issuer(),
        sub: session.person.subject.clone(),
        aud: state.sites().resource(&session.service),
        client_id: session.client_id.clone(),
        scope: scope.clone(),
        jti: TokenId::generate(state.entropy.as_ref()),
        iat: now.as_second(),
        exp: end.as_second(),
        login: session.person.login.clone(),
        sid: session.id.clone(),
    };
    let access_token = state.keys.sign(&claims).map_err(|error| {
        Refusal::Internal(format!("an access token could not be signed: {error}"))
    })?;
    let refresh_token = client
        .metadata
        .may_refresh()
        .then(|| session.refresh_token(state.keys.derivation()))
        .flatten()
        .map(|token| token.expose().to_string());
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: claims.exp - claims.iat,
        refresh_token,
        scope: scope.to_string(),
    })
}
