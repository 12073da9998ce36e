//! Answers of identity providers, read in bounds.

use std::time::Duration;

use reqwest::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ProviderError;

/// Most bytes of the answer that says why something is refused.
const REFUSAL_LIMIT: usize = 4 * 1024;

/// Why an answer cannot be used. The texts carry no address, which may hold a code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// It did not come, or not whole.
    #[error("{0}")]
    Network(String),
    /// It is longer than it may be, in bytes.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It is not the JSON that was expected; what it is instead is not told.
    #[error("the answer is not the JSON that was expected (line {0}, column {1})")]
    NotJson(usize, usize),
}

/// Reads at most `limit` bytes of JSON.
pub(crate) async fn json<T: DeserializeOwned>(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<T, AnswerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| AnswerError::Network(error.without_url().to_string()))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(AnswerError::TooLong(limit));
        }
    }
    serde_json::from_slice(&body)
        .map_err(|error| AnswerError::NotJson(error.line(), error.column()))
}

impl From<AnswerError> for ProviderError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Network(why) => Self::unavailable(why),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

/// An error of OAuth (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Sends a request and reads at most `limit` bytes of JSON. Errors never carry the URL, which may hold a code.
pub(crate) async fn ask<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
    limit: usize,
) -> Result<T, ProviderError> {
    let response = request
        .send()
        .await
        .map_err(|error| ProviderError::unavailable(error.without_url().to_string()))?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // A rate limit of GitHub is a 429, or a 403 with Retry-After.
    let is_limited = status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && retry_after.is_some());
    if is_limited || status.is_server_error() {
        return Err(ProviderError::Unavailable {
            why: format!("status {status}"),
            retry_after,
        });
    }
    if !status.is_success() {
        let refusal: Option<Refusal> = json(response, REFUSAL_LIMIT).await.ok();
        let code = refusal.map_or_else(String::new, |refusal| {
            format!(", {}", oauth::error::description(&refusal.error))
        });
        return Err(ProviderError::Refused(format!("status {status}{code}")));
    }
    Ok(json(response, limit).await?)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); dates are not read.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}
