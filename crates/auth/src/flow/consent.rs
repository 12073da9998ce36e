//! `/authorize` and `/consent`: from a client's request to the person's yes or no.

use std::sync::Arc;

use oauth::authorization::{Authorization, ConsentSecrets, IdentitySecrets};
use oauth::authorize::{AuthorizeParams, AuthorizeRequest, PageError, Prompt, RedirectError};
use oauth::client_document::DocumentUrl;
use oauth::client_metadata::ClientMetadata;
use oauth::secret::{BrowserCookie, FormToken, Plain};
use oauth::{AuthorizationId, ClientId, ErrorCode, Timestamp};
use store::StoreError;

use super::device;
use super::remembered::{self, BrowserMemory};
use super::sign_in::Outage;
use crate::app::AppState;
use crate::audit;
use crate::client_document::DocumentError;
use crate::idp::{IdentityProvider, SignInState};

/// The question to put to the person.
pub(crate) struct Question {
    pub(crate) authorization: Authorization,
    pub(crate) secrets: ConsentSecrets,
    pub(crate) client_name: String,
    /// For how many seconds the answer could be remembered.
    pub(crate) may_be_remembered_for: Option<u64>,
}

/// What comes of a client's request.
pub(crate) enum Asked {
    /// The person is asked.
    Question(Box<Question>),
    /// They agreed to the same before, in this browser: on to the identity provider.
    Recalled(Box<Approved>),
}

