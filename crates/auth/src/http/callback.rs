//! `GET /callback`: the identity provider sends the browser back.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::authorize::add_cookie;
use super::{cookie, error, extract, limited, memory, pages};
use crate::app::AppState;
use crate::flow::sign_in::{self, Granted, Returning};
use crate::idp::{Arrival, IdentityProvider, SignInState};
use crate::limits::Limit;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    code: Option<String>,
    state: Option<String>,
    /// Who sends it (RFC 9207).
    iss: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

/// Finishes a sign-in, if the browser is the one in which the person agreed.
pub(crate) async fn callback(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let parameters = Query::<Parameters>::from_query(request.query_string())
        .map_err(|_| error::wrong_browser(&request))?
        .into_inner();
    if let IdentityProvider::Local(_) = &state.provider {
        return Err(error::not_found().await.into());
    }
    let returning = parameters
        .state
        .as_deref()
        .and_then(|text| returning(&request, &state, text))
        .ok_or_else(|| error::wrong_browser(&request))?;
    let arrival = Arrival {
        // A code beside an error is none.
        outcome: match (parameters.code, parameters.error) {
            (Some(code), None) => Ok(code),
            (_, error) => Err(error),
        },
        issuer: parameters.iss,
    };
    if super::account::is_returning(&request, &state, &returning).await? {
        return super::account::from_provider(&request, &state, &returning, &arrival).await;
    }
    let granted = sign_in::arrive(&state, &returning, &arrival)
        .await
        .map_err(|problem| error::sign_in(&request, &state, problem))?;
    Ok(go_back(&state, &returning, &granted))
}

/// Back to the client with a code; of the sign-in nothing is left in the browser.
pub(super) fn go_back(state: &AppState, returning: &Returning, granted: &Granted) -> HttpResponse {
    let mut response = pages::go_back(&granted.request.redirect_uri, &granted.location, true);
    memory::keep(&mut response, state, granted.memory.as_ref());
    add_cookie(&mut response, &cookie::release(state, &returning.state.id));
    response
}

/// The sign-in that a `state` names, with the cookie that belongs to it.
pub(crate) fn returning(request: &HttpRequest, state: &AppState, text: &str) -> Option<Returning> {
    let sign_in = SignInState::parse(text)?;
    let cookie = extract::sign_in_cookie(request, &cookie::name(state, &sign_in.id))?;
    Some(Returning {
        state: sign_in,
        cookie,
        memory: memory::of(request, state),
    })
}
