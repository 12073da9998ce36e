//! The name of an HTTP request, by which its answer and what the log says of it find each other.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use chassis::telemetry::{REQUEST_ID_HEADER, is_request_id};

use crate::http::origin::single;

/// `X-Request-ID`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_HEADER);

/// What our own ids begin with: another one for each process.
static PROCESS: LazyLock<u32> = LazyLock::new(|| {
    let mut bytes = [0; 4];
    #[expect(
        clippy::disallowed_methods,
        reason = "it tells processes apart and has no use for a repeatable source"
    )]
    // Without random bits the ids of two processes may be equal, and nothing else is wrong.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
});
static LAST: AtomicU64 = AtomicU64::new(0);

/// The id of a request. Nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// The client, or a proxy before us, gave it.
    Given(HeaderValue),
    /// It is ours: the number of the request.
    Ours(u64),
}

impl RequestId {
    /// The one that came with the request, if it is one and at most 128 visible ASCII characters; else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let given = single(headers, &REQUEST_ID).ok().flatten();
        match given.filter(|id| is_request_id(id)) {
            Some(id) => HeaderValue::from_str(id).map_or_else(|_| Self::new(), Self::Given),
            None => Self::new(),
        }
    }

    fn new() -> Self {
        Self::Ours(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// As the value of `X-Request-ID`.
    #[must_use]
    pub fn as_header(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            Self::Ours(_) => HeaderValue::try_from(self.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("-")),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => formatter.write_str(value.to_str().unwrap_or("-")),
            Self::Ours(number) => write!(formatter, "{:08x}-{number:x}", *PROCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_id_is_taken_over_and_any_other_replaced() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(REQUEST_ID, value.parse().unwrap());
            }
            RequestId::of(&headers)
        };
        assert_eq!(of(&["abc-1"]).to_string(), "abc-1");
        assert_eq!(of(&["abc-1"]).as_header(), "abc-1");
        for wrong in [&[][..], &[""], &["a", "a"], &["a b"], &[&"a".repeat(129)]] {
            let (one, two) = (of(wrong), of(wrong));
            assert!(matches!(one, RequestId::Ours(_)), "{wrong:?}");
            assert_ne!(one, two);
            assert_eq!(one.as_header(), one.to_string());
        }
    }
}
