//! The route table of the public listener.

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::State;
use crate::http::error::Refusal;
use crate::http::{admit, delete, get, post, replica};
use crate::replicas;

/// Path, methods, what for, and where it is specified.
pub const ENDPOINTS: [(&str, &[&str], &str, &str); 2] = [
    (
        "/mcp",
        &["POST", "GET", "DELETE"],
        "The MCP endpoint; `/mcp/` is the same. GET and DELETE belong to sessions of the revisions up to 2025-11-25.",
        "MCP, Streamable HTTP",
    ),
    (
        replicas::PATH,
        &["GET"],
        "With `REPLICAS`: the name of this replica for the others; 503 instead of 200 while no work may be sent here. Has no route from outside.",
        "",
    ),
];

/// Every route. The endpoint answers with and without a trailing slash: a redirect would lose body and token.
pub fn public(config: &mut ServiceConfig) {
    for path in ["/mcp", "/mcp/"] {
        config.service(
            web::resource(path)
                .route(web::post().to(post::post))
                .route(web::get().to(get::get))
                .route(web::delete().to(delete::delete))
                .default_service(web::to(method_not_allowed)),
        );
    }
    config.route(replicas::PATH, web::get().to(replica::replica));
    config.default_service(web::to(not_found));
}

async fn method_not_allowed(request: HttpRequest, state: Data<State>) -> HttpResponse {
    refuse(&request, &state, &Refusal::MethodNotAllowed)
}

async fn not_found(request: HttpRequest, state: Data<State>) -> HttpResponse {
    refuse(&request, &state, &Refusal::NotFound)
}

/// The answer to a request that nothing here is for, if it may come here at all.
#[must_use]
pub fn refuse(request: &HttpRequest, state: &State, refusal: &Refusal) -> HttpResponse {
    match admit(request, state) {
        Ok(_) => refusal.answer(None),
        Err(first) => first.answer(None),
    }
}
