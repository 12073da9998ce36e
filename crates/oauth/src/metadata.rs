//! The two documents by which a client finds its way (RFC 8414 and RFC 9728).

use serde::Serialize;

use crate::client_metadata::DEVICE_GRANT;
use crate::id::ServiceName;
use crate::scope::ScopeSet;
use crate::site::Sites;

/// The authorization server's metadata (RFC 8414 section 2).
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the members of RFC 8414 section 2, under their names there"
)]
pub struct AuthorizationServerMetadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    pub revocation_endpoint: String,
    pub introspection_endpoint: String,
    pub device_authorization_endpoint: String,
    pub jwks_uri: String,
    pub scopes_supported: Vec<String>,
    pub response_types_supported: [&'static str; 1],
    pub response_modes_supported: [&'static str; 1],
    pub grant_types_supported: Vec<&'static str>,
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    pub introspection_endpoint_auth_methods_supported: [&'static str; 2],
    pub code_challenge_methods_supported: [&'static str; 1],
    pub authorization_response_iss_parameter_supported: bool,
    pub client_id_metadata_document_supported: bool,
}

impl AuthorizationServerMetadata {
    /// All endpoints are on the issuer's own origin, whichever host the document was fetched from, but for the token endpoint of
    /// an installation without TLS ([`Sites::token_endpoint`]). `takes_documents`: a `client_id` may be the URL of a metadata
    /// document. `scopes`: all that clients may have.
    #[must_use]
    pub fn new(sites: &Sites, takes_documents: bool, scopes: &ScopeSet) -> Self {
        let issuer = sites.issuer();
        let endpoint = |path: &str| format!("{issuer}{path}");
        let methods = || vec!["none", "client_secret_basic", "client_secret_post"];
        Self {
            authorization_endpoint: endpoint("/authorize"),
            token_endpoint: sites.token_endpoint(),
            registration_endpoint: Some(endpoint("/register")),
            revocation_endpoint: endpoint("/revoke"),
            introspection_endpoint: endpoint("/introspect"),
            device_authorization_endpoint: endpoint("/device_authorization"),
            jwks_uri: endpoint("/jwks"),
            scopes_supported: scopes.iter().map(str::to_owned).collect(),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: vec![
                "authorization_code",
                "refresh_token",
                "client_credentials",
                DEVICE_GRANT,
            ],
            token_endpoint_auth_methods_supported: methods(),
            revocation_endpoint_auth_methods_supported: methods(),
            introspection_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
            ],
            code_challenge_methods_supported: ["S256"],
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: takes_documents,
            issuer,
        }
    }
}

/// The same as OpenID Connect Discovery 1.0 section 3 wants it, for clients that look there and insist on its members. No ID
/// token is promised: `scopes_supported` has no `openid`, and `response_types_supported` no `id_token`.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the members of OpenID Connect Discovery section 3, under their names there"
)]
pub struct OpenIdMetadata {
    #[serde(flatten)]
    pub server: AuthorizationServerMetadata,
    pub subject_types_supported: [&'static str; 1],
    /// Required there and never empty (RFC 8414 section 3.2), so the algorithms of the access tokens stand in for it.
    pub id_token_signing_alg_values_supported: Vec<String>,
}

/// A protected resource's metadata (RFC 9728 section 2).
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the members of RFC 9728 section 2, under their names there"
)]
pub struct ProtectedResourceMetadata {
    pub resource: String,
    pub authorization_servers: [String; 1],
    pub scopes_supported: Vec<String>,
    pub bearer_methods_supported: [&'static str; 1],
    pub resource_name: String,
}

impl ProtectedResourceMetadata {
    /// The document for a path of a service's host: `""` for the origin, `/mcp` for its endpoint. Clients compare
    /// `resource` with the URL they were given, so the path is echoed (RFC 9728 section 3.3). `scopes`: what it needs.
    #[must_use]
    pub fn new(sites: &Sites, service: &ServiceName, path: &str, scopes: &ScopeSet) -> Self {
        Self {
            resource: format!("{}{path}", sites.service_origin(service)),
            authorization_servers: [sites.issuer()],
            scopes_supported: scopes.iter().map(str::to_owned).collect(),
            bearer_methods_supported: ["header"],
            resource_name: service.to_string(),
        }
    }
}
