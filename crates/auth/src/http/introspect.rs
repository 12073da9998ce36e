//! `POST /introspect` (RFC 7662).

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};

use super::{error, extract, limited};
use crate::app::AppState;
use crate::flow::{introspect as flow, token};
use crate::limits::Limit;

/// Tells a resource server about a token. `token_type_hint` changes nothing.
pub(crate) async fn introspect(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let form = extract::form(&request, payload).await?;
    let credentials = extract::client_credentials(&request, &form)?;
    limited::client(&request, &state, Limit::Introspect, &credentials).await?;
    let presented = form.need("token")?;
    let client = token::authenticate(&state, &credentials)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    let told = flow::introspect(&state, &client, presented)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(error::private_json(StatusCode::OK).json(told))
}
