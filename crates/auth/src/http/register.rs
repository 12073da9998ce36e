//! `POST /register` (RFC 7591).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use oauth::client::{Client, IssuedSecrets};
use oauth::client_metadata::ClientMetadataRequest;
use serde_json::{Value, json};

use super::{error, extract, limited};
use crate::app::AppState;
use crate::flow;
use crate::limits::Limit;

/// Registers a client: 201 with everything that is stored, and its secrets this once.
pub(crate) async fn register(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    let answer = answer(&request, payload, &state).await;
    let status = answer
        .as_ref()
        .map_or_else(error::Refused::status, HttpResponse::status);
    state.counted.registration(status.as_u16());
    answer
}

async fn answer(request: &HttpRequest, payload: Payload, state: &AppState) -> error::Answer {
    let token = extract::bearer(request).unwrap_or(None);
    flow::register::check_initial_token(state, token)
        .map_err(|refusal| error::refusal(&refusal))?;
    let metadata: ClientMetadataRequest = extract::json(request, payload).await?;
    limited::json(request, state, Limit::Register, None).await?;
    limited::json_of_all(state, Limit::RegisterTotal).await?;
    let (client, secrets) = flow::register::register(state, metadata)
        .await
        .map_err(|refusal| error::refusal(&refusal))?;
    Ok(error::private_json(StatusCode::CREATED).json(information(state, &client, Some(&secrets))))
}

/// The client information (RFC 7591 section 3.2.1): every field with its value, none of them null.
pub(crate) fn information(
    state: &AppState,
    client: &Client,
    secrets: Option<&IssuedSecrets>,
) -> Value {
    let mut information = serde_json::to_value(&client.metadata).unwrap_or_else(|_| json!({}));
    let expires = if client.secret.is_some() {
        Some(0)
    } else {
        None
    };
    let management = format!("{}/register/{}", state.issuer, client.id);
    let mut set = |name: &str, value: Value| {
        if let Some(object) = information.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    set("client_id", json!(client.id));
    set("client_id_issued_at", json!(client.issued_at.as_second()));
    set("registration_client_uri", json!(management));
    if let Some(expires) = expires {
        set("client_secret_expires_at", json!(expires));
    }
    if let Some(secrets) = secrets {
        set(
            "registration_access_token",
            json!(secrets.registration_token.expose()),
        );
        if let Some(secret) = &secrets.client_secret {
            set("client_secret", json!(secret.expose()));
        }
    }
    information
}

/// The same for somebody who asks later.
pub(crate) fn stored_information(state: &AppState, client: &Client) -> HttpResponse {
    error::private_json(StatusCode::OK).json(information(state, client, None))
}
