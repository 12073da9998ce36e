//! The HTTP face: parse, hand over, render.

pub mod batch;
pub mod body;
pub mod delete;
pub mod error;
pub mod gate;
pub mod get;
pub mod hand_over;
pub mod headers;
pub mod modern;
pub mod named;
pub mod origin;
pub mod post;
pub mod relay;
pub mod replica;
pub mod tools;
pub mod translated;

use actix_web::HttpRequest;

use crate::app::State;
use crate::http::error::Refusal;
use crate::identity::{self, Identity};

/// What every request has to pass, whatever its method and path: `Host`, `Origin`, identity.
pub fn admit(request: &HttpRequest, state: &State) -> Result<Option<Identity>, Refusal> {
    state
        .allowed
        .check(request.headers(), request.uri().authority())?;
    if state.config.require_identity {
        Ok(Some(identity::read(request.headers())?))
    } else {
        Ok(None)
    }
}
