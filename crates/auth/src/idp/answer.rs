//! Answers of identity providers, read in bounds.

use serde::de::DeserializeOwned;

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
