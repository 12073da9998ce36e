//! The administration API, on the private listener only: JSON, with a bearer token.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use oauth::id::{ConsentId, InvalidId};
use oauth::{ClientId, ErrorCode, SessionId, Subject};
use serde::{Deserialize, Serialize};
use store::{Backup, SessionFilter};

use super::error::{self, Answer, Refused};
use super::extract;
use crate::admin::token::AdminTokens;
use crate::admin::view::{Ended, NewClient};
use crate::app::AppState;
use crate::flow::administration::{self, AdminError};

/// Entries of a page unless the caller says how many.
const PAGE: usize = 100;
/// The most entries of a page.
const LONGEST_PAGE: usize = 500;

/// Lets nobody through who does not show the token.
pub(crate) async fn guard<B: MessageBody + 'static>(
    tokens: Data<AdminTokens>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let presented = request.headers().get(AUTHORIZATION);
    let token = presented
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if token.is_some_and(|token| tokens.admit(token)) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let mut refused = error::json_with(
        StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidToken.as_str(),
        "the administration token is missing or wrong; mcp-auth derives it from GATEWAY_JWT_SECRET",
    );
    let challenge = HeaderValue::from_static("Bearer realm=\"administration\"");
    refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    Ok(request.into_response(refused.map_into_right_body()))
}

fn done<T: Serialize>(outcome: Result<T, AdminError>) -> Answer {
    match outcome {
        Ok(answer) => Ok(error::private_json(StatusCode::OK).json(answer)),
        Err(error) => Err(refusal(&error).into()),
    }
}

fn refusal(error: &AdminError) -> HttpResponse {
    match error {
        AdminError::Unknown(_) => {
            error::json_with(StatusCode::NOT_FOUND, "not_found", &error.to_string())
        }
        AdminError::Wrong(text) => error::json(ErrorCode::InvalidRequest, text),
        AdminError::Store(store::StoreError::UnknownCursor { .. }) => {
            error::json(ErrorCode::InvalidRequest, &error.to_string())
        }
        AdminError::Store(error) => error::unavailable(error),
        AdminError::Keys(problem) => {
            tracing::error!(error = %problem, "the keys could not be changed");
            error::json(ErrorCode::ServerError, &problem.to_string())
        }
    }
}

fn id<T>(parsed: Result<T, InvalidId>) -> Result<T, Refused> {
    parsed.map_err(|error| error::json(ErrorCode::InvalidRequest, &error.to_string()).into())
}

/// Which part of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    after: Option<String>,
    limit: Option<usize>,
    client_id: Option<String>,
    subject: Option<String>,
}

impl Part {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE)
    }

    fn filter(&self) -> Result<SessionFilter, Refused> {
        match (&self.subject, &self.client_id) {
            (None, None) => Ok(SessionFilter::All),
            (Some(subject), None) => Ok(SessionFilter::Person(id(Subject::parse(subject))?)),
            (None, Some(client)) => Ok(SessionFilter::Client(id(ClientId::parse(client))?)),
            (Some(_), Some(_)) => Err(error::json(
                ErrorCode::InvalidRequest,
                "name a subject or a client_id, not both",
            )
            .into()),
        }
    }
}

pub(crate) async fn clients(state: Data<AppState>, part: Query<Part>) -> Answer {
    done(administration::clients(&state, part.after.as_deref(), part.limit()).await)
}

pub(crate) async fn client(state: Data<AppState>, path: Path<String>) -> Answer {
    done(administration::client(&state, &id(ClientId::parse(&path))?).await)
}

