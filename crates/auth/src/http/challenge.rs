//! The refusals of `/verify`, made once for each service: whoever shows a bad token shows it again, and to refuse it must not cost
//! more than to admit a good one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Bytes;
use arc_swap::ArcSwapOption;
use oauth::rules::Rules;
use oauth::{ErrorCode, ServiceName};

use super::error;
use crate::app::AppState;

/// Why a request does not come in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Challenge {
    /// 401 with the way to a token (RFC 6750 section 3, RFC 9728 section 5.1).
    NoToken,
    /// 401, and that the token is not good (RFC 6750 section 3.1).
    InvalidToken,
    /// 403 with the scopes that are needed (RFC 6750 section 3.1).
    InsufficientScope,
}

impl Challenge {
    const ALL: [Self; 3] = [Self::NoToken, Self::InvalidToken, Self::InsufficientScope];

    /// The code in the body and the text beside it.
    const fn told(self) -> (ErrorCode, &'static str) {
        match self {
            Self::NoToken => (
                ErrorCode::InvalidToken,
                "an access token is needed; resource_metadata tells where to get one",
            ),
            Self::InvalidToken => (
                ErrorCode::InvalidToken,
                "the access token is malformed, expired or revoked, or is for another service",
            ),
            Self::InsufficientScope => (
                ErrorCode::InsufficientScope,
                "the access token does not have all the scopes that this service needs; ask for those in the challenge",
            ),
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
        }
    }

    fn body(self) -> Bytes {
        static BODIES: LazyLock<[Bytes; 3]> = LazyLock::new(|| {
            Challenge::ALL.map(|challenge| {
                let (code, text) = challenge.told();
                error::body(code.as_str(), text)
            })
        });
        let [no_token, invalid_token, insufficient_scope] = &*BODIES;
        match self {
            Self::NoToken => no_token.clone(),
            Self::InvalidToken => invalid_token.clone(),
            Self::InsufficientScope => insufficient_scope.clone(),
        }
    }
}

/// The challenges of each service under the rules as they were when they were made.
#[derive(Default)]
pub(crate) struct Challenges(ArcSwapOption<Prepared>);

struct Prepared {
    rules: Arc<Rules>,
    of_services: HashMap<ServiceName, [HeaderValue; 3]>,
}

impl Prepared {
    fn new(rules: &Arc<Rules>) -> Self {
        let of_service = |service: &ServiceName| {
            let metadata = rules.sites().resource_metadata(service);
            let scope = rules.needed_scopes(service);
            let way = format!("resource_metadata=\"{metadata}\", scope=\"{scope}\"");
            let values = [
                format!("Bearer {way}"),
                format!("Bearer error=\"invalid_token\", {way}"),
                format!("Bearer error=\"insufficient_scope\", {way}"),
            ];
            // Names and scopes are ASCII; without the way there still is the scheme.
            let values = values.map(|value| {
                HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("Bearer"))
            });
            (service.clone(), values)
        };
        Self {
            rules: Arc::clone(rules),
            of_services: rules.sites().services().map(of_service).collect(),
        }
    }

    fn value(&self, service: &ServiceName, challenge: Challenge) -> Option<HeaderValue> {
        let values = self.of_services.get(service)?;
        values.get(challenge as usize).cloned()
    }
}

/// Refuses a request to a service.
pub(crate) fn refuse(
    state: &AppState,
    service: &ServiceName,
    challenge: Challenge,
) -> HttpResponse {
    let mut response = HttpResponse::build(challenge.status());
    response
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if let Some(value) = state.challenges.value(state, service, challenge) {
        response.insert_header((WWW_AUTHENTICATE, value));
    }
    response.body(challenge.body())
}

impl Challenges {
    fn value(
        &self,
        state: &AppState,
        service: &ServiceName,
        challenge: Challenge,
    ) -> Option<HeaderValue> {
        let rules = state.policy.rules();
        let prepared = self.0.load();
        let is_current = |prepared: &&Arc<Prepared>| Arc::ptr_eq(&prepared.rules, &rules);
        if let Some(prepared) = prepared.as_ref().filter(is_current) {
            return prepared.value(service, challenge);
        }
        let prepared = Arc::new(Prepared::new(&rules));
        self.0.store(Some(Arc::clone(&prepared)));
        prepared.value(service, challenge)
    }
}
