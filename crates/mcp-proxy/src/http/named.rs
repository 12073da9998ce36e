//! Every request has a name: its answer carries it, and so does what the log says of it.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use chassis::telemetry::untrusted;
use tracing::{Level, debug, enabled, warn};

use crate::app::State;
use crate::http::headers::SESSION_ID;
use crate::http::origin::single;
use crate::identity;
use crate::request_id::{REQUEST_ID, RequestId};
use crate::sessions;

/// Why a request was refused, for the log; lies in the extensions of the answer.
#[derive(Debug)]
pub struct Reason(pub String);

/// The middleware. Handlers find the [`RequestId`] among the extensions of the request.
pub async fn name<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let begun = Instant::now();
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.call(request).await?;
    log(&response, &id, begun);
    response.headers_mut().insert(REQUEST_ID, id.as_header());
    Ok(response)
}

/// The id of a request that has passed [`name`].
#[must_use]
pub fn request_id(request: &HttpRequest) -> Option<RequestId> {
    request.extensions().get().cloned()
}

fn log<B>(response: &ServiceResponse<B>, id: &RequestId, begun: Instant) {
    let status = response.status();
    let loud = status.is_server_error()
        || matches!(
            status,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS
        );
    if !loud && !enabled!(Level::DEBUG) {
        return;
    }
    let request = response.request();
    // Without the gateway before us anybody may say that they are somebody.
    let identity = request
        .app_data::<Data<State>>()
        .filter(|state| state.config.require_identity)
        .and_then(|_| identity::read(request.headers()).ok());
    let (login, subject) = identity.as_ref().map_or(("-", "-"), |identity| {
        (&*identity.login, &*identity.owner.subject)
    });
    let session = single(request.headers(), &SESSION_ID).ok().flatten();
    let session = session.map_or_else(|| "-".to_owned(), sessions::hashed);
    let extensions = response.response().extensions();
    let reason = extensions.get::<Reason>();
    macro_rules! line {
        ($level:ident, $($rest:tt)+) => {
            $level!(
                request_id = %id,
                session,
                login = %untrusted(login),
                subject = %untrusted(subject),
                method = %untrusted(request.method().as_str()),
                status = status.as_u16(),
                $($rest)+
            )
        };
    }
    match reason {
        Some(Reason(reason)) if loud => {
            line!(warn, reason = %untrusted(reason), "refused a request");
        }
        Some(Reason(reason)) => line!(debug, reason = %untrusted(reason), "refused a request"),
        None => {
            let duration_ms = begun.elapsed().as_secs_f64() * 1e3;
            line!(debug, duration_ms, "answered a request");
        }
    }
}
