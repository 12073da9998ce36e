//! `/callback` and `/login`: from the identity provider's answer to a code for the client.

use std::time::Duration;

use oauth::ErrorCode;
use oauth::authorization::Authorization;
use oauth::authorize::{AuthorizeRequest, RedirectError};
use oauth::client::Client;
use oauth::client_metadata::ClientMetadata;
use oauth::identity::Identity;
use oauth::secret::{BrowserCookie, Plain};
use oauth::session::Session;
use store::StoreError;

use super::consent::{self, Question};
use super::remembered::{self, BrowserMemory};
use super::{admission, device};
use crate::app::AppState;
use crate::audit;
use crate::idp::oidc::Oidc;
use crate::idp::{Arrival, ProviderError, SignInState};

/// The browser that comes back.
pub(crate) struct Returning {
    pub(crate) state: SignInState,
    pub(crate) cookie: Plain<BrowserCookie>,
    /// Consent was remembered in it before.
    pub(crate) memory: Option<BrowserMemory>,
}

/// Where the browser goes with its code.
pub(crate) struct Granted {
    pub(crate) request: AuthorizeRequest,
    pub(crate) location: String,
    /// What it holds from now on, because consent was remembered in it.
    pub(crate) memory: Option<BrowserMemory>,
}

/// The identity provider is away. The sign-in stands, and the person may try again or go back to the client.
#[derive(Debug)]
pub(crate) struct Outage {
    /// The way to the provider, once more.
    pub(crate) again: String,
    /// What the client is told if the person goes back.
    pub(crate) back: RedirectError,
    /// How long the provider is left alone.
    pub(crate) wait: Duration,
}

impl Outage {
    pub(crate) fn of(state: &AppState, request: AuthorizeRequest, sign_in: &SignInState) -> Self {
        Self {
            again: state.provider.sign_in_url(
                sign_in,
                state.keys.derivation(),
                state.policy.rules().needs_memberships(),
            ),
            back: RedirectError {
                redirect_uri: request.redirect_uri,
                state: request.state,
                code: ErrorCode::TemporarilyUnavailable,
                description: "the identity provider does not answer; try again".to_owned(),
            },
            wait: state.provider.outage().unwrap_or_default(),
        }
    }
}

