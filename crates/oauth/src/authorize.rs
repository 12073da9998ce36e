//! What a client asks of `/authorize` (OAuth 2.1 section 4.1.1), and where a refusal may be told.
//!
//! The order is the security: first the client and its redirect URI, and a mistake there is told to the person on a page.
//! Only then is there an address to which anything may be sent.

use serde::{Deserialize, Serialize};

use crate::ErrorCode;
use crate::client_metadata::ClientMetadata;
use crate::device::{DeviceAuthorization, UserCode};
use crate::entropy::Entropy;
use crate::id::{ClientId, ServiceName};
use crate::pkce::CodeChallenge;
use crate::redirect::RedirectUri;
use crate::rules::Rules;
use crate::scope::ScopeSet;

/// Whether the person is asked (`prompt`, OpenID Connect Core section 3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// Unless they agreed to the same before and wanted it remembered.
    IfNeeded,
    /// In any case.
    Always,
    /// In no case: what needs an answer fails.
    Never,
}

/// Longest `state` that is carried, in bytes.
pub const MAX_STATE: usize = 2048;

/// The parameters as they came: each at most once, empty ones absent.
#[derive(Debug, Clone, Default)]
pub struct AuthorizeParams {
    client_id: Option<String>,
    redirect_uri: Option<String>,
    response_type: Option<String>,
    response_mode: Option<String>,
    state: Option<String>,
    scope: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    prompt: Option<String>,
    resource: Vec<String>,
    /// Names that came more than once.
    repeated: Vec<&'static str>,
}

/// A complete, checked request. It exists only after [`AuthorizeParams::check`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthorizeRequest {
    /// Who asks.
    pub client_id: ClientId,
    /// Where the answer goes, exactly as requested.
    pub redirect_uri: RedirectUri,
    /// Carried back unchanged.
    pub state: Option<String>,
    /// Scopes that will be granted if the person agrees.
    pub scope: ScopeSet,
    /// PKCE challenge, S256.
    pub code_challenge: CodeChallenge,
    /// The service that tokens will be for.
    pub service: ServiceName,
    /// The code of the device that asks, if no browser does (RFC 8628).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<UserCode>,
}

impl AuthorizeRequest {
    /// What a person is asked for a device. There is no address to send the browser to, and no code that anybody could redeem.
    #[must_use]
    pub fn of_device(
        user_code: UserCode,
        device: &DeviceAuthorization,
        entropy: &dyn Entropy,
    ) -> Self {
        Self {
            client_id: device.client_id.clone(),
            redirect_uri: RedirectUri::of_device(),
            state: None,
            scope: device.scope.clone(),
            code_challenge: CodeChallenge::of_nothing(entropy),
            service: device.service.clone(),
            device: Some(user_code),
        }
    }
}

/// A mistake that must be told to the person, because the address to tell the client is not established.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No `client_id`, or twice.
    #[error(
        "The application did not say which application it is (client_id is missing or repeated)."
    )]
    ClientIdMissing,
    /// The `client_id` is not registered here, or not any more.
    #[error(
        "This server does not know the application {0:?}. Its registration may have ended. In the application, remove this server (or clear its stored sign-in) and connect again."
    )]
    UnknownClient(String),
    /// No `redirect_uri`, or twice.
    #[error(
        "The application did not say where to return to (redirect_uri is missing or repeated)."
    )]
    RedirectMissing,
    /// The `redirect_uri` is none of the client's.
    #[error(
        "The application wants to return to an address that it has not registered: {0:?}. Nothing was sent there."
    )]
    RedirectMismatch(String),
}

/// A mistake that is told to the client at its redirect URI (RFC 6749 section 4.1.2.1, RFC 9207).
#[derive(Debug, Clone)]
pub struct RedirectError {
    /// The established address.
    pub redirect_uri: RedirectUri,
    /// Carried back unchanged.
    pub state: Option<String>,
    /// What is wrong.
    pub code: ErrorCode,
    /// What is wrong, for the developer of the client.
    pub description: String,
}

impl RedirectError {
    /// The address with `error`, `error_description`, `state` and `iss`.
    #[must_use]
    pub fn location(&self, issuer: &str) -> String {
        let description = crate::error::description(&self.description);
        let mut parameters = vec![
            ("error", self.code.as_str()),
            ("error_description", &description),
        ];
        if let Some(state) = &self.state {
            parameters.push(("state", state));
        }
        parameters.push(("iss", issuer));
        self.redirect_uri.with_query(&parameters)
    }
}

impl AuthorizeParams {
    /// Sorts the decoded pairs of the query. Unknown parameters are ignored (RFC 6749 section 3.1).
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut params = Self::default();
        for (name, value) in pairs {
            if value.is_empty() {
                continue;
            }
            let (slot, name) = match name.as_str() {
                "client_id" => (&mut params.client_id, "client_id"),
                "redirect_uri" => (&mut params.redirect_uri, "redirect_uri"),
                "response_type" => (&mut params.response_type, "response_type"),
                "response_mode" => (&mut params.response_mode, "response_mode"),
                "state" => (&mut params.state, "state"),
                "scope" => (&mut params.scope, "scope"),
                "code_challenge" => (&mut params.code_challenge, "code_challenge"),
                "code_challenge_method" => {
                    (&mut params.code_challenge_method, "code_challenge_method")
                }
                "prompt" => (&mut params.prompt, "prompt"),
                "resource" => {
                    params.resource.push(value);
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value).is_some() {
                params.repeated.push(name);
            }
        }
        params
    }

    /// The client that must be looked up first.
    pub fn client_id(&self) -> Result<ClientId, PageError> {
        if self.repeated.contains(&"client_id") {
            return Err(PageError::ClientIdMissing);
        }
        let text = self
            .client_id
            .as_deref()
            .ok_or(PageError::ClientIdMissing)?;
        ClientId::parse(text).map_err(|error| PageError::UnknownClient(error.value))
    }

