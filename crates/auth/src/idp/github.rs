//! GitHub as identity provider: its web application flow with PKCE.
//!
//! The access token it gives is used for the two or three questions of one sign-in and dropped; it is never stored, logged or
//! handed on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::config::Secret;
use oauth::Subject;
use oauth::identity::Identity;
use oauth::pkce::CodeVerifier;
use oauth::token::DerivationKey;
use reqwest::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::breaker::Breaker;
use super::{ProviderError, SignInState, answer};

/// How long the questions of one sign-in may take together.
const TIME_LIMIT: Duration = Duration::from_secs(6);
/// Rows of a page of a list; GitHub gives no more.
const PAGE: usize = 100;
/// Most pages of a list that are read.
const MAX_PAGES: usize = 10;
/// Most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 512 * 1024;

pub(crate) struct Options {
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) url: Url,
    pub(crate) api_url: Url,
    pub(crate) callback: String,
}

/// GitHub, as configured.
pub(crate) struct GitHub {
    options: Options,
    http: reqwest::Client,
    breaker: Breaker,
}

impl std::fmt::Debug for GitHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GitHub({})", self.options.url)
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Organisation {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Team {
    id: u64,
    slug: String,
    organization: Organisation,
}

impl GitHub {
    pub(crate) fn new(options: Options) -> Result<Self, reqwest::Error> {
        Ok(Self {
            options,
            http: super::http_client()?,
            breaker: Breaker::default(),
        })
    }

    /// Where the browser goes. The PKCE verifier is derived from the state, so it need not be stored.
    pub(crate) fn authorize_url(
        &self,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> String {
        let state = state.expose();
        let challenge = verifier(&state, key).map(|verifier| String::from(verifier.challenge()));
        let mut url = endpoint(&self.options.url, "login/oauth/authorize");
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", &self.options.client_id)
                .append_pair("redirect_uri", &self.options.callback)
                .append_pair("state", &state)
                .append_pair("allow_signup", "false");
            if let Some(challenge) = challenge {
                query
                    .append_pair("code_challenge", &challenge)
                    .append_pair("code_challenge_method", "S256");
            }
            if wants_memberships {
                query.append_pair("scope", "read:org");
            }
        }
        url.into()
    }

    /// How long it is left alone because it is known to be away.
    pub(crate) fn outage(&self) -> Option<Duration> {
        self.breaker.outage(Instant::now())
    }

    /// Exchanges the code of the callback for the person behind it, in at most six seconds; at once while GitHub is known to
    /// be away.
    pub(crate) async fn identify(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> Result<Identity, ProviderError> {
        self.breaker
            .ask(
                TIME_LIMIT,
                self.ask_who(code, state, key, wants_memberships),
            )
            .await
    }

    async fn ask_who(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> Result<Identity, ProviderError> {
        let token = self.exchange(code, state, key).await?;
        let user: User = self.ask("user", &token).await?;
        let owner = |kind: &str, id: u64| {
            Subject::parse(&format!("{kind}:{id}"))
                .map_err(|error| ProviderError::Unexpected(error.to_string()))
        };
        let mut memberships = BTreeMap::new();
        if wants_memberships {
            let organisations: Vec<Organisation> = self.ask_list("user/orgs", &token).await?;
            for organisation in organisations {
                let owner = owner("github-organisation", organisation.id)?;
                memberships.insert(organisation.login.to_lowercase(), Some(owner));
            }
            let teams: Vec<Team> = self.ask_list("user/teams", &token).await?;
            for team in teams {
                let name = format!("{}/{}", team.organization.login, team.slug).to_lowercase();
                memberships.insert(name, Some(owner("github-team", team.id)?));
            }
        }
        let subject = owner("github", user.id)?;
        let is_login = !user.login.is_empty()
            && user.login.len() <= 100
            && user.login.bytes().all(|b| b.is_ascii_graphic());
        if !is_login {
            return Err(ProviderError::Unexpected(
                "a login that is no login".to_owned(),
            ));
        }
        Ok(Identity {
            memberships,
            ..Identity::named(subject, &user.login)
        })
    }

    async fn exchange(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
    ) -> Result<Secret, ProviderError> {
        let verifier = verifier(&state.expose(), key);
        let mut form = vec![
            ("client_id", self.options.client_id.as_str()),
            ("client_secret", self.options.client_secret.expose()),
            ("code", code),
            ("redirect_uri", self.options.callback.as_str()),
        ];
        if let Some(verifier) = &verifier {
            form.push(("code_verifier", verifier.expose()));
        }
        let request = self
            .http
            .post(endpoint(&self.options.url, "login/oauth/access_token"))
            .header(header::ACCEPT, "application/json")
            .form(&form);
        let answer: TokenAnswer = answer::ask(request, ANSWER_LIMIT).await?;
        match (answer.access_token, answer.error) {
            (Some(token), None) if !token.is_empty() => Ok(Secret::new(token)),
            (_, Some(error)) => Err(ProviderError::Refused(oauth::error::description(&error))),
            _ => Err(ProviderError::Unexpected(
                "neither a token nor an error".to_owned(),
            )),
        }
    }

    /// All rows of a list, page by page.
    async fn ask_list<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &Secret,
    ) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        for page in 1..=MAX_PAGES {
            let path = format!("{path}?per_page={PAGE}&page={page}");
            let more: Vec<T> = self.ask(&path, token).await?;
            let is_last = more.len() < PAGE;
            rows.extend(more);
            if is_last {
                break;
            }
        }
        Ok(rows)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &Secret,
    ) -> Result<T, ProviderError> {
        let request = self
            .http
            .get(endpoint(&self.options.api_url, path))
            .header(header::ACCEPT, "application/vnd.github+json")
            .bearer_auth(token.expose());
        answer::ask(request, ANSWER_LIMIT).await
    }
}

pub(super) fn endpoint(base: &Url, path: &str) -> Url {
    let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).unwrap_or_else(|_| base.clone())
}

/// 43 characters of base64url are a verifier (RFC 7636 section 4.1).
fn verifier(state: &str, key: &DerivationKey) -> Option<CodeVerifier> {
    CodeVerifier::parse(&key.derive("github code verifier", state))
}
