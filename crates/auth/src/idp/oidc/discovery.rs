//! Where the provider's endpoints are, and what it can do (OpenID Connect Discovery 1.0).

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use url::Url;

use super::{ANSWER_LIMIT, OidcSettings};
use crate::idp::{ProviderError, answer};
use crate::settings::is_safe_for_secrets;

/// The signatures that count: all asymmetric. `none` and those with a shared secret never do (RFC 8725 section 3.1).
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// How the token endpoint wants to be shown the client secret (OpenID Connect Core section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretBy {
    Basic,
    Post,
}

/// What was discovered, checked.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) secret_by: SecretBy,
    /// Those of ours that it may sign with.
    pub(super) algorithms: Vec<Algorithm>,
    /// It says who it is when it sends a browser back (RFC 9207).
    pub(super) names_itself: bool,
}

/// The members that are looked at (OpenID Connect Discovery section 3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    response_types_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Asks the issuer itself.
pub(super) async fn discover(
    http: &reqwest::Client,
    settings: &OidcSettings,
) -> Result<Metadata, ProviderError> {
    // Section 4.1: a slash at the end is removed before this is appended.
    let url = format!(
        "{}/.well-known/openid-configuration",
        settings.url.as_str().trim_end_matches('/')
    );
    let document: Document = answer::ask(http.get(url), ANSWER_LIMIT).await?;
    check(&document, settings).map_err(ProviderError::Unexpected)
}

fn check(document: &Document, settings: &OidcSettings) -> Result<Metadata, String> {
    // Section 4.3: to the letter, because tokens are compared with it.
    if document.issuer != settings.issuer {
        return Err(format!(
            "it calls itself {}, not {}; if that is right, set OIDC_ISSUER to it, character for character",
            shown(&document.issuer),
            settings.issuer
        ));
    }
    let lists = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref()
            .is_none_or(|list| list.iter().any(|known| known == name))
    };
    if !lists(&document.response_types_supported, "code") {
        return Err("it does not offer the authorization code flow".to_owned());
    }
    if !lists(&document.code_challenge_methods_supported, "S256") {
        return Err("it does not offer PKCE with S256".to_owned());
    }
    let methods = &document.token_endpoint_auth_methods_supported;
    let secret_by = if lists(methods, "client_secret_basic") {
        SecretBy::Basic
    } else if lists(methods, "client_secret_post") {
        SecretBy::Post
    } else {
        return Err(
            "it takes a client secret neither by client_secret_basic nor by client_secret_post"
                .to_owned(),
        );
    };
    let algorithms: Vec<Algorithm> = ALGORITHMS
        .into_iter()
        .filter(|(name, _)| lists(&document.id_token_signing_alg_values_supported, name))
        .map(|(_, algorithm)| algorithm)
        .collect();
    if algorithms.is_empty() {
        return Err(
            "it signs ID tokens with no algorithm that can be accepted; let it use RS256 or ES256"
                .to_owned(),
        );
    }
    Ok(Metadata {
        authorization_endpoint: endpoint(
            "authorization_endpoint",
            &document.authorization_endpoint,
        )?,
        token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
        jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
        userinfo_endpoint: document
            .userinfo_endpoint
            .as_deref()
            .map(|url| endpoint("userinfo_endpoint", url))
            .transpose()?,
        secret_by,
        algorithms,
        names_itself: document.authorization_response_iss_parameter_supported,
    })
}

fn endpoint(name: &str, text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(is_safe_for_secrets)
        .ok_or_else(|| format!("its {name} is not an https URL: {}", shown(text)))
}

/// What a stranger wrote, for a log.
fn shown(text: &str) -> String {
    oauth::error::description(text)
}
