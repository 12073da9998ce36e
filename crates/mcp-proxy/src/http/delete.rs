//! `DELETE /mcp`: the client ends its session.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::State;
use crate::http::error::Refusal;
use crate::http::hand_over::{self, Place};
use crate::http::{admit, get};

/// `DELETE /mcp`.
pub async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    serve(&request, &state)
        .await
        .unwrap_or_else(|refusal| refusal.answer(None))
}

async fn serve(request: &HttpRequest, state: &State) -> Result<HttpResponse, Refusal> {
    let identity = admit(request, state)?;
    get::refuse_modern(request)?;
    let session = match hand_over::session(request, state, identity.as_ref()).await? {
        Place::Here(session) => session,
        Place::There(replica) => return replica.bare(request, state).await,
    };
    state.sessions.close(&session, "the client ended it");
    Ok(HttpResponse::NoContent().finish())
}