/// Why no question is put.
#[derive(Debug)]
pub(crate) enum AuthorizeError {
    /// Told to the person.
    Page(PageError),
    /// Told to the person: the client's metadata document cannot be had, or is wrong.
    Document(ClientId, DocumentError),
    /// Told to the client, where somebody has approved it before or it is on the person's own computer.
    Redirect(Box<RedirectError>),
    /// Told to the client if the person wants to go there. Anybody may register any address, and this server must not send
    /// browsers to all of them (RFC 9700 section 4.11.2).
    Offer(Box<RedirectError>),
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

/// A client asks, in a browser in which consent may have been remembered.
pub(crate) async fn ask(
    state: &AppState,
    params: AuthorizeParams,
    memory: Option<BrowserMemory>,
) -> Result<Asked, AuthorizeError> {
    let now = state.clock.now();
    let id = params.client_id()?;
    let prompt = params.prompt();
    let is_document = DocumentUrl::is_meant_by(&id);
    let metadata = metadata(state, &id, is_document, now).await?;
    let redirect_uri = params.redirect_uri(&metadata)?;
    let checked = params.check(id.clone(), &redirect_uri, &metadata, &state.policy.rules());
    let request = match checked {
        Ok(request) => request,
        Err(error) => return Err(told(state, error, &id, now).await?),
    };
    let recalled = match memory.filter(|_| prompt != Prompt::Always) {
        Some(memory) => remembered::recall(state, &memory, &request, &metadata).await?,
        None => None,
    };
    if let Some(code) = silence(state, prompt, recalled.is_some()) {
        let error = RedirectError {
            redirect_uri,
            state: request.state,
            code,
            description: "the person would have to be asked".to_owned(),
        };
        return Err(told(state, error, &id, now).await?);
    }
    let document = is_document.then(|| metadata.clone());
    let Some(recalled) = recalled else {
        let question = put(state, request, &metadata, document).await?;
        return Ok(Asked::Question(Box::new(question)));
    };
    tracing::info!(target: "audit", event = "consent_recalled", subject = %recalled.subject, client = %audit::client(&id),
        service = %request.service, "consent remembered from before");
    let (mut authorization, secrets) =
        Authorization::recall(request, recalled, now, state.entropy.as_ref());
    authorization.document = document;
    authorization.is_silent = prompt == Prompt::Never;
    state
        .store
        .begin_sign_in(authorization.clone(), now)
        .await?;
    let leaving = leave(state, authorization, secrets);
    Ok(Asked::Recalled(Box::new(leaving)))
}

/// Why somebody who must not be asked (`prompt=none`) would have to be.
fn silence(state: &AppState, prompt: Prompt, is_recalled: bool) -> Option<ErrorCode> {
    if prompt != Prompt::Never {
        None
    } else if !is_recalled {
        Some(ErrorCode::ConsentRequired)
    } else {
        // Its page is ours, and has a form.
        let asks = matches!(state.provider, IdentityProvider::Local(_));
        asks.then_some(ErrorCode::LoginRequired)
    }
}

/// Puts a question: a sign-in begins.
pub(crate) async fn put(
    state: &AppState,
    request: AuthorizeRequest,
    metadata: &ClientMetadata,
    document: Option<ClientMetadata>,
) -> Result<Question, StoreError> {
    let now = state.clock.now();
    let may_be_remembered = remembered::terms(state, &request, metadata).is_some();
    let (mut authorization, secrets) = Authorization::start(request, now, state.entropy.as_ref());
    authorization.document = document;
    state
        .store
        .begin_sign_in(authorization.clone(), now)
        .await?;
    Ok(Question {
        authorization,
        secrets,
        client_name: metadata.client_name.clone(),
        may_be_remembered_for: may_be_remembered.then_some(state.people.consent_lifetime),
    })
}

/// How the client is told.
async fn told(
    state: &AppState,
    error: RedirectError,
    id: &ClientId,
    now: Timestamp,
) -> Result<AuthorizeError, StoreError> {
    let is_known = error.redirect_uri.is_loopback() || is_approved(state, id, now).await?;
    let error = Box::new(error);
    Ok(if is_known {
        AuthorizeError::Redirect(error)
    } else {
        AuthorizeError::Offer(error)
    })
}

/// Whether anybody has ever signed in with this client.
async fn is_approved(state: &AppState, id: &ClientId, now: Timestamp) -> Result<bool, StoreError> {
    let client = state.store.client(id, now).await?;
    Ok(client.is_some_and(|client| client.last_used_at.is_some()))
}

/// What the client says about itself: as it registered, or in its document. A client that is known by a document is always
/// asked there, so that a change of the document counts.
async fn metadata(
    state: &AppState,
    id: &ClientId,
    is_document: bool,
    now: Timestamp,
) -> Result<ClientMetadata, AuthorizeError> {
    if is_document {
        let is_known = !state.documents.must_fetch(id);
        let rules = Arc::clone(&state.policy.rules());
        let outcome = state.documents.look_up(id, &rules).await;
        state.counted.document(match (&outcome, is_known) {
            (_, true) => "remembered",
            (Ok(_), false) => "fetched",
            (Err(_), false) => "failed",
        });
        return match outcome {
            Ok(metadata) => Ok(metadata.as_ref().clone()),
            Err(error) => Err(AuthorizeError::Document(id.clone(), error)),
        };
    }
    let client = state.store.client(id, now).await?;
    let client = client.ok_or_else(|| PageError::UnknownClient(id.to_string()))?;
    Ok(client.metadata)
}

/// The person's answer, as the form carries it.
pub(crate) struct Answer {
    pub(crate) id: AuthorizationId,
    pub(crate) cookie: Plain<BrowserCookie>,
    pub(crate) form: Plain<FormToken>,
    /// An approval is to be remembered, if that can be.
    pub(crate) remember: bool,
}

/// Where the browser goes after an approval, and what it holds from then on.
pub(crate) struct Approved {
    pub(crate) id: AuthorizationId,
    pub(crate) cookie: Plain<BrowserCookie>,
    pub(crate) location: String,
    /// The provider is known to be away: the person is told before leaving.
    pub(crate) outage: Option<Outage>,
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
        .approve_sign_in(
            &answer.id,
            &answer.cookie,
            &answer.form,
            answer.remember,
            &secrets,
            now,
        )
        .await?
        .map_err(|_| AnswerError::WrongBrowser)?;
    tracing::info!(target: "audit", event = "consent_given", client = %audit::client(&approved.request.client_id),
        service = %approved.request.service, "consent given");
    Ok(leave(state, approved, secrets))
}

/// On to the identity provider.
fn leave(state: &AppState, authorization: Authorization, secrets: IdentitySecrets) -> Approved {
    let sign_in = SignInState {
        id: authorization.id.clone(),
        secret: secrets.state,
    };
    let is_away = state.provider.outage().is_some();
    Approved {
        id: authorization.id,
        cookie: secrets.cookie,
        location: state.provider.sign_in_url(
            &sign_in,
            state.keys.derivation(),
            state.policy.rules().needs_memberships(),
        ),
        outage: is_away.then(|| Outage::of(state, authorization.request, &sign_in)),
    }
}

/// The person refused: the client is told.
pub(crate) async fn deny(state: &AppState, answer: &Answer) -> Result<RedirectError, AnswerError> {
    let denied = state
        .store
        .deny_sign_in(&answer.id, &answer.cookie, &answer.form, state.clock.now())
        .await?
        .map_err(|_| AnswerError::WrongBrowser)?;
    device::deny(state, &denied.request).await?;
    tracing::info!(target: "audit", event = "consent_denied", client = %audit::client(&denied.request.client_id),
        service = %denied.request.service, "consent denied");
    Ok(RedirectError {
        redirect_uri: denied.request.redirect_uri,
        state: denied.request.state,
        code: ErrorCode::AccessDenied,
        description: "the person refused".to_owned(),
    })
}
