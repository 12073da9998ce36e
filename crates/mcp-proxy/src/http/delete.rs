//! `DELETE /mcp`: the client ends its session.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::State;
use crate::http::error::Refusal;
use crate::http::{admit, get, post};

/// `DELETE /mcp`.
pub async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    serve(&request, &state).unwrap_or_else(|refusal| refusal.answer(None))
}

fn serve(request: &HttpRequest, state: &State) -> Result<HttpResponse, Refusal> {
    let identity = admit(request, state)?;
    get::refuse_modern(request)?;
    let session = post::session(request, state, identity.as_ref())?;
    state.sessions.close(&session, "the client ended it");
    Ok(HttpResponse::NoContent().finish())
}
