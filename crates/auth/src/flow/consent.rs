//! `/authorize` and `/consent`: from a client's request to the person's yes or no.

use oauth::authorization::{Authorization, ConsentSecrets, IdentitySecrets};
use oauth::authorize::{AuthorizeParams, PageError, RedirectError};
use oauth::client::Client;
use oauth::secret::{BrowserCookie, FormToken, Plain};
use oauth::{AuthorizationId, ErrorCode};
use store::StoreError;

use crate::app::AppState;
use crate::idp::SignInState;

/// The question to put to the person.
pub(crate) struct Question {
    pub(crate) authorization: Authorization,
    pub(crate) secrets: ConsentSecrets,
    pub(crate) client: Client,
}

/// Why no question is put.
#[derive(Debug)]
pub(crate) enum AuthorizeError {
    /// Told to the person.
    Page(PageError),
    /// Told to the client.
    Redirect(Box<RedirectError>),
    /// Told to the person: try again.
    Store(StoreError),
}

impl From<PageError> for AuthorizeError {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl From<StoreError> for AuthorizeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A client asks.
pub(crate) async fn ask(
    state: &AppState,
    params: AuthorizeParams,
) -> Result<Question, AuthorizeError> {
    let now = state.clock.now();
    let id = params.client_id()?;
    let client = state
        .store
        .client(&id, now)
        .await?
        .ok_or_else(|| PageError::UnknownClient(id.to_string()))?;
    let redirect_uri = params.redirect_uri(&client.metadata)?;
    let request = params
        .check(id, &redirect_uri, &client.metadata, &state.sites)
        .map_err(|error| AuthorizeError::Redirect(Box::new(error)))?;
    let (authorization, secrets) = Authorization::start(request, now, state.entropy.as_ref());
    state
        .store
        .begin_sign_in(authorization.clone(), now)
        .await?;
    Ok(Question {
        authorization,
        secrets,
        client,
    })
}

/// The person's answer, as the form carries it.
pub(crate) struct Answer {
    pub(crate) id: AuthorizationId,
    pub(crate) cookie: Plain<BrowserCookie>,
    pub(crate) form: Plain<FormToken>,
}

/// Where the browser goes after an approval, and what it holds from then on.
pub(crate) struct Approved {
    pub(crate) id: AuthorizationId,
    pub(crate) cookie: Plain<BrowserCookie>,
    pub(crate) location: String,
}

/// Why an answer does not count.
#[derive(Debug)]
pub(crate) enum AnswerError {
    /// Another browser, another form, or too late.
    WrongBrowser,
    Store(StoreError),
}

impl From<StoreError> for AnswerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The person agreed. Only now a `state` for the identity provider comes into being.
pub(crate) async fn approve(state: &AppState, answer: &Answer) -> Result<Approved, AnswerError> {
    let secrets = IdentitySecrets::generate(state.entropy.as_ref());
    let now = state.clock.now();
    let approved = state
        .store
        .approve_sign_in(&answer.id, &answer.cookie, &answer.form, &secrets, now)
        .await?
        .map_err(|_| AnswerError::WrongBrowser)?;
    tracing::info!(target: "audit", event = "consent_given", client = %approved.request.client_id,
        service = %approved.request.service, "consent given");
    let sign_in = SignInState {
        id: approved.id.clone(),
        secret: secrets.state,
    };
    Ok(Approved {
        id: approved.id,
        cookie: secrets.cookie,
        location: state
            .provider
            .sign_in_url(&sign_in, state.keys.derivation()),
    })
}

/// The person refused: the client is told.
pub(crate) async fn deny(state: &AppState, answer: &Answer) -> Result<RedirectError, AnswerError> {
    let denied = state
        .store
        .deny_sign_in(&answer.id, &answer.cookie, &answer.form, state.clock.now())
        .await?
        .map_err(|_| AnswerError::WrongBrowser)?;
    tracing::info!(target: "audit", event = "consent_denied", client = %denied.request.client_id,
        service = %denied.request.service, "consent denied");
    Ok(RedirectError {
        redirect_uri: denied.request.redirect_uri,
        state: denied.request.state,
        code: ErrorCode::AccessDenied,
        description: "the person refused".to_owned(),
    })
}
