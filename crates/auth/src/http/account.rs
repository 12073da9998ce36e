//! `/account`: what a person granted. Shown and changed only in a browser that has signed in for it.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use oauth::account::{Holder, LIFETIME};
use oauth::consent::Consent;
use oauth::id::{ConsentId, InvalidId};
use oauth::identity::Identity;
use oauth::session::Session;
use oauth::{SessionId, Timestamp};
use store::StoreError;

use super::authorize::add_cookie;
use super::{cookie, error, extract, limited, pages};
use crate::app::AppState;
use crate::flow::account::{self, AccountCookie, Known};
use crate::flow::consent::AnswerError;
use crate::flow::remembered;
use crate::flow::sign_in::{self, Returning};
use crate::idp::Arrival;
use crate::idp::oidc::Oidc;
use crate::limits::Limit;
use crate::pages::{AccountPage, AccountSignInPage, ConsentLine, GrantLine};

/// `GET /account`: the list, or the way to sign in.
pub(crate) async fn show(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let Some((cookie, holder)) = signed_in(&request, &state).await? else {
        let page = AccountSignInPage {
            provider: state.provider.name(),
        };
        return Ok(pages::page(StatusCode::OK, &page));
    };
    let grants = account::grants(&state, &holder)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    let consents = account::consents(&state, &holder)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    let page = AccountPage {
        login: &holder.login,
        grants: grants.into_iter().map(line).collect(),
        consents: consents.into_iter().map(consent_line).collect(),
        csrf: &cookie.form_token(&state),
    };
    Ok(pages::page(StatusCode::OK, &page))
}

/// `POST /account/sign-in`: to the identity provider.
pub(crate) async fn sign_in(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    own_form(&request, payload, &state).await?;
    let leaving = account::start(&state)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    let mut response = pages::see_other(&leaving.location);
    let bound = cookie::bind(&state, &leaving.id, &leaving.cookie);
    add_cookie(&mut response, &bound);
    Ok(response)
}

/// `POST /account/revoke`: ends one grant.
pub(crate) async fn revoke(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let (_, holder, form) = decision(&request, payload, &state).await?;
    let id = named(&request, &form, "session", SessionId::parse)?;
    account::revoke(&state, &holder, &id)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    Ok(pages::see_other("/account"))
}

/// `POST /account/forget`: the person is asked again.
pub(crate) async fn forget(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let (_, holder, form) = decision(&request, payload, &state).await?;
    let id = named(&request, &form, "consent", ConsentId::parse)?;
    remembered::withdraw(&state, &holder.subject, &id)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    Ok(pages::see_other("/account"))
}

/// `POST /account/revoke-all`: ends every grant, and this session of the browser too.
pub(crate) async fn revoke_all(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let (_, holder, _) = decision(&request, payload, &state).await?;
    account::revoke_all(&state, &holder)
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    let text = "No application has access in your name any more, and you are signed out here.";
    let mut response = pages::message(&request, StatusCode::OK, "All access has ended", text);
    add_cookie(&mut response, &release(&state));
    Ok(response)
}

/// `POST /account/sign-out`
pub(crate) async fn sign_out(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let (cookie, _, _) = decision(&request, payload, &state).await?;
    state
        .store
        .end_account(&cookie.id, state.clock.now())
        .await
        .map_err(|problem| unavailable(&request, problem))?;
    let mut response = pages::see_other("/account");
    add_cookie(&mut response, &release(&state));
    Ok(response)
}

/// Whether the browser comes back from the identity provider to its account.
pub(crate) async fn is_returning(
    request: &HttpRequest,
    state: &AppState,
    returning: &Returning,
) -> Result<bool, error::Refused> {
    let is_theirs = account::is_returning(state, returning)
        .await
        .map_err(|problem| unavailable(request, problem))?;
    Ok(is_theirs)
}

/// On to a provider whose address has to be found out first.
pub(crate) async fn leave(
    request: &HttpRequest,
    state: &AppState,
    oidc: &Oidc,
    returning: &Returning,
) -> error::Answer {
    let location = oidc
        .authorize_url(&returning.state, state.keys.derivation(), false)
        .await
        .map_err(|problem| {
            tracing::warn!(%problem, "nobody can sign in at the identity provider just now");
            let text = format!("{} does not answer.", state.provider.shown_name());
            not_signed_in(request, &text)
        })?;
    Ok(pages::see_other(&location))
}

