//! Pages for people are on the authorization server's own host, where their cookies are. Routes of every host lead to this
//! service, because clients look for metadata on all of them.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use oauth::Site;

use super::{error, metadata, pages};
use crate::app::AppState;

/// On a service's host a browser that asks for a page is sent to ours. A form cannot be from there: no page of ours is.
pub(crate) async fn only(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<AppState>>() else {
        return next.call(request).await;
    };
    if !matches!(
        metadata::site(request.request(), state),
        Some(Site::Service(_))
    ) {
        return next.call(request).await;
    }
    let response = if [Method::GET, Method::HEAD].contains(request.method()) {
        let uri = request.uri();
        let address = uri.path_and_query().map_or("/", |address| address.as_str());
        pages::see_other(&format!("{}{address}", state.issuer))
    } else {
        error::wrong_browser(request.request())
    };
    Ok(request.into_response(response))
}
