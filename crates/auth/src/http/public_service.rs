//! The host of a public service has nothing of OAuth: clients that find any of it there insist on a sign-in.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::web::Data;
use oauth::Site;

use super::error;
use crate::app::AppState;

/// Answers 404 in JSON to everything that is asked on such a host. `/verify` is asked by Traefik, on no host of ours.
pub(crate) async fn hide(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.path() != "/verify" && is_public(&request) {
        let response = error::not_found().await;
        return Ok(request.into_response(response));
    }
    next.call(request).await
}

fn is_public(request: &ServiceRequest) -> bool {
    let Some(state) = request.app_data::<Data<AppState>>() else {
        return false;
    };
    let rules = state.policy.rules();
    if !rules.has_public_services() {
        return false;
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let site = host.and_then(|host| rules.sites().site_of(host));
    matches!(site, Some(Site::Service(service)) if rules.is_public(&service))
}