/// The identity provider sent the browser back.
pub(crate) async fn from_provider(
    request: &HttpRequest,
    state: &AppState,
    returning: &Returning,
    arrival: &Arrival,
) -> error::Answer {
    let provider = state.provider.shown_name();
    let identity = sign_in::identify(state, returning, arrival)
        .await
        .map_err(|problem| {
            tracing::warn!(%problem, "a sign-in at the account page failed");
            not_signed_in(request, &format!("{provider} did not say who you are."))
        })?;
    if let Some(identity) = identity {
        arrive(request, state, returning, &identity).await
    } else {
        let text = format!("{provider} was told not to sign you in.");
        Err(not_signed_in(request, &text).into())
    }
}

fn not_signed_in(request: &HttpRequest, why: &str) -> HttpResponse {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let text = format!("{why} Open /account to try again.");
    pages::message(request, status, "You are not signed in", &text)
}

/// Somebody is recognised: on to the list, with a fresh cookie.
pub(crate) async fn arrive(
    request: &HttpRequest,
    state: &AppState,
    returning: &Returning,
    identity: &Identity,
) -> error::Answer {
    let arrived = account::arrive(state, returning, identity)
        .await
        .map_err(|problem| unavailable(request, problem))?;
    let Some(cookie) = arrived else {
        let text =
            "You have not connected any application with this gateway, so there is nothing to see.";
        let status = StatusCode::FORBIDDEN;
        return Err(pages::message(request, status, "Nothing here", text).into());
    };
    let mut response = pages::see_other("/account");
    add_cookie(&mut response, &bind(state, &cookie));
    add_cookie(&mut response, &cookie::release(state, &returning.state.id));
    Ok(response)
}

/// A form of the list: counts only with the cookie, the form's own token, and when the form was ours.
async fn decision(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<(AccountCookie, Holder, extract::Form), error::Refused> {
    limited::page(request, state, Limit::SignIn).await?;
    let form = own_form(request, payload, state).await?;
    let Some((cookie, holder)) = signed_in(request, state).await? else {
        return Err(pages::see_other("/account").into());
    };
    if !form
        .get("csrf")
        .is_some_and(|token| cookie.admits(state, token))
    {
        return Err(error::wrong_browser(request).into());
    }
    Ok((cookie, holder, form))
}

/// What is to be ended. A form without it, or with something else, is none of ours.
fn named<T>(
    request: &HttpRequest,
    form: &extract::Form,
    field: &str,
    parse: impl Fn(&str) -> Result<T, InvalidId>,
) -> Result<T, error::Refused> {
    let id = form.get(field).and_then(|id| parse(id).ok());
    id.ok_or_else(|| error::wrong_browser(request).into())
}

async fn own_form(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<extract::Form, error::Refused> {
    let form = extract::form(request, payload).await?;
    if pages::is_own_form(request, state) {
        Ok(form)
    } else {
        Err(error::wrong_browser(request).into())
    }
}

async fn signed_in(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Option<(AccountCookie, Holder)>, error::Refused> {
    let Some(cookie) =
        extract::cookie(request, &name(state)).and_then(|text| AccountCookie::parse(&text))
    else {
        return Ok(None);
    };
    let holder = account::holder(state, &cookie)
        .await
        .map_err(|problem| unavailable(request, problem))?;
    Ok(holder.map(|holder| (cookie, holder)))
}

fn line(grant: Known<Session>) -> GrantLine {
    let session = grant.what;
    GrantLine {
        id: session.id.to_string(),
        client_name: grant.client_name,
        client_host: grant.client_host,
        service: session.service.to_string(),
        scope: session.scope.to_string(),
        granted: shown(session.created_at),
        last_used: session.last_used_at().map(shown).unwrap_or_default(),
    }
}

fn consent_line(known: Known<Consent>) -> ConsentLine {
    let consent = known.what;
    ConsentLine {
        id: consent.id.to_string(),
        client_name: known.client_name,
        client_host: known.client_host,
        service: consent.service.to_string(),
        scope: consent.scope.to_string(),
        destination: consent.redirect_uri.destination(),
        until: shown(consent.expires_at),
    }
}

fn shown(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn unavailable(request: &HttpRequest, problem: StoreError) -> HttpResponse {
    error::answer(request, AnswerError::Store(problem))
}

fn name(state: &AppState) -> String {
    cookie::host_name(state, "mcp-account")
}

fn bind(state: &AppState, value: &AccountCookie) -> Cookie<'static> {
    cookie::lasting(state, name(state), value.expose(), LIFETIME)
}

fn release(state: &AppState) -> Cookie<'static> {
    cookie::ended(state, name(state))
}