pub(crate) async fn create_client(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Answer {
    let new: NewClient = extract::json(&request, payload).await?;
    match administration::create_client(&state, &new).await {
        Ok(created) => Ok(error::private_json(StatusCode::CREATED).json(created)),
        Err(error) => Err(refusal(&error).into()),
    }
}

pub(crate) async fn delete_client(state: Data<AppState>, path: Path<String>) -> Answer {
    let client = id(ClientId::parse(&path))?;
    ended(administration::delete_client(&state, &client).await, path)
}

pub(crate) async fn sessions(state: Data<AppState>, part: Query<Part>) -> Answer {
    let filter = part.filter()?;
    done(administration::sessions(&state, &filter, part.after.as_deref(), part.limit()).await)
}

pub(crate) async fn session(state: Data<AppState>, path: Path<String>) -> Answer {
    done(administration::session(&state, &id(SessionId::parse(&path))?).await)
}

pub(crate) async fn revoke_session(state: Data<AppState>, path: Path<String>) -> Answer {
    let session = id(SessionId::parse(&path))?;
    ended(administration::revoke_session(&state, &session).await, path)
}

pub(crate) async fn users(state: Data<AppState>, part: Query<Part>) -> Answer {
    done(administration::users(&state, part.after.as_deref(), part.limit()).await)
}

pub(crate) async fn user(state: Data<AppState>, path: Path<String>) -> Answer {
    done(administration::user(&state, &id(Subject::parse(&path))?).await)
}

pub(crate) async fn revoke_user(state: Data<AppState>, path: Path<String>) -> Answer {
    let subject = id(Subject::parse(&path))?;
    ended(administration::revoke_user(&state, &subject).await, path)
}

pub(crate) async fn revoke_everybody(state: Data<AppState>) -> Answer {
    let outcome = administration::revoke_everybody(&state).await;
    done(outcome.map(|ended| Ended { ended }))
}

pub(crate) async fn forget_pins(state: Data<AppState>, path: Path<String>) -> Answer {
    let outcome = administration::forget_pins(&state, &id(Subject::parse(&path))?).await;
    done(outcome.map(|ended| Ended { ended }))
}

pub(crate) async fn consents(state: Data<AppState>, path: Path<String>) -> Answer {
    done(administration::consents(&state, &id(Subject::parse(&path))?).await)
}

pub(crate) async fn forget_consents(state: Data<AppState>, path: Path<String>) -> Answer {
    let subject = id(Subject::parse(&path))?;
    let outcome = administration::forget_consents(&state, &subject, None).await;
    done(outcome.map(|ended| Ended { ended }))
}

pub(crate) async fn forget_consent(state: Data<AppState>, path: Path<(String, String)>) -> Answer {
    let (subject, consent) = path.into_inner();
    let (subject, consent) = (
        id(Subject::parse(&subject))?,
        id(ConsentId::parse(&consent))?,
    );
    let outcome = administration::forget_consents(&state, &subject, Some(&consent)).await;
    done(outcome.map(|ended| Ended { ended }))
}

pub(crate) async fn keys(state: Data<AppState>) -> Answer {
    done(Ok(administration::keys(&state)))
}

pub(crate) async fn rotate_keys(state: Data<AppState>) -> Answer {
    done(administration::rotate_keys(&state).await)
}

pub(crate) async fn replace_keys(state: Data<AppState>) -> Answer {
    done(administration::replace_keys(&state).await)
}

pub(crate) async fn stats(state: Data<AppState>) -> Answer {
    done(administration::stats(&state).await)
}

/// Whether only to count.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeQuery {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn purge(state: Data<AppState>, query: Query<PurgeQuery>) -> Answer {
    done(administration::purge(&state, query.dry_run).await)
}

/// Bytes of a backup that are sent in one piece, about.
const PIECE: usize = 64 * 1024;

/// Everything that is stored, as the lines of a backup. Its last line has the checksum of the others, so that one that is cut
/// off is noticed.
pub(crate) async fn backup(state: Data<AppState>) -> HttpResponse {
    let backup = Backup::new(state.store.clone(), state.clock.now());
    let pieces = stream::try_unfold(backup, |mut backup| async move {
        let mut piece = String::new();
        while piece.len() < PIECE {
            match backup.next_line().await {
                Ok(Some(line)) => piece.push_str(&line),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "a backup was not finished");
                    return Err(error);
                }
            }
        }
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), backup)))
    });
    error::private_json(StatusCode::OK)
        .content_type("application/x-ndjson")
        .streaming(pieces)
}

fn ended(outcome: Result<(), AdminError>, path: Path<String>) -> Answer {
    let ended = vec![path.into_inner()];
    done(outcome.map(|()| Ended { ended }))
}

/// A query that is none of ours.
#[expect(clippy::needless_pass_by_value, reason = "actix hands it over so")]
pub(crate) fn bad_query(
    problem: actix_web::error::QueryPayloadError,
    _: &HttpRequest,
) -> actix_web::Error {
    Refused::from(error::json(ErrorCode::InvalidRequest, &problem.to_string())).into()
}
