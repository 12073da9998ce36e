//! `/register/{client_id}` (RFC 7592): a client looks at its registration, replaces it, or ends it.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use oauth::client::Client;
use oauth::client_metadata::ClientMetadataRequest;

use super::{error, extract, limited, register};
use crate::app::AppState;
use crate::flow;
use crate::limits::Limit;

async fn managed(
    request: &HttpRequest,
    state: &AppState,
    id: &str,
) -> Result<Client, error::Refused> {
    limited::json(request, state, Limit::Address, None).await?;
    let token = extract::bearer(request).unwrap_or(None);
    flow::register::managed(state, id, token)
        .await
        .map_err(|refusal| error::refusal(&refusal).into())
}

/// `GET`
pub(crate) async fn read(
    request: HttpRequest,
    id: Path<String>,
    state: Data<AppState>,
) -> error::Answer {
    let client = managed(&request, &state, &id).await?;
    Ok(register::stored_information(&state, &client))
}

/// `PUT`: replaces the registration; the answer carries a new registration token.
pub(crate) async fn replace(
    request: HttpRequest,
    payload: Payload,
    id: Path<String>,
    state: Data<AppState>,
) -> error::Answer {
    let client = managed(&request, &state, &id).await?;
    let token = extract::bearer(&request)
        .unwrap_or(None)
        .unwrap_or_default();
    let metadata: ClientMetadataRequest = extract::json(&request, payload).await?;
    let (client, secrets) = flow::register::update(&state, &client, token, metadata)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(
        error::private_json(StatusCode::OK).json(register::information(
            &state,
            &client,
            Some(&secrets),
        )),
    )
}

/// `DELETE`
pub(crate) async fn delete(
    request: HttpRequest,
    id: Path<String>,
    state: Data<AppState>,
) -> error::Answer {
    let client = managed(&request, &state, &id).await?;
    flow::register::delete(&state, &client)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(error::private_json(StatusCode::NO_CONTENT).finish())
}
