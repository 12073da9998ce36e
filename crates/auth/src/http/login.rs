//! `/login`: name and password, for the `local` identity provider; the way on to that of `oidc`.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload, Query};
use chassis::peer::ClientAddress;
use serde::Deserialize;

use super::callback::{go_back, returning};
use super::{error, extract, limited, pages};
use crate::app::AppState;
use crate::flow::password;
use crate::flow::sign_in::{self, Returning};
use crate::idp::IdentityProvider;
use crate::idp::local::LocalError;
use crate::idp::oidc::Oidc;
use crate::limits::{Limit, retry_after};
use crate::pages::LoginPage;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    state: String,
}

/// `GET`: the form, or the way on.
pub(crate) async fn form(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    if let IdentityProvider::GitHub(_) = &state.provider {
        return Err(error::not_found().await.into());
    }
    limited::page(&request, &state, Limit::SignIn).await?;
    let returning = Query::<Parameters>::from_query(request.query_string())
        .ok()
        .and_then(|parameters| returning(&request, &state, &parameters.state))
        .ok_or_else(|| error::wrong_browser(&request))?;
    match &state.provider {
        IdentityProvider::Oidc(oidc) => leave(&request, &state, oidc, &returning).await,
        _ => show(&request, &state, &returning, "", None).await,
    }
}

async fn leave(
    request: &HttpRequest,
    state: &AppState,
    oidc: &Oidc,
    returning: &Returning,
) -> error::Answer {
    if super::account::is_returning(request, state, returning).await? {
        return super::account::leave(request, state, oidc, returning).await;
    }
    let location = sign_in::leave(state, oidc, returning)
        .await
        .map_err(|problem| error::sign_in(request, state, problem))?;
    Ok(pages::see_other(&location))
}

/// `POST`: name and password. A wrong one shows the form again.
pub(crate) async fn submit(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let IdentityProvider::Local(local) = &state.provider else {
        return Err(error::not_found().await.into());
    };
    limited::page(&request, &state, Limit::SignIn).await?;
    let form = extract::form(&request, payload).await?;
    if !pages::is_own_form(&request, &state) {
        return Err(error::wrong_browser(&request).into());
    }
    let returning = form
        .get("state")
        .and_then(|text| returning(&request, &state, text))
        .ok_or_else(|| error::wrong_browser(&request))?;
    let is_for_account = super::account::is_returning(&request, &state, &returning).await?;
    if !is_for_account {
        sign_in::look(&state, &returning)
            .await
            .map_err(|problem| error::sign_in(&request, &state, problem))?;
    }
    let name = form.get("username").unwrap_or_default();
    let password = form.get("password").unwrap_or_default().to_owned();
    let address = ClientAddress::of(&request);
    let identity = match password::recognise(&state, local, address, name, password).await {
        Ok(identity) => identity,
        Err(problem) => {
            state.counted.sign_in(match problem {
                LocalError::Wrong => "wrong_password",
                LocalError::TooMany { .. } => "too_many",
            });
            tracing::warn!(target: "audit", event = "login_refused", provider = "local", %address, %problem, "sign-in refused");
            return show(&request, &state, &returning, name, Some(problem)).await;
        }
    };
    if is_for_account {
        return super::account::arrive(&request, &state, &returning, &identity).await;
    }
    let granted = sign_in::finish(&state, &returning, &identity)
        .await
        .map_err(|problem| error::sign_in(&request, &state, problem))?;
    Ok(go_back(&state, &returning, &granted))
}

async fn show(
    request: &HttpRequest,
    state: &AppState,
    returning: &Returning,
    username: &str,
    problem: Option<LocalError>,
) -> error::Answer {
    let service = if super::account::is_returning(request, state, returning).await? {
        "your account".to_owned()
    } else {
        let authorization = sign_in::look(state, returning)
            .await
            .map_err(|problem| error::sign_in(request, state, problem))?;
        authorization.request.service.to_string()
    };
    let (status, wait, text) = match problem {
        None => (StatusCode::OK, None, None),
        Some(LocalError::Wrong) => {
            let text = "The name or the password is wrong.".to_owned();
            (StatusCode::UNAUTHORIZED, None, Some(text))
        }
        Some(LocalError::TooMany { wait }) => {
            let wait = retry_after(wait);
            let text = format!("Too many attempts. Wait {wait} seconds and try again.");
            (StatusCode::TOO_MANY_REQUESTS, Some(wait), Some(text))
        }
    };
    let shown: String = username.chars().take(64).collect();
    let page = LoginPage {
        service: &service,
        state: &returning.state.expose(),
        username: &shown,
        problem: text.as_deref(),
    };
    let mut response = pages::page(status, &page);
    if let Some(seconds) = wait {
        limited::set_retry_after(&mut response, seconds);
    }
    Ok(response)
}
