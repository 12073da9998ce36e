//! `GET /jwks`: the public keys (RFC 7517 section 5).

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use serde_json::json;

use crate::app::AppState;

/// The key set. Clients may keep it for five minutes.
pub(crate) async fn jwks(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .json(json!({"keys": state.keys.published()}))
}
