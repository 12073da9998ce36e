//! What a client says about itself at registration (RFC 7591 section 2), checked and completed.
//!
//! All of it is a self-assertion: it grants nothing. Unknown members are ignored and not echoed.

use serde::{Deserialize, Serialize};

use crate::redirect::RedirectUri;
use crate::scope::ScopeSet;

mod request;
#[cfg(test)]
mod tests;

pub use request::{ClientMetadataRequest, InvalidMetadata};

/// The device grant's name (RFC 8628 section 3.4).
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How a client proves who it is at the token endpoint (RFC 7591 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuthMethod {
    /// A public client: it has no secret.
    None,
    /// The secret in an `Authorization: Basic` header.
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
}

/// The grants that a client may register (RFC 7591 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 8628.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 6749 section 4.4; only clients that the operator created have it.
    ClientCredentials,
}

/// What is kept of a client's metadata, every default filled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the members of RFC 7591 section 2, under their names there"
)]
pub struct ClientMetadata {
    pub redirect_uris: Vec<RedirectUri>,
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    pub grant_types: Vec<GrantType>,
    pub response_types: Vec<String>,
    pub client_name: String,
    pub scope: ScopeSet,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logo_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tos_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contacts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub software_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub application_type: Option<String>,
}

impl ClientMetadata {
    /// The registered redirect URI that admits a requested one.
    #[must_use]
    pub fn admits_redirect(&self, requested: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| registered.admits(requested))
    }

    /// Whether the client may ask for codes, and redeem them.
    #[must_use]
    pub fn may_use_codes(&self) -> bool {
        self.grant_types.contains(&GrantType::AuthorizationCode)
    }

    /// Whether the client may ask for a device (RFC 8628 section 5.6).
    #[must_use]
    pub fn may_ask_for_a_device(&self) -> bool {
        self.grant_types.contains(&GrantType::DeviceCode)
    }

    /// What stands for a client that the operator created: it has a secret, and nobody signs in with it.
    #[must_use]
    pub fn of_operator(name: &str) -> Self {
        Self {
            redirect_uris: Vec::new(),
            token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
            grant_types: vec![GrantType::ClientCredentials],
            response_types: Vec::new(),
            client_name: name.to_owned(),
            scope: ScopeSet::default(),
            client_uri: None,
            logo_uri: None,
            tos_uri: None,
            policy_uri: None,
            contacts: Vec::new(),
            software_id: None,
            software_version: None,
            application_type: None,
        }
    }

    /// Whether the client may have refresh tokens.
    #[must_use]
    pub fn may_refresh(&self) -> bool {
        self.grant_types.contains(&GrantType::RefreshToken)
    }
}
