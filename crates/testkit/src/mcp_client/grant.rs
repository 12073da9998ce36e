//! From the authorization URL to tokens, and what is done with them later.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::session::Session;
use super::{Registered, text};
use crate::person::Person;

/// A verifier (RFC 7636) and the `state` that goes with it. Unique in a test run, recognisable in a log, not secret.
#[derive(Debug, Clone)]
pub struct Pkce {
    /// Sent at the token endpoint.
    pub verifier: String,
    /// Sent at the authorization endpoint and back.
    pub state: String,
}

impl Pkce {
    fn fresh() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{number}", std::process::id());
        Self {
            verifier: format!("testkit-verifier-{unique}-0123456789-0123456789-0123456789"),
            state: format!("testkit-state-{unique}"),
        }
    }

    /// The S256 challenge.
    #[must_use]
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

/// The tokens of an answer of the token endpoint.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For `Authorization: Bearer`.
    pub access: String,
    /// For the next refresh.
    pub refresh: String,
    /// The whole answer.
    pub answer: Value,
}

impl Registered {
    /// The URL that the client opens in the browser, and what it must remember.
    ///
    /// # Errors
    ///
    /// If the server advertises no authorization endpoint.
    pub fn authorization_url(&self) -> Result<(Url, Pkce)> {
        let pkce = Pkce::fresh();
        let url = Url::parse_with_params(
            self.discovered.endpoint("authorization_endpoint")?,
            [
                ("response_type", "code"),
                ("client_id", self.client_id()?),
                ("redirect_uri", self.redirect_uri.as_str()),
                ("state", &pkce.state),
                ("code_challenge", &pkce.challenge()),
                ("code_challenge_method", "S256"),
                ("resource", self.discovered.client.url.as_str()),
            ],
        )?;
        Ok((url, pkce))
    }

    /// Lets the person approve and sign in, and checks `state` and `iss` of the answer.
    ///
    /// # Errors
    ///
    /// If the answer is an error, or does not belong to this request.
    pub async fn authorize(self, person: &Person) -> Result<Authorized> {
        let (url, pkce) = self.authorization_url()?;
        let back = person.approve(&url, &self.redirect_uri).await?;
        self.returned(pkce, &back)
    }

    /// Takes the address that the browser brought back.
    ///
    /// # Errors
    ///
    /// If it is an error, or does not belong to this request.
    pub fn returned(self, pkce: Pkce, back: &Url) -> Result<Authorized> {
        if let Some(error) = parameter(back, "error") {
            bail!("the authorization server answers {error}: {back}");
        }
        let state = parameter(back, "state");
        ensure!(
            state.as_ref() == Some(&pkce.state),
            "state is {state:?} in {back}"
        );
        let issuer = parameter(back, "iss");
        ensure!(
            issuer.as_deref() == Some(self.discovered.endpoint("issuer")?),
            "iss is {issuer:?} in {back}"
        );
        let code = parameter(back, "code").with_context(|| format!("no code in {back}"))?;
        Ok(Authorized {
            registered: self,
            pkce,
            code,
        })
    }

    /// Sends a form to the token endpoint: status and JSON. A confidential client authenticates with Basic.
    ///
    /// # Errors
    ///
    /// If the answer is not JSON.
    pub async fn token_request(&self, form: &[(&str, &str)]) -> Result<(StatusCode, Value)> {
        self.post_form("token_endpoint", form).await
    }

    async fn post_form(
        &self,
        endpoint: &str,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Value)> {
        let url = self.discovered.endpoint(endpoint)?;
        let mut request = self.discovered.client.http.post(url);
        let mut form = form.to_vec();
        match text(&self.registration, "client_secret") {
            Ok(secret) => request = request.basic_auth(self.client_id()?, Some(secret)),
            Err(_) => form.push(("client_id", self.client_id()?)),
        }
        let response = request.form(&form).send().await?;
        let status = response.status();
        let body = response.text().await?;
        let answer = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&body).with_context(|| format!("{url}: {status} {body}"))?
        };
        Ok((status, answer))
    }
}

/// A parameter of a URL's query.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// A client that holds a code.
#[derive(Debug, Clone)]
pub struct Authorized {
    /// The client.
    pub registered: Registered,
    /// What it remembered.
    pub pkce: Pkce,
    /// The code.
    pub code: String,
}

impl Authorized {
    /// The form of the token request.
    #[must_use]
    pub fn form(&self) -> Vec<(&str, &str)> {
        vec![
            ("grant_type", "authorization_code"),
            ("code", &self.code),
            ("code_verifier", &self.pkce.verifier),
            ("redirect_uri", self.registered.redirect_uri.as_str()),
            ("resource", self.registered.discovered.client.url.as_str()),
        ]
    }

    /// Redeems the code.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub async fn token(self) -> Result<Granted> {
        let (status, answer) = self.registered.token_request(&self.form()).await?;
        Ok(Granted {
            tokens: tokens(status, answer)?,
            registered: self.registered,
        })
    }
}

fn tokens(status: StatusCode, answer: Value) -> Result<Tokens> {
    ensure!(
        status == StatusCode::OK,
        "token endpoint: {status} {answer}"
    );
    ensure!(
        text(&answer, "token_type")?.eq_ignore_ascii_case("bearer"),
        "{answer}"
    );
    Ok(Tokens {
        access: text(&answer, "access_token")?.to_owned(),
        refresh: text(&answer, "refresh_token")?.to_owned(),
        answer,
    })
}

/// A client that is signed in.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The client.
    pub registered: Registered,
    /// Its tokens.
    pub tokens: Tokens,
}

impl Granted {
    /// Refreshes: the old tokens are replaced.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub async fn refresh(&mut self) -> Result<()> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", self.tokens.refresh.as_str()),
        ];
        let (status, answer) = self.registered.token_request(&form).await?;
        self.tokens = tokens(status, answer)?;
        Ok(())
    }

    /// Revokes the refresh token, and with it the whole grant (RFC 7009 section 2.1).
    ///
    /// # Errors
    ///
    /// If the answer is not 200.
    pub async fn revoke(&self) -> Result<()> {
        let form = [
            ("token", self.tokens.refresh.as_str()),
            ("token_type_hint", "refresh_token"),
        ];
        let (status, answer) = self
            .registered
            .post_form("revocation_endpoint", &form)
            .await?;
        ensure!(status == StatusCode::OK, "revocation: {status} {answer}");
        Ok(())
    }

    /// Opens an MCP session with the access token.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn session(&self) -> Result<Session> {
        let client = &self.registered.discovered.client;
        Session::open(client.http.clone(), client.url.clone(), &self.tokens.access).await
    }

    /// The status of an `initialize` with an access token (this client's, an old one, a forged one).
    ///
    /// # Errors
    ///
    /// If nobody answers.
    pub async fn status_with(&self, access_token: &str) -> Result<StatusCode> {
        let client = &self.registered.discovered.client;
        let request =
            super::session::initialize_request(&client.http, &client.url, Some(access_token));
        Ok(request.send().await?.status())
    }
}
