//! An MCP client that knows only the address of a service and finds everything else: the words of the stories.
//!
//! `client.discover().await?.register().await?.authorize(&person).await?.token().await?` as MCP "Authorization" (2025-11-25 and
//! 2026-07-28) describes it: 401 → protected resource metadata (RFC 9728) → authorization server metadata (RFC 8414) →
//! registration (RFC 7591) → authorization code with PKCE (RFC 7636), `resource` (RFC 8707) and `iss` (RFC 9207).

mod grant;
mod session;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use url::Url;

pub use self::grant::{Authorized, Granted, Pkce, Tokens};
pub use self::session::{Messages, Reply, Session};
use crate::network;

/// Where the browser comes back to. Nobody listens: the browser of the tests captures the address.
pub const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";

/// A client of one service.
#[derive(Debug, Clone)]
pub struct McpClient {
    pub(crate) http: reqwest::Client,
    pub(crate) url: Url,
}

impl McpClient {
    /// Knows nothing but the address.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn new(url: Url) -> Result<Self> {
        Ok(Self {
            http: network::http_client()?,
            url,
        })
    }

    /// Asks without a token and follows the 401 to both metadata documents, checking what a strict SDK checks.
    ///
    /// # Errors
    ///
    /// If a document is missing, or two of them disagree.
    pub async fn discover(&self) -> Result<Discovered> {
        let response = session::initialize_request(&self.http, &self.url, None)
            .send()
            .await?;
        ensure!(
            response.status() == StatusCode::UNAUTHORIZED,
            "{} answers {} without a token instead of 401",
            self.url,
            response.status()
        );
        let challenge = response
            .headers()
            .get(WWW_AUTHENTICATE)
            .context("the 401 has no WWW-Authenticate")?
            .to_str()?
            .to_owned();
        let metadata_url = challenge_parameter(&challenge, "resource_metadata")
            .with_context(|| format!("no resource_metadata in {challenge:?}"))?;
        let resource = self.document(&metadata_url).await?;
        ensure!(
            text(&resource, "resource")? == self.url.as_str(),
            "resource of {metadata_url} is not {} but {}",
            self.url,
            text(&resource, "resource")?
        );
        let issuer = resource
            .pointer("/authorization_servers/0")
            .and_then(Value::as_str)
            .with_context(|| format!("no authorization server in {resource}"))?
            .to_owned();
        let server = self
            .document(&format!("{issuer}/.well-known/oauth-authorization-server"))
            .await?;
        ensure!(
            text(&server, "issuer")? == issuer,
            "issuer is not {issuer} but {}",
            text(&server, "issuer")?
        );
        Ok(Discovered {
            client: self.clone(),
            challenge,
            resource,
            server,
        })
    }

    /// Opens a session with a token that was got elsewhere.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn session(&self, access_token: &str) -> Result<Session> {
        Session::open(self.http.clone(), self.url.clone(), access_token).await
    }

    async fn document(&self, url: &str) -> Result<Value> {
        let response = self.http.get(url).send().await?;
        ensure!(
            response.status() == StatusCode::OK,
            "{url}: {}",
            response.status()
        );
        response
            .json()
            .await
            .with_context(|| format!("{url} is not JSON"))
    }
}

/// A parameter of a `WWW-Authenticate: Bearer` challenge.
#[must_use]
pub fn challenge_parameter(challenge: &str, name: &str) -> Option<String> {
    let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
    let rest = challenge.get(start..)?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// A client that has read the metadata.
#[derive(Debug, Clone)]
pub struct Discovered {
    pub(crate) client: McpClient,
    /// The `WWW-Authenticate` of the 401.
    pub challenge: String,
    /// The protected resource metadata.
    pub resource: Value,
    /// The authorization server metadata.
    pub server: Value,
}

impl Discovered {
    /// An address from the authorization server metadata, such as `token_endpoint`.
    ///
    /// # Errors
    ///
    /// If it is not advertised.
    pub fn endpoint(&self, name: &str) -> Result<&str> {
        text(&self.server, name)
    }

    /// Registers a public client, as Claude Code does.
    ///
    /// # Errors
    ///
    /// If registration is refused.
    pub async fn register(self) -> Result<Registered> {
        self.register_with(json!({
            "client_name": "A client of the tests",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }))
        .await
    }

    /// Registers with other metadata; the first redirect URI is used afterwards.
    ///
    /// # Errors
    ///
    /// If registration is refused.
    pub async fn register_with(self, metadata: Value) -> Result<Registered> {
        let endpoint = self.endpoint("registration_endpoint")?;
        let response = self
            .client
            .http
            .post(endpoint)
            .json(&metadata)
            .send()
            .await?;
        let status = response.status();
        let registration: Value = response.json().await?;
        if status != StatusCode::CREATED {
            bail!("registration: {status} {registration}");
        }
        let redirect_uri = registration
            .pointer("/redirect_uris/0")
            .and_then(Value::as_str)
            .context("registration without redirect_uris")?
            .parse()?;
        Ok(Registered {
            discovered: self,
            redirect_uri,
            registration,
        })
    }
}

/// A client with an id.
#[derive(Debug, Clone)]
pub struct Registered {
    pub(crate) discovered: Discovered,
    /// Where the browser comes back to.
    pub redirect_uri: Url,
    /// The answer of the registration.
    pub registration: Value,
}

impl Registered {
    /// Its `client_id`.
    ///
    /// # Errors
    ///
    /// If the registration has none.
    pub fn client_id(&self) -> Result<&str> {
        text(&self.registration, "client_id")
    }
}

pub(crate) fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str> {
    object
        .get(name)
        .and_then(Value::as_str)
        .with_context(|| format!("no {name} in {object}"))
}