/// Why there is no code.
pub(crate) enum SignInError {
    /// Started in another browser, answered already, or too late: a page.
    WrongBrowser,
    /// The client is told.
    Redirect(Box<RedirectError>),
    /// The person was not asked, and should have been: the page with the question.
    Ask(Box<Question>),
    /// The identity provider does not answer: a page with a way to try again. The sign-in still stands.
    ProviderUnavailable(Box<Outage>),
    /// The store cannot be asked: a page.
    Store(StoreError),
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The sign-in to which the browser comes back, left in place: the person may try again.
pub(crate) async fn look(
    state: &AppState,
    returning: &Returning,
) -> Result<Authorization, SignInError> {
    state
        .store
        .sign_in(
            &returning.state.id,
            &returning.cookie,
            &returning.state.secret,
            state.clock.now(),
        )
        .await?
        .map_err(|_| SignInError::WrongBrowser)
}

/// The browser is on its way to a provider whose address has to be found out first.
pub(crate) async fn leave(
    state: &AppState,
    oidc: &Oidc,
    returning: &Returning,
) -> Result<String, SignInError> {
    let authorization = look(state, returning).await?;
    let is_silent = authorization.is_silent;
    match oidc
        .authorize_url(&returning.state, state.keys.derivation(), is_silent)
        .await
    {
        Ok(location) => Ok(location),
        // Whatever is wrong, the sign-in stands: nobody has been asked yet.
        Err(error) => Err(unavailable(state, returning, authorization, &error)),
    }
}

/// The identity provider sent the browser back.
pub(crate) async fn arrive(
    state: &AppState,
    returning: &Returning,
    arrival: &Arrival,
) -> Result<Granted, SignInError> {
    let authorization = look(state, returning).await?;
    match identify(state, returning, arrival).await {
        Ok(Some(identity)) => finish(state, returning, &identity).await,
        Ok(None) => Err(refused_by_provider(state, returning).await),
        Err(error @ ProviderError::Unavailable { .. }) => {
            Err(unavailable(state, returning, authorization, &error))
        }
        Err(error) => {
            state.counted.sign_in("refused");
            let provider = state.provider.kind();
            tracing::warn!(target: "audit", event = "login_refused", provider, %error, "sign-in at the identity provider failed");
            let request = take(state, returning).await?.request;
            let text = format!("{} refused the sign-in", state.provider.shown_name());
            Err(refused(state, request, &text).await)
        }
    }
}

/// Who came back; `None`: the person refused at the provider.
pub(crate) async fn identify(
    state: &AppState,
    returning: &Returning,
    arrival: &Arrival,
) -> Result<Option<Identity>, ProviderError> {
    state
        .provider
        .check_sender(arrival.issuer.as_deref())
        .await?;
    match &arrival.outcome {
        Ok(code) => {
            let (key, wants_memberships) = (
                state.keys.derivation(),
                state.policy.rules().needs_memberships(),
            );
            let identity = state
                .provider
                .identify(code, &returning.state, key, wants_memberships);
            identity.await.map(Some)
        }
        // RFC 6749 section 4.1.2.1.
        Err(Some(error)) if error == "temporarily_unavailable" || error == "server_error" => {
            Err(ProviderError::unavailable(format!("it said {error}")))
        }
        Err(_) => Ok(None),
    }
}

fn unavailable(
    state: &AppState,
    returning: &Returning,
    authorization: Authorization,
    error: &ProviderError,
) -> SignInError {
    state.counted.sign_in("provider_unavailable");
    tracing::warn!(provider = state.provider.kind(), %error, "nobody can sign in at the identity provider just now");
    let outage = Outage::of(state, authorization.request, &returning.state);
    SignInError::ProviderUnavailable(Box::new(outage))
}

/// The identity provider sent the browser back without a code: the person refused there.
async fn refused_by_provider(state: &AppState, returning: &Returning) -> SignInError {
    match take(state, returning).await {
        Ok(authorization) => {
            state.counted.sign_in("refused");
            tracing::info!(target: "audit", event = "login_refused", client = %audit::client(&authorization.request.client_id),
                service = %authorization.request.service, "the person refused at the identity provider");
            if authorization.is_silent {
                return SignInError::Redirect(Box::new(RedirectError {
                    redirect_uri: authorization.request.redirect_uri,
                    state: authorization.request.state,
                    code: ErrorCode::LoginRequired,
                    description: "the identity provider would have to ask the person".to_owned(),
                }));
            }
            let text = "the person refused at the identity provider";
            refused(state, authorization.request, text).await
        }
        Err(error) => error,
    }
}

/// Somebody is recognised: if they may come in, a code is issued.
pub(crate) async fn finish(
    state: &AppState,
    returning: &Returning,
    identity: &Identity,
) -> Result<Granted, SignInError> {
    let authorization = take(state, returning).await?;
    if let Some(recalled) = &authorization.recalled
        && !remembered::was_for(state, recalled, &identity.subject, &authorization).await?
    {
        return Err(ask_after_all(state, authorization).await);
    }
    let now = state.clock.now();
    let request = authorization.request.clone();
    let Some(person) = admission::admit(state, identity, &request.service, now).await? else {
        state.counted.sign_in("refused");
        tracing::warn!(target: "audit", event = "login_refused", subject = %identity.subject, login = %identity.login,
            client = %audit::client(&request.client_id), service = %request.service, "sign-in refused: not on the list");
        return Err(refused(state, request, "this person may not use this service").await);
    };
    let mut created_at = state.store.note_sign_in(&person, now).await?;
    let lifetime = state.tokens.client_lifetime;
    if let Some(metadata) = &authorization.document {
        let client = Client::of_document(request.client_id.clone(), metadata.clone(), now);
        state
            .store
            .note_document_client(client, lifetime, now)
            .await?;
    } else if let Some(client) = state.store.client(&request.client_id, now).await? {
        // Registered by an instance whose clock is ahead, perhaps.
        created_at = created_at.max(client.issued_at);
        state.store.note_client_use(&client, lifetime, now).await?;
    }
    state.counted.sign_in("granted");
    tracing::info!(target: "audit", event = "login_ok", subject = %person.subject, login = %person.login,
        client = %audit::client(&request.client_id), service = %request.service, "signed in");
    if let Some(user_code) = &request.device {
        if !device::approve(state, user_code, &person, created_at).await? {
            return Err(SignInError::WrongBrowser);
        }
        return Ok(Granted {
            location: request.redirect_uri.to_string(),
            request,
            memory: None,
        });
    }
    let memory = if authorization.remember {
        let memory = returning.memory.as_ref();
        remembered::remember(state, &person.subject, &authorization, memory).await
    } else {
        None
    };
    let entropy = state.entropy.as_ref();
    let (session, code) = Session::issue_code(&request, person, created_at, entropy);
    let code = code.expose();
    let (id, subject) = (session.id.clone(), session.person.subject.clone());
    state.store.issue_code(session, now).await?;
    tracing::info!(target: "audit", event = "code_issued", session = %id, %subject, client = %audit::client(&request.client_id),
        service = %request.service, token = %audit::token(code.as_str()), "code issued");
    let issuer = state.sites().issuer();
    let mut parameters = vec![("code", code.as_str())];
    if let Some(state) = &request.state {
        parameters.push(("state", state));
    }
    parameters.push(("iss", &issuer));
    Ok(Granted {
        location: request.redirect_uri.with_query(&parameters),
        request,
        memory,
    })
}

/// Consent was remembered for somebody else, or does not count any more: the person is asked, unless nobody may be.
async fn ask_after_all(state: &AppState, authorization: Authorization) -> SignInError {
    let Authorization {
        request, document, ..
    } = authorization;
    if authorization.is_silent {
        state.counted.sign_in("refused");
        return SignInError::Redirect(Box::new(RedirectError {
            redirect_uri: request.redirect_uri,
            state: request.state,
            code: ErrorCode::ConsentRequired,
            description: "the person would have to be asked".to_owned(),
        }));
    }
    state.counted.sign_in("asked_after_all");
    tracing::info!(target: "audit", event = "consent_not_recalled", client = %audit::client(&request.client_id),
        service = %request.service, "remembered consent was not this person's, or has ended: they are asked");
    match question(state, request, document).await {
        Ok(Some(question)) => SignInError::Ask(Box::new(question)),
        Ok(None) => SignInError::WrongBrowser,
        Err(error) => error.into(),
    }
}

/// `None`: the client is gone.
async fn question(
    state: &AppState,
    request: AuthorizeRequest,
    document: Option<ClientMetadata>,
) -> Result<Option<Question>, StoreError> {
    let now = state.clock.now();
    let metadata = match &document {
        Some(document) => document.clone(),
        None => match state.store.client(&request.client_id, now).await? {
            Some(client) => client.metadata,
            None => return Ok(None),
        },
    };
    // What the client registered may have changed since.
    if !metadata.admits_redirect(request.redirect_uri.as_str()) {
        return Ok(None);
    }
    consent::put(state, request, &metadata, document)
        .await
        .map(Some)
}

/// Ends the sign-in, once.
async fn take(state: &AppState, returning: &Returning) -> Result<Authorization, SignInError> {
    state
        .store
        .finish_sign_in(
            &returning.state.id,
            &returning.cookie,
            &returning.state.secret,
            state.clock.now(),
        )
        .await?
        .map_err(|_| SignInError::WrongBrowser)
}

/// The client is told, at its address or when its device asks.
async fn refused(state: &AppState, request: AuthorizeRequest, description: &str) -> SignInError {
    if let Err(error) = device::deny(state, &request).await {
        return error.into();
    }
    SignInError::Redirect(Box::new(RedirectError {
        redirect_uri: request.redirect_uri,
        state: request.state,
        code: ErrorCode::AccessDenied,
        description: description.to_owned(),
    }))
}
