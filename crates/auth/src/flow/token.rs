//! `/token`: codes and refresh tokens become access tokens (OAuth 2.1 sections 4.1.3 and 4.3).

use oauth::claims::AccessClaims;
use oauth::client::{Client, PresentedCredentials};
use oauth::pkce::CodeVerifier;
use oauth::rules::TokenLifetimes;
use oauth::session::{self, Revocation, Session};
use oauth::token::{AuthorizationCode, RefreshToken};
use oauth::{ClientId, ErrorCode, ScopeSet, Timestamp, TokenId};
use serde::Serialize;
use store::{Event, Redemption, Refresh, StoreError};
use zeroize::Zeroizing;

use super::Refusal;
use super::admission::is_still_welcome;
use super::membership::{self, Standing};
use crate::app::AppState;
use crate::audit;

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
    access_token: String,
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

/// `grant_type=authorization_code`.
pub(crate) struct CodeGrant<'a> {
    pub(crate) code: &'a str,
    pub(crate) verifier: &'a str,
    pub(crate) redirect_uri: Option<&'a str>,
    pub(crate) resources: &'a [String],
}

/// Redeems a code. Wrong, spent, expired and foreign codes get the same answer.
pub(crate) async fn exchange_code(
    state: &AppState,
    client: &Client,
    grant: &CodeGrant<'_>,
) -> Result<TokenAnswer, Refusal> {
    let refused = || {
        Refusal::told(
            ErrorCode::InvalidGrant,
            "the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier",
        )
    };
    check_grant(client.metadata.may_use_codes(), "authorization_code")?;
    let code = AuthorizationCode::parse(grant.code).ok_or_else(refused)?;
    let verifier = CodeVerifier::parse(grant.verifier).ok_or_else(|| {
        Refusal::told(
            ErrorCode::InvalidRequest,
            "code_verifier must be 43 to 128 unreserved characters",
        )
    })?;
    let now = state.clock.now();
    let session = state
        .store
        .session(&code.session, now)
        .await?
        .filter(|session| is_since_registration(session, client))
        .ok_or_else(refused)?;
    // Only who holds the code may learn what it is for.
    if session.is_code_of(&code, &client.id) {
        check_resources(state, &session, grant.resources)?;
        if !is_welcome(state, &session, now).await? {
            end_session(state, &session, Revocation::PersonRefused, now).await?;
            tracing::warn!(target: "audit", event = "code_refused", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), token = %audit::token(grant.code),
                "a code is refused: this person may not come in any more");
            return Err(refused());
        }
    }
    let lifetimes = lifetimes(state, &session);
    let attempt = session::Redemption {
        code: &code,
        client_id: &client.id,
        redirect_uri: grant.redirect_uri,
        verifier: &verifier,
    };
    let redeemed = state
        .store
        .redeem_code(
            &attempt,
            lifetimes.session,
            lifetimes.access_token,
            now,
            state.entropy.as_ref(),
        )
        .await?;
    match redeemed {
        Redemption::Granted(session) => {
            let answer = answer(state, client, &session, None, now)?;
            tracing::info!(target: "audit", event = "token_issued", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), service = %session.service, token = %audit::token(&answer.access_token), "tokens issued");
            Ok(answer)
        }
        Redemption::Replayed(session) => {
            state
                .decisions
                .learn(Event::SessionChanged(session.id.to_string()));
            tracing::warn!(target: "audit", event = "code_reused", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), token = %audit::token(grant.code), "a code was presented again: its session is revoked");
            Err(refused())
        }
        Redemption::Refused | Redemption::Unknown => Err(refused()),
    }
}

/// `grant_type=refresh_token`.
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
