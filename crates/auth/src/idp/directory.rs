//! GitHub, asked with the operator's own token whether somebody still is a member.
//!
//! The token needs to read organisations only (`read:org`). It is the operator's, not a person's: those are never kept.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chassis::config::Secret;
use oauth::Subject;
use reqwest::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::answer::{self, AnswerError};
use super::github::endpoint;

/// How long the questions about one person may take together: a client is waiting for its tokens.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// After a failure nothing is asked for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// GitHub's members, as the operator may see them.
pub(crate) struct Directory {
    http: reqwest::Client,
    api_url: Url,
    token: Secret,
    failed_at: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Directory({})", self.api_url)
    }
}

/// Why GitHub did not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("it did not answer within {} seconds", TIME_LIMIT.as_secs())]
    Late,
    #[error("it failed a moment ago and is asked again in half a minute")]
    Silent,
    #[error(
        "it answered {0}; GITHUB_ORG_TOKEN must be able to read the members of the listed organisations"
    )]
    Refused(StatusCode),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

/// Of an organisation or a team; an invitation that was not accepted is `pending`.
#[derive(Deserialize)]
struct Membership {
    state: String,
    user: Option<User>,
}

impl Directory {
    pub(crate) fn new(api_url: Url, token: Secret) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("mcp-oauth-gateway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME_LIMIT)
            .build()?;
        Ok(Self {
            http,
            api_url,
            token,
            failed_at: Mutex::new(None),
        })
    }

    /// Whether the person still is a member of one of these organisations (`acme`) or teams (`acme/robots`).
    pub(crate) async fn is_member(
        &self,
        subject: &Subject,
        entries: &BTreeSet<String>,
    ) -> Result<bool, DirectoryError> {
        if self.is_silent() {
            return Err(DirectoryError::Silent);
        }
        let asked = tokio::time::timeout(TIME_LIMIT, self.ask_about(subject, entries)).await;
        let answered = asked.unwrap_or(Err(DirectoryError::Late));
        self.note(answered.is_ok());
        answered
    }

    async fn ask_about(
        &self,
        subject: &Subject,
        entries: &BTreeSet<String>,
    ) -> Result<bool, DirectoryError> {
        let Some(id) = subject
            .as_str()
            .strip_prefix("github:")
            .and_then(|id| id.parse::<u64>().ok())
        else {
            return Ok(false);
        };
        // The lists go by name, and a name may have become somebody else's.
        let Some(user) = self.ask::<User>(&["user", &id.to_string()]).await? else {
            return Ok(false);
        };
        for entry in entries {
            let membership: Option<Membership> = match entry.split_once('/') {
                Some((organisation, team)) => {
                    let path = [
                        "orgs",
                        organisation,
                        "teams",
                        team,
                        "memberships",
                        &user.login,
                    ];
                    self.ask(&path).await?
                }
                None => {
                    self.ask(&["orgs", entry, "memberships", &user.login])
                        .await?
                }
            };
            let is_theirs = |membership: &Membership| {
                let is_same = membership.user.as_ref().is_none_or(|user| user.id == id);
                membership.state == "active" && is_same
            };
            if user.id == id && membership.as_ref().is_some_and(is_theirs) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `None`: there is no such thing.
    async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, DirectoryError> {
        let mut url = endpoint(&self.api_url, "");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let response = self
            .http
            .get(url)
            .header(header::ACCEPT, "application/vnd.github+json")
            .bearer_auth(self.token.expose())
            .send()
            .await
            .map_err(|error| AnswerError::Network(error.without_url().to_string()))?;
        match response.status() {
            StatusCode::OK => Ok(Some(answer::json(response, ANSWER_LIMIT).await?)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(DirectoryError::Refused(status)),
        }
    }

    fn is_silent(&self) -> bool {
        let failed_at = self
            .failed_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < SILENCE)
    }

    fn note(&self, is_well: bool) {
        let mut failed_at = self
            .failed_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *failed_at = (!is_well).then(Instant::now);
    }
}
