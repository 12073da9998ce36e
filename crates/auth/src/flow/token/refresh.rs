//! `grant_type=refresh_token` (OAuth 2.1 section 4.3).

use oauth::client::Client;
use oauth::session::{Revocation, Session};
use oauth::token::RefreshToken;
use oauth::{ErrorCode, ScopeSet, Timestamp};
use store::{Event, Refresh};

use super::{
    ClientCredentials, TokenAnswer, answer, check_grant, check_resources, end_session,
    is_since_registration, is_welcome, lifetimes,
};
use crate::app::AppState;
use crate::audit;
use crate::flow::Refusal;
use crate::flow::membership::{self, Standing};

/// What a client sends with a refresh token.
pub(crate) struct RefreshGrant<'a> {
    pub(crate) refresh_token: &'a str,
    pub(crate) scope: Option<&'a str>,
    pub(crate) resources: &'a [String],
}

/// Some clients leave out `client_id` when they refresh; a public client is then known by the token itself.
pub(crate) async fn client_of_refresh_token(
    state: &AppState,
    refresh_token: &str,
    credentials: ClientCredentials,
) -> Result<ClientCredentials, Refusal> {
    if credentials.client_id.is_some() {
        return Ok(credentials);
    }
    let Some(token) = RefreshToken::parse(refresh_token) else {
        return Ok(credentials);
    };
    // A session that is gone says nothing against the client: it signs in again and keeps its registration.
    let session = state
        .store
        .session(&token.session, state.clock.now())
        .await?
        .ok_or_else(refresh_refused)?;
    Ok(ClientCredentials {
        client_id: Some(session.client_id.to_string()),
        ..credentials
    })
}

fn refresh_refused() -> Refusal {
    Refusal::told(
        ErrorCode::InvalidGrant,
        "the refresh token is wrong, spent or expired, or belongs to another client; sign in again",
    )
}

/// Rotates a refresh token.
pub(crate) async fn refresh(
    state: &AppState,
    client: &Client,
    grant: &RefreshGrant<'_>,
) -> Result<TokenAnswer, Refusal> {
    let refused = refresh_refused;
    check_grant(client.metadata.may_refresh(), "refresh_token")?;
    let token = RefreshToken::parse(grant.refresh_token).ok_or_else(refused)?;
    let now = state.clock.now();
    let session = state
        .store
        .session(&token.session, now)
        .await?
        .filter(|session| is_since_registration(session, client))
        .ok_or_else(refused)?;
    // Only who holds the token may learn what it is for, or end what it belongs to.
    let is_theirs = session.client_id == client.id;
    if !is_theirs || !session.is_genuine(&token, state.keys.derivation()) {
        return Err(refused());
    }
    check_resources(state, &session, grant.resources)?;
    let scope = narrowed_scope(&session, grant.scope)?;
    let lifetimes = lifetimes(state, &session);
    if !is_welcome(state, &session, now).await? {
        refuse_refresh(state, &session, Revocation::PersonRefused, now).await?;
        return Err(refused());
    }
    let why = match membership::standing(state, &session, now).await? {
        Standing::Confirmed => None,
        Standing::Unconfirmed => Some(Revocation::MembershipUnconfirmed),
        Standing::Left => Some(Revocation::PersonRefused),
        Standing::Unknown => {
            let text = "GitHub does not say whether this person still is a member; try again later";
            return Err(Refusal::told(ErrorCode::TemporarilyUnavailable, text));
        }
    };
    if let Some(why) = why {
        refuse_refresh(state, &session, why, now).await?;
        return Err(refused());
    }
    let rotated = state
        .store
        .rotate_refresh(
            &token,
            &client.id,
            state.keys.derivation(),
            lifetimes.session,
            lifetimes.access_token,
            now,
        )
        .await?;
    match rotated {
        Refresh::Granted(session) => {
            state
                .store
                .note_client_use(client, state.tokens.client_lifetime, now)
                .await?;
            let answer = answer(state, client, &session, scope, now)?;
            tracing::info!(target: "audit", event = "token_refreshed", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), token = %audit::token(&answer.access_token), "tokens refreshed");
            Ok(answer)
        }
        Refresh::Replayed(session) => {
            state
                .decisions
                .learn(Event::SessionChanged(session.id.to_string()));
            tracing::warn!(target: "audit", event = "token_replayed", session = %session.id,
                subject = %session.person.subject, client = %audit::client(&client.id), token = %audit::token(grant.refresh_token),
                "a spent refresh token was presented again: its session is revoked");
            Err(refused())
        }
        Refresh::Unknown => Err(refused()),
    }
}

async fn refuse_refresh(
    state: &AppState,
    session: &Session,
    why: Revocation,
    now: Timestamp,
) -> Result<(), Refusal> {
    end_session(state, session, why, now).await?;
    tracing::warn!(target: "audit", event = "refresh_refused", session = %session.id, subject = %session.person.subject,
        client = %audit::client(&session.client_id), ?why,
        "refresh refused: this person may not come in any more");
    Ok(())
}

/// Scopes may shrink for one access token, never grow (RFC 6749 section 6).
fn narrowed_scope(session: &Session, asked: Option<&str>) -> Result<Option<ScopeSet>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let asked = ScopeSet::parse(asked)
        .map_err(|error| Refusal::told(ErrorCode::InvalidScope, error.to_string()))?;
    if asked.is_empty() {
        return Ok(None);
    }
    let narrowed = asked.intersection(&session.scope);
    if narrowed.is_empty() {
        return Err(Refusal::told(
            ErrorCode::InvalidScope,
            "none of these scopes was granted",
        ));
    }
    Ok(Some(narrowed))
}
