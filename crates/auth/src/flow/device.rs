//! The device grant (RFC 8628): from a device's request to its tokens. The person's part goes through the same consent and the
//! same identity provider as every sign-in.

use oauth::authorization::{Authorization, ConsentSecrets};
use oauth::authorize::{AuthorizeRequest, protected_service};
use oauth::client::Client;
use oauth::device::{DeviceAuthorization, DeviceCode, INTERVAL, LIFETIME, Polled, UserCode};
use oauth::session::{Person, Session};
use oauth::{ErrorCode, ScopeSet, Timestamp};
use serde::Serialize;
use store::StoreError;

use super::Refusal;
use super::admission::is_still_welcome;
use super::token::{self, TokenAnswer};
use crate::app::AppState;
use crate::audit;

/// How many user codes are tried; that even one is taken is rare.
const TRIES: u8 = 5;

/// The answer to a device (RFC 8628 section 3.2).
#[derive(Serialize)]
pub(crate) struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u64,
    interval: u64,
}

/// A device asks for a service.
pub(crate) async fn ask(
    state: &AppState,
    client: &Client,
    scope: Option<&str>,
    resources: &[String],
) -> Result<DeviceAnswer, Refusal> {
    check_grant(client)?;
    let asked = ScopeSet::parse(scope.unwrap_or_default())
        .map_err(|error| Refusal::told(ErrorCode::InvalidScope, error.to_string()))?;
    let now = state.clock.now();
    let (service, scope) = {
        let rules = state.policy.rules();
        let [resource] = resources else {
            return Err(Refusal::told(
                ErrorCode::InvalidTarget,
                "resource must be there once; name the URL of the MCP server",
            ));
        };
        let service = protected_service(resource, &rules)
            .map_err(|text| Refusal::told(ErrorCode::InvalidTarget, text))?;
        let scope = rules.granted_scopes(service, &asked, &client.metadata.scope);
        (service.clone(), scope)
    };
    for _ in 0..TRIES {
        let code = DeviceCode::generate(state.entropy.as_ref());
        let (id, service, scope) = (client.id.clone(), service.clone(), scope.clone());
        let device = DeviceAuthorization::start(&code, id, service, scope, now);
        if state
            .store
            .begin_device(&code.user_code, device, now)
            .await?
        {
            let page = format!("{}/device", state.issuer);
            let user_code = code.user_code.to_string();
            return Ok(DeviceAnswer {
                device_code: code.expose().to_string(),
                verification_uri_complete: format!("{page}?user_code={user_code}"),
                verification_uri: page,
                user_code,
                expires_in: LIFETIME,
                interval: INTERVAL,
            });
        }
    }
    Err(Refusal::Internal("no user code is free".to_owned()))
}

/// The grant must be among those that the client registered (RFC 8628 section 5.6).
fn check_grant(client: &Client) -> Result<(), Refusal> {
    if client.metadata.may_ask_for_a_device() {
        Ok(())
    } else {
        Err(Refusal::told(
            ErrorCode::UnauthorizedClient,
            "the client did not register the device grant of RFC 8628",
        ))
    }
}

/// The question to put to the person who typed a code.
pub(crate) struct Question {
    pub(crate) authorization: Authorization,
    pub(crate) secrets: ConsentSecrets,
    pub(crate) client: Client,
}

/// Somebody typed a code. `None` when no device waits with it.
pub(crate) async fn find(
    state: &AppState,
    code: &UserCode,
) -> Result<Option<Question>, StoreError> {
    let now = state.clock.now();
    let Some(device) = state.store.waiting_device(code, now).await? else {
        return Ok(None);
    };
    let Some(client) = state.store.client(&device.client_id, now).await? else {
        return Ok(None);
    };
    let request = AuthorizeRequest::of_device(code.clone(), &device, state.entropy.as_ref());
    let (authorization, secrets) = Authorization::start(request, now, state.entropy.as_ref());
    state
        .store
        .begin_sign_in(authorization.clone(), now)
        .await?;
    Ok(Some(Question {
        authorization,
        secrets,
        client,
    }))
}

/// The person refused, or may not: the device is told when it asks next.
pub(crate) async fn deny(state: &AppState, request: &AuthorizeRequest) -> Result<(), StoreError> {
    if let Some(code) = &request.device {
        state
            .store
            .answer_device(code, None, state.clock.now())
            .await?;
    }
    Ok(())
}

/// The person agreed and was recognised. `false` when the device waits no more.
pub(crate) async fn approve(
    state: &AppState,
    code: &UserCode,
    person: &Person,
    now: Timestamp,
) -> Result<bool, StoreError> {
    state.store.answer_device(code, Some(person), now).await
}

/// What a device that asks for its tokens is told.
#[derive(Debug)]
pub(crate) enum DeviceRefusal {
    /// 400 with a code of RFC 8628 section 3.5.
    Told(ErrorCode, &'static str),
    /// As at every grant.
    Other(Refusal),
}

impl<E: Into<Refusal>> From<E> for DeviceRefusal {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// `grant_type=urn:ietf:params:oauth:grant-type:device_code`.
pub(crate) async fn exchange(
    state: &AppState,
    client: &Client,
    code: &str,
) -> Result<TokenAnswer, DeviceRefusal> {
    check_grant(client)?;
    let unknown = || {
        let text = "the device code is wrong, was used before, or belongs to another client";
        DeviceRefusal::Told(ErrorCode::InvalidGrant, text)
    };
    let told = |code, text| Err(DeviceRefusal::Told(code, text));
    let code = DeviceCode::parse(code).ok_or_else(unknown)?;
    let now = state.clock.now();
    match state.store.poll_device(&code, &client.id, now).await? {
        Polled::Pending(_) => told(
            ErrorCode::AuthorizationPending,
            "nobody has answered yet; ask again",
        ),
        Polled::SlowDown(_) => told(
            ErrorCode::SlowDown,
            "wait five seconds longer between two questions",
        ),
        Polled::Denied => told(ErrorCode::AccessDenied, "access was not given"),
        Polled::Expired => told(
            ErrorCode::ExpiredToken,
            "nobody answered in time; start anew",
        ),
        Polled::Unknown => Err(unknown()),
        Polled::Granted(device, person, granted_at) => {
            let request =
                AuthorizeRequest::of_device(code.user_code, &device, state.entropy.as_ref());
            // What the person could do when they agreed may have changed since.
            let service = &device.service;
            if !is_still_welcome(state, &person, service, granted_at, now).await? {
                return told(ErrorCode::AccessDenied, "access was not given");
            }
            Ok(open(state, client, &request, person, granted_at, now).await?)
        }
    }
}

async fn open(
    state: &AppState,
    client: &Client,
    request: &AuthorizeRequest,
    person: Person,
    granted_at: Timestamp,
    now: Timestamp,
) -> Result<TokenAnswer, Refusal> {
    let lifetimes = state.policy.rules().lifetimes(&request.service, &client.id);
    let entropy = state.entropy.as_ref();
    let session = Session::for_device(request, person, granted_at, lifetimes.session, now, entropy);
    let answer = token::answer(state, client, &session, None, now)?;
    state
        .store
        .open_session(session.clone(), lifetimes.access_token, now)
        .await?;
    // Not before it is stored: without its session a token is none.
    tracing::info!(target: "audit", event = "token_issued", session = %session.id, subject = %session.person.subject,
        client = %client.id, service = %session.service, token = %audit::token(&answer.access_token), "tokens issued to a device");
    Ok(answer)
}
