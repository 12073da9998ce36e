//! How long the head of a request may be.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};
use oauth::ErrorCode;

use super::error;

/// Longest head of a request: address and headers, in bytes.
const LIMIT: usize = 16 * 1024;
/// What each header line has besides its name and value.
const SEPARATORS: usize = 4;

/// Refuses a longer head with 431 (RFC 6585 section 5). `/verify` gets one header that Traefik chooses, and answers with
/// other codes: an overlong token is a wrong one there.
pub(crate) async fn bounded<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if request.path() != "/verify" && length(request.request()) > LIMIT {
        let answer = error::json_with(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::InvalidRequest.as_str(),
            &format!("address and headers may have at most {LIMIT} bytes"),
        );
        return Ok(request.into_response(answer).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

fn length(request: &HttpRequest) -> usize {
    let address = request
        .uri()
        .path_and_query()
        .map_or(0, |address| address.as_str().len());
    let lines = request.headers().iter();
    lines.fold(address, |length, (name, value)| {
        length + name.as_str().len() + value.len() + SEPARATORS
    })
}
