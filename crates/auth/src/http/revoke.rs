//! `POST /revoke` (RFC 7009).

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};

use super::{error, extract, limited};
use crate::app::AppState;
use crate::flow::{revoke as flow, token};
use crate::limits::Limit;

/// Ends a token: 200 whether or not there was one.
pub(crate) async fn revoke(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let form = extract::form(&request, payload).await?;
    let credentials = extract::client_credentials(&request, &form)?;
    limited::client(&request, &state, Limit::Revoke, &credentials).await?;
    let presented = form.need("token")?;
    let client = token::authenticate(&state, &credentials)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    flow::revoke(&state, &client, presented)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(error::private_json(StatusCode::OK).finish())
}
