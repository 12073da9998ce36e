//! `/register/{client_id}` (RFC 7592): a client looks at its registration, or ends it.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use oauth::client::Client;

use super::{error, extract, register};
use crate::app::AppState;
use crate::flow;

async fn managed(
    request: &HttpRequest,
    state: &AppState,
    id: &str,
) -> Result<Client, error::Refused> {
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
