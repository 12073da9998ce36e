//! The one mapping from a refusal to an answer: status, JSON-RPC error, headers.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder};

use chassis::telemetry::untrusted;

use crate::children::NoChild;
use crate::http::named::Reason;
use crate::http::origin::Forbidden;
use crate::identity::NoIdentity;
use crate::jsonrpc::{Malformed, code, error_response};
use crate::session::Refused;
use crate::sessions::NotOpened;
use crate::stdin::SendError;
use crate::version::Version;

/// After how many seconds a client may try again when something is full.
const TRY_AGAIN: u64 = 5;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The other side of the connection may not say who calls.
    #[error("forbidden: this service answers only to its gateway")]
    NotFromGateway,
    /// `Host` or `Origin`.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No identity, or a broken one.
    #[error(transparent)]
    NoIdentity(#[from] NoIdentity),
    /// No such path.
    #[error("not found: the MCP endpoint is /mcp")]
    NotFound,
    /// Another method than the endpoint knows.
    #[error("method not allowed: the MCP endpoint takes POST, GET and DELETE")]
    MethodNotAllowed,
    /// GET or DELETE in a revision without them.
    #[error("method not allowed: in this revision of MCP the endpoint takes POST only")]
    PostOnly,
    /// `Accept` allows no answer of ours.
    #[error("not acceptable: the client must accept application/json and text/event-stream")]
    NotAcceptable,
    /// `Content-Type`.
    #[error("unsupported media type: the body must be application/json in UTF-8")]
    NotJson,
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body broke off.
    #[error("the body could not be read")]
    BrokenBody,
    /// The body took too long.
    #[error("the body did not arrive in time")]
    SlowBody,
    /// Other large bodies have all the room.
    #[error("too many large messages are on their way to this service; try again later")]
    NoRoom,
    /// The body is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message that is not allowed here.
    #[error("{0}")]
    BadRequest(&'static str),
    /// A header came twice or is not text.
    #[error("the header {0} must be there at most once and be plain text")]
    BadHeader(&'static str),
    /// The version in `MCP-Protocol-Version` is none of ours.
    #[error("Unsupported protocol version")]
    UnsupportedVersion {
        /// What was asked for.
        requested: String,
        /// What is there.
        supported: Vec<Version>,
    },
    /// The rules do not let this person call this tool.
    #[error("the tool `{}` is not allowed for you on this service", untrusted(.0))]
    ToolNotAllowed(String),
    /// No session id where one is needed.
    #[error("the Mcp-Session-Id header is missing: begin with initialize")]
    SessionMissing,
    /// No such session, or somebody else's.
    #[error("session not found: begin a new one with initialize")]
    SessionUnknown,
    /// `Last-Event-ID` names no event.
    #[error("the Last-Event-ID header names no event of this session")]
    EventUnknown,
    /// No session was opened.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// The session takes no message.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The headers of a modern request are not what its body says.
    #[error("Header mismatch: {0}")]
    HeaderMismatch(String),
    /// Parameters that every modern request must have.
    #[error("Invalid params: {0}")]
    InvalidParams(&'static str),
    /// A method this revision does not have.
    #[error("Method not found: {0}")]
    UnknownMethod(String),
    /// The service takes no new requests.
    #[error("the service is stopping; try again later")]
    Stopping,
    /// The child has not answered the probe yet.
    #[error("the MCP server is not ready yet; try again later")]
    NotReady,
    /// No child for a modern request.
    #[error(transparent)]
    NoChild(#[from] NoChild),
    /// As many children are leased as there may be.
    #[error("too many calls are waiting for their clients on this service; try again later")]
    NoLease,
    /// The child of a modern request did not accept the handshake.
    #[error("{0}; try again later")]
    NoHandshake(std::sync::Arc<str>),
    /// The child did not answer `initialize`.
    #[error("the MCP server did not answer initialize in time")]
    InitializeTimeout,
    /// The replica of the session broke off before it answered.
    #[error(
        "the replica that had this session ended before it answered: begin a new one with initialize"
    )]
    ReplicaLost,
    /// The answer will never come: the waiting call was dropped.
    #[error("the MCP server's answer was lost")]
    AnswerLost,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFromGateway | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NoIdentity(NoIdentity::Absent) => StatusCode::UNAUTHORIZED,
            Self::NoIdentity(NoIdentity::Unusable(_)) | Self::AnswerLost => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::NotFound | Self::SessionUnknown | Self::UnknownMethod(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed | Self::PostOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokenBody
            | Self::Malformed(_)
            | Self::BadRequest(_)
            | Self::BadHeader(_)
            | Self::UnsupportedVersion { .. }
            | Self::SessionMissing
            | Self::HeaderMismatch(_)
            | Self::InvalidParams(_)
            | Self::EventUnknown => StatusCode::BAD_REQUEST,
            Self::NotOpened(NotOpened::NoChild(NoChild::TooManyOfSubject))
            | Self::NoChild(NoChild::TooManyOfSubject)
            | Self::Refused(Refused::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotOpened(_)
            | Self::NoChild(_)
            | Self::NotReady
            | Self::NoRoom
            | Self::NoLease
            | Self::NoHandshake(_)
            | Self::Stopping
            | Self::Refused(Refused::Input(SendError::Full)) => StatusCode::SERVICE_UNAVAILABLE,
            // The request was for a session that was there: its answer says how the MCP server ended. A tool that is not
            // allowed is an error of the protocol like an unknown one (MCP, tools, "Error Handling"): the client goes on.
            Self::Refused(Refused::Ended(_) | Refused::Input(SendError::Closed))
            | Self::ToolNotAllowed(_) => StatusCode::OK,
            Self::ReplicaLost => StatusCode::BAD_GATEWAY,
            Self::InitializeTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// After how many seconds a client may try again.
    fn try_again(&self) -> u64 {
        match self {
            Self::NoChild(NoChild::Crashing { again, .. })
            | Self::NotOpened(NotOpened::NoChild(NoChild::Crashing { again, .. })) => {
                again.as_secs() + 1
            }
            _ => TRY_AGAIN,
        }
    }

    fn code(&self) -> i32 {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::BadRequest(_) => code::INVALID_REQUEST,
            Self::UnsupportedVersion { .. } => code::UNSUPPORTED_VERSION,
            Self::HeaderMismatch(_) => code::HEADER_MISMATCH,
            Self::InvalidParams(_) | Self::ToolNotAllowed(_) => code::INVALID_PARAMS,
            Self::UnknownMethod(_) => code::METHOD_NOT_FOUND,
            Self::NotReady
            | Self::Stopping
            | Self::NoLease
            | Self::NoHandshake(_)
            | Self::NoChild(_)
            | Self::NotOpened(_)
            | Self::Refused(_)
            | Self::InitializeTimeout
            | Self::ReplicaLost
            | Self::AnswerLost => code::INTERNAL_ERROR,
            Self::SessionUnknown => code::TIMEOUT,
            _ => code::REFUSED,
        }
    }

    /// What the client is told: nothing of this machine.
    fn message(&self) -> String {
        match self {
            Self::NoChild(NoChild::CannotStart(_))
            | Self::NotOpened(
                NotOpened::NoChild(NoChild::CannotStart(_)) | NotOpened::NoChance(_),
            ) => "the MCP server could not be started; its operator finds the reason in the log"
                .to_owned(),
            other => other.to_string(),
        }
    }

    /// The answer to the request of this raw id.
    #[must_use]
    pub fn answer(&self, id: Option<&str>) -> HttpResponse {
        let status = self.status();
        let mut response = HttpResponse::build(status);
        match self {
            Self::MethodNotAllowed => {
                response.insert_header((ALLOW, "POST, GET, DELETE"));
            }
            Self::PostOnly => {
                response.insert_header((ALLOW, "POST"));
            }
            _ if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) =>
            {
                response.insert_header((RETRY_AFTER, self.try_again()));
            }
            _ => {}
        }
        let mut response = json(response, self.body(id));
        response.extensions_mut().insert(Reason(self.to_string()));
        response
    }

    /// The error response to the request of this raw id.
    #[must_use]
    pub fn body(&self, id: Option<&str>) -> Vec<u8> {
        let data = match self {
            Self::UnsupportedVersion {
                requested,
                supported,
            } => {
                let supported: Vec<&str> =
                    supported.iter().map(|version| version.as_str()).collect();
                Some(serde_json::json!({ "supported": supported, "requested": requested }))
            }
            _ => None,
        };
        error_response(id, self.code(), &self.message(), data.as_ref())
    }
}

/// A JSON answer.
#[must_use]
pub fn json(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    response
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body)
}