    /// The established address: requested, and registered by this client.
    pub fn redirect_uri(&self, metadata: &ClientMetadata) -> Result<RedirectUri, PageError> {
        if self.repeated.contains(&"redirect_uri") {
            return Err(PageError::RedirectMissing);
        }
        let text = self
            .redirect_uri
            .as_deref()
            .ok_or(PageError::RedirectMissing)?;
        let mismatch = || PageError::RedirectMismatch(text.chars().take(256).collect());
        if !metadata.admits_redirect(text) {
            return Err(mismatch());
        }
        RedirectUri::parse(text).map_err(|_| mismatch())
    }

    /// Whether the person is asked. A value that is not known here is one more reason to ask.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        match self.prompt.as_deref().map(str::trim) {
            None => Prompt::IfNeeded,
            Some("none") => Prompt::Never,
            Some(_) => Prompt::Always,
        }
    }

    /// Checks everything else. Scopes that are not to be had are dropped, not refused (RFC 6749 section 3.3 lets a server do
    /// so and tell what it granted): clients repeat what other servers taught them. What the service needs is always there.
    pub fn check(
        self,
        client_id: ClientId,
        redirect_uri: &RedirectUri,
        metadata: &ClientMetadata,
        rules: &Rules,
    ) -> Result<AuthorizeRequest, RedirectError> {
        let state = self.state.clone().filter(|state| state.len() <= MAX_STATE);
        let refuse = |code, description: String| RedirectError {
            redirect_uri: redirect_uri.clone(),
            state: state.clone(),
            code,
            description,
        };
        if !metadata.may_use_codes() {
            return Err(refuse(
                ErrorCode::UnauthorizedClient,
                "the client did not register the grant authorization_code".to_owned(),
            ));
        }
        self.check_shape()
            .map_err(|(code, text)| refuse(code, text.to_owned()))?;
        let code_challenge =
            CodeChallenge::parse(self.code_challenge.as_deref().unwrap_or_default())
                .map_err(|error| refuse(ErrorCode::InvalidRequest, error.to_string()))?;
        let service = self
            .service(rules)
            .map_err(|text| refuse(ErrorCode::InvalidTarget, text))?;
        let asked = ScopeSet::parse(self.scope.as_deref().unwrap_or_default())
            .map_err(|error| refuse(ErrorCode::InvalidScope, error.to_string()))?;
        let scope = rules.granted_scopes(&service, &asked, &metadata.scope);
        Ok(AuthorizeRequest {
            client_id,
            redirect_uri: redirect_uri.clone(),
            state: state.clone(),
            scope,
            code_challenge,
            service,
            device: None,
        })
    }

    fn check_shape(&self) -> Result<(), (ErrorCode, &'static str)> {
        if !self.repeated.is_empty() {
            return Err((ErrorCode::InvalidRequest, "a parameter is repeated"));
        }
        if self
            .state
            .as_ref()
            .is_some_and(|state| state.len() > MAX_STATE)
        {
            return Err((
                ErrorCode::InvalidRequest,
                "state may have at most 2048 bytes",
            ));
        }
        match self.response_type.as_deref() {
            Some("code") => {}
            None => {
                return Err((
                    ErrorCode::InvalidRequest,
                    "response_type is missing; it must be code",
                ));
            }
            Some(_) => {
                return Err((
                    ErrorCode::UnsupportedResponseType,
                    "response_type must be code",
                ));
            }
        }
        if !matches!(self.response_mode.as_deref(), None | Some("query")) {
            return Err((ErrorCode::InvalidRequest, "response_mode must be query"));
        }
        let mut prompts = self.prompt.iter().flat_map(|text| text.split_whitespace());
        if self.prompt() != Prompt::Never && prompts.any(|prompt| prompt == "none") {
            return Err((
                ErrorCode::InvalidRequest,
                "prompt=none goes together with nothing else",
            ));
        }
        if self.code_challenge.is_none() {
            return Err((
                ErrorCode::InvalidRequest,
                "code_challenge is missing; PKCE is required",
            ));
        }
        if self.code_challenge_method.as_deref() != Some("S256") {
            return Err((
                ErrorCode::InvalidRequest,
                "code_challenge_method must be S256",
            ));
        }
        Ok(())
    }

    /// The one service that is asked for. Without `resource` it is clear only when there is one service.
    fn service(&self, rules: &Rules) -> Result<ServiceName, String> {
        let mut services = self
            .resource
            .iter()
            .map(|resource| protected_service(resource, rules));
        let Some(first) = services.next().transpose()? else {
            let services = rules.sites().services();
            let mut all = services.filter(|service| !rules.is_public(service));
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(only.clone()),
                _ => Err("resource is missing; name the URL of the MCP server".to_owned()),
            };
        };
        for other in services {
            if other? != first {
                return Err("a token is for one resource; ask for one at a time".to_owned());
            }
        }
        Ok(first.clone())
    }
}

/// The service that a `resource` parameter names, if tokens are issued for it (RFC 8707 section 2). The error is a description
/// for `invalid_target`.
pub fn protected_service<'a>(resource: &str, rules: &'a Rules) -> Result<&'a ServiceName, String> {
    let shown = || resource.chars().take(128).collect::<String>();
    match rules.sites().service_of_resource(resource) {
        None => Err(format!(
            "resource {} is not a service of this gateway",
            shown()
        )),
        Some(service) if rules.is_public(service) => Err(format!(
            "resource {} needs no token: it is open to everybody",
            shown()
        )),
        Some(service) => Ok(service),
    }
}
