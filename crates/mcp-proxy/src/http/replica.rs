//! `GET /replica`: who this process is. Its peers ask it, and so may a balancer that looks which replicas are well. Nothing
//! leads here from outside: the gateway routes `/mcp` only.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::State;
use crate::http::error::Refusal;
use crate::replicas::LEAVING;
use crate::routes::refuse;

/// `GET /replica`: 200 while work may be sent here, else 503, and the name either way. 404 where there are no replicas. A
/// replica that ends says so here, too ([`LEAVING`]).
pub async fn replica(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let Some(replicas) = &state.replicas else {
        return refuse(&request, &state, &Refusal::NotFound);
    };
    let leaving = request.headers().get(LEAVING);
    if let Some(name) = leaving.and_then(|value| value.to_str().ok()) {
        replicas.left(name);
    }
    let mut response = if state.readiness.report().await.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response
        .content_type("text/plain")
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(replicas.name().as_str().to_owned())
}
