//! `/device_authorization` and `/device` (RFC 8628).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use chassis::peer::ClientAddress;
use oauth::device::UserCode;
use serde::Deserialize;

use super::authorize::{add_cookie, permissions};
use super::{cookie, error, extract, limited, pages};
use crate::app::AppState;
use crate::flow::{device, token};
use crate::limits::{Limit, Who};
use crate::pages::{DeviceConsentPage, DevicePage};

/// `POST /device_authorization`: a device asks for codes.
pub(crate) async fn ask(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let form = extract::form(&request, payload).await?;
    let credentials = extract::client_credentials(&request, &form)?;
    limited::json(&request, &state, Limit::DeviceAuthorization, None).await?;
    limited::json_of_all(&state, Limit::DeviceAuthorizationTotal).await?;
    let client = token::authenticate(&state, &credentials)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    let answer = device::ask(&state, &client, form.get("scope"), &form.resources)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(error::private_json(StatusCode::OK).json(answer))
}

#[derive(Deserialize)]
pub(crate) struct Parameters {
    user_code: Option<String>,
}

/// `GET /device`: asks the person for the code. One in the address is filled in, and still has to be sent and compared
/// (RFC 8628 section 5.4).
pub(crate) async fn form(request: HttpRequest, state: Data<AppState>) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let typed = Query::<Parameters>::from_query(request.query_string())
        .ok()
        .and_then(|parameters| UserCode::parse(parameters.user_code.as_deref()?).ok())
        .map_or_else(String::new, |code| code.to_string());
    Ok(ask_again(StatusCode::OK, &typed, None))
}

/// `POST /device`: shows what the device with this code asks for. The answer goes to `/consent`.
pub(crate) async fn submit(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let form = extract::form(&request, payload).await?;
    if !pages::is_own_form(&request, &state) {
        return Err(error::wrong_browser(&request).into());
    }
    let who = Who::at(ClientAddress::of(&request));
    let limit = Limit::DeviceCodes;
    let attempt = state.limits.attempt(limit, &who, &*state.clock).await;
    let attempt = attempt.map_err(|exceeded| limited::too_many_page(&request, exceeded))?;
    let typed = form.get("user_code").unwrap_or_default();
    let code = UserCode::parse(typed).ok();
    let found = match &code {
        Some(code) => device::find(&state, code).await,
        None => Ok(None),
    };
    // Only a wrong code stays counted.
    if !matches!(found, Ok(None)) {
        attempt.succeeded().await;
    }
    let question = found.map_err(|problem| error::store_page(&request, &problem))?;
    if let (Some(code), Some(question)) = (code, question) {
        return Ok(show(&state, &code, &question));
    }
    let shown: String = typed.chars().take(16).collect();
    let problem = "No device waits with this code. Compare it with your device, which may show a new one by now.";
    Ok(ask_again(StatusCode::BAD_REQUEST, &shown, Some(problem)))
}

fn ask_again(status: StatusCode, user_code: &str, problem: Option<&str>) -> HttpResponse {
    pages::page(status, &DevicePage { user_code, problem })
}

fn show(state: &AppState, code: &UserCode, question: &device::Question) -> HttpResponse {
    let request = &question.authorization.request;
    let page = DeviceConsentPage {
        user_code: &code.to_string(),
        client_name: &question.client.metadata.client_name,
        client_id: request.client_id.as_str(),
        service: request.service.as_str(),
        resource: &state.sites().resource(&request.service),
        permissions: permissions(request.service.as_str(), &request.scope),
        provider: state.provider.name(),
        transaction: question.authorization.id.as_str(),
        csrf: question.secrets.form.expose(),
    };
    let mut response = pages::page(StatusCode::OK, &page);
    let bound = cookie::bind(state, &question.authorization.id, &question.secrets.cookie);
    add_cookie(&mut response, &bound);
    response
}
