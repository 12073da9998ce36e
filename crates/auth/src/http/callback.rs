//! `GET /callback`: GitHub sends the browser back.

use actix_web::HttpRequest;
use actix_web::web::{Data, Query};
use serde::Deserialize;

use super::authorize::add_cookie;
use super::{cookie, error, extract, limited, pages};
use crate::app::AppState;
use crate::flow::sign_in::{self, Returning};
use crate::idp::{IdentityProvider, SignInState};
use crate::limits::Limit;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    code: Option<String>,
    state: Option<String>,
}

/// Finishes a sign-in, if the browser is the one in which the person agreed.
pub(crate) async fn callback(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let parameters = Query::<Parameters>::from_query(request.query_string())
        .map_err(|_| error::wrong_browser(&request))?
        .into_inner();
    let IdentityProvider::GitHub(github) = &state.provider else {
        return Err(error::not_found().await.into());
    };
    let returning = parameters
        .state
        .as_deref()
        .and_then(|text| returning(&request, &state, text))
        .ok_or_else(|| error::wrong_browser(&request))?;
    if super::account::is_returning(&request, &state, &returning).await? {
        return super::account::from_github(&request, &state, github, &returning, parameters.code)
            .await;
    }
    let granted = match &parameters.code {
        Some(code) => sign_in::with_github(&state, github, &returning, code).await,
        None => Err(sign_in::refused_by_provider(&state, &returning).await),
    }
    .map_err(|problem| error::sign_in(&request, &state, problem))?;
    let mut response = pages::go_back(&granted.request.redirect_uri, &granted.location, true);
    add_cookie(&mut response, &cookie::release(&state, &returning.state.id));
    Ok(response)
}

/// The sign-in that a `state` names, with the cookie that belongs to it.
pub(crate) fn returning(request: &HttpRequest, state: &AppState, text: &str) -> Option<Returning> {
    let sign_in = SignInState::parse(text)?;
    let cookie = extract::sign_in_cookie(request, &cookie::name(state, &sign_in.id))?;
    Some(Returning {
        state: sign_in,
        cookie,
    })
}
