//! The well-known documents, on every host on which a client may look.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HOST};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chassis::shutdown::Stopping;
use oauth::Site;
use oauth::metadata::{AuthorizationServerMetadata, OpenIdMetadata, ProtectedResourceMetadata};
use oauth::site::MCP_PATH;
use serde::Serialize;
use serde_json::json;

use super::error;
use crate::app::AppState;
use crate::settings::Registration;

/// Which of our hosts was asked.
pub(crate) fn site(request: &HttpRequest, state: &AppState) -> Option<Site> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    state.sites().site_of(host)
}

fn document(document: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .json(document)
}

/// `GET /.well-known/oauth-authorization-server` and its other forms (RFC 8414 section 3).
pub(crate) async fn server(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    match site(&request, &state) {
        Some(_) => document(&metadata(&state)),
        None => error::not_found().await,
    }
}

/// `GET /.well-known/openid-configuration` and its other forms (OpenID Connect Discovery 1.0 section 4).
pub(crate) async fn openid(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    match site(&request, &state) {
        Some(_) => document(&OpenIdMetadata {
            server: metadata(&state),
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms(&state),
        }),
        None => error::not_found().await,
    }
}

fn metadata(state: &AppState) -> AuthorizationServerMetadata {
    let mut metadata = AuthorizationServerMetadata::new(
        &state.sites(),
        state.documents.is_on(),
        &state.offered_scopes(),
    );
    if matches!(state.registration, Registration::Off) {
        metadata.registration_endpoint = None;
    }
    metadata
}

/// The algorithms of the published keys.
fn algorithms(state: &AppState) -> Vec<String> {
    let published = serde_json::to_value(state.keys.published()).unwrap_or_default();
    let keys = published.as_array().cloned().unwrap_or_default();
    let mut algorithms: Vec<String> = keys
        .iter()
        .filter_map(|key| key.get("alg")?.as_str().map(str::to_owned))
        .collect();
    algorithms.sort();
    algorithms.dedup();
    algorithms
}

/// `GET /.well-known/oauth-protected-resource` (RFC 9728 section 3): names the origin.
pub(crate) async fn resource_root(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    resource(&request, &state, "").await
}

/// `GET /.well-known/oauth-protected-resource/mcp`: names the endpoint.
pub(crate) async fn resource_mcp(request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    resource(&request, &state, MCP_PATH).await
}

async fn resource(request: &HttpRequest, state: &AppState, path: &str) -> HttpResponse {
    match site(request, state) {
        Some(Site::Service(service)) => document(&ProtectedResourceMetadata::new(
            &state.sites(),
            &service,
            path,
            state.policy.rules().needed_scopes(&service),
        )),
        _ => error::not_found().await,
    }
}

/// `GET /health`: the service answers, or is about to stop (503). Whether it is ready is told on the private port.
pub(crate) async fn health(request: HttpRequest) -> HttpResponse {
    let (status, text) = if Stopping::has_begun(&request) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else {
        (StatusCode::OK, "ok")
    };
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"status": text}))
}
