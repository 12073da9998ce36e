//! `POST /token` (OAuth 2.1 section 3.2).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use oauth::ErrorCode;
use oauth::client_metadata::DEVICE_GRANT;

use super::{error, extract, limited};
use crate::app::AppState;
use crate::flow::device::{self, DeviceRefusal};
use crate::flow::machine;
use crate::flow::token::{self, ClientCredentials, CodeGrant, RefreshGrant};
use crate::limits::Limit;

/// Codes and refresh tokens become access tokens.
pub(crate) async fn token(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let form = extract::form(&request, payload).await?;
    let answer = limited_answer(&request, &state, &form).await;
    let status = answer
        .as_ref()
        .map_or_else(error::Refused::status, HttpResponse::status);
    state.counted.token(form.get("grant_type"), status.as_u16());
    answer
}

async fn limited_answer(
    request: &HttpRequest,
    state: &AppState,
    form: &extract::Form,
) -> error::Answer {
    let credentials = extract::client_credentials(request, form)?;
    limited::client(request, state, Limit::Token, &credentials).await?;
    let client = limited::name(&credentials).to_owned();
    let answer = answer(state, form, credentials);
    limited::failures(request, state, &client, answer).await
}

async fn answer(
    state: &AppState,
    form: &extract::Form,
    credentials: ClientCredentials,
) -> error::Answer {
    let answer = match form.need("grant_type")? {
        "authorization_code" => {
            let client = token::authenticate(state, &credentials).await;
            let client = client.map_err(|refusal| error::refusal(&refusal))?;
            let grant = CodeGrant {
                code: form.need("code")?,
                verifier: form.need("code_verifier")?,
                redirect_uri: form.get("redirect_uri"),
                resources: &form.resources,
            };
            token::exchange_code(state, &client, &grant).await
        }
        "refresh_token" => {
            let refresh_token = form.need("refresh_token")?;
            let credentials = token::client_of_refresh_token(state, refresh_token, credentials)
                .await
                .map_err(|refusal| error::refusal(&refusal))?;
            let client = token::authenticate(state, &credentials).await;
            let client = client.map_err(|refusal| error::refusal(&refusal))?;
            let grant = RefreshGrant {
                refresh_token,
                scope: form.get("scope"),
                resources: &form.resources,
            };
            token::refresh(state, &client, &grant).await
        }
        "client_credentials" => {
            let client = token::authenticate(state, &credentials).await;
            let client = client.map_err(|refusal| error::refusal(&refusal))?;
            machine::issue(state, &client, &form.resources).await
        }
        DEVICE_GRANT => {
            let client = token::authenticate(state, &credentials).await;
            let client = client.map_err(|refusal| error::refusal(&refusal))?;
            match device::exchange(state, &client, form.need("device_code")?).await {
                Ok(answer) => Ok(answer),
                Err(DeviceRefusal::Other(refusal)) => Err(refusal),
                // 400 for all of them (RFC 8628 section 3.5), `access_denied` too.
                Err(DeviceRefusal::Told(code, text)) => {
                    let response = error::json_with(StatusCode::BAD_REQUEST, code.as_str(), text);
                    // Asking again is what a device shall do: these are no failures.
                    return match code {
                        ErrorCode::AuthorizationPending | ErrorCode::SlowDown => Ok(response),
                        _ => Err(response.into()),
                    };
                }
            }
        }
        _ => {
            return Err(error::json(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be authorization_code, refresh_token, client_credentials or the device grant of RFC 8628",
            )
            .into());
        }
    };
    answer
        .map(|answer| error::private_json(StatusCode::OK).json(answer))
        .map_err(|refusal| error::refusal(&refusal).into())
}
