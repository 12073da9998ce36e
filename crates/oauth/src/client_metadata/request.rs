//! The metadata as a client sends it, and the checks that it must pass.

use serde::Deserialize;

use super::{ClientMetadata, DEVICE_GRANT, GrantType, TokenEndpointAuthMethod};
use crate::ErrorCode;
use crate::redirect::RedirectUri;
use crate::scope::ScopeSet;

/// The metadata as a client sends it. `null` and empty texts count as absent, because clients send both.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the members of RFC 7591 section 2, under their names there"
)]
pub struct ClientMetadataRequest {
    pub redirect_uris: Option<Vec<String>>,
    pub token_endpoint_auth_method: Option<String>,
    pub grant_types: Option<Vec<String>>,
    pub response_types: Option<Vec<String>>,
    pub client_name: Option<String>,
    pub client_uri: Option<String>,
    pub logo_uri: Option<String>,
    pub tos_uri: Option<String>,
    pub policy_uri: Option<String>,
    pub contacts: Option<Vec<String>>,
    pub scope: Option<String>,
    pub software_id: Option<String>,
    pub software_version: Option<String>,
    pub application_type: Option<String>,
    pub client_id: Option<String>,
    /// In an update only, and then the current one (RFC 7592 section 2.2).
    pub client_secret: Option<String>,
    /// Belongs to the server: a client that sends it in an update is refused (RFC 7592 section 2.2).
    pub registration_access_token: Option<serde::de::IgnoredAny>,
    /// Likewise.
    pub registration_client_uri: Option<serde::de::IgnoredAny>,
    /// Likewise.
    pub client_id_issued_at: Option<serde::de::IgnoredAny>,
    /// Likewise.
    pub client_secret_expires_at: Option<serde::de::IgnoredAny>,
}

/// Why metadata is refused (RFC 7591 section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct InvalidMetadata {
    /// `invalid_redirect_uri` or `invalid_client_metadata`.
    pub code: ErrorCode,
    /// Which member, which value, what is wrong.
    pub description: String,
}

fn refuse(description: impl Into<String>) -> InvalidMetadata {
    InvalidMetadata {
        code: ErrorCode::InvalidClientMetadata,
        description: description.into(),
    }
}

impl ClientMetadataRequest {
    /// The first member that only the server may set, if one is there.
    #[must_use]
    pub fn server_owned(&self) -> Option<&'static str> {
        [
            (
                "registration_access_token",
                self.registration_access_token.is_some(),
            ),
            (
                "registration_client_uri",
                self.registration_client_uri.is_some(),
            ),
            ("client_id_issued_at", self.client_id_issued_at.is_some()),
            (
                "client_secret_expires_at",
                self.client_secret_expires_at.is_some(),
            ),
        ]
        .into_iter()
        .find_map(|(name, is_there)| is_there.then_some(name))
    }

    /// Checks the metadata and fills in the defaults. `offered` are the scopes that clients may have at all: scopes beyond
    /// them are dropped, not refused, because clients ask for what other servers taught them.
    pub fn check(self, offered: &ScopeSet) -> Result<ClientMetadata, InvalidMetadata> {
        let grant_types = self.checked_grant_types()?;
        let has_codes = grant_types.contains(&GrantType::AuthorizationCode);
        let response_types = if has_codes {
            self.checked_response_types()?
        } else {
            Vec::new()
        };
        let redirects = self.redirect_uris.clone().unwrap_or_default();
        let redirect_uris = if has_codes || !redirects.is_empty() {
            checked_redirects(redirects)?
        } else {
            Vec::new()
        };
        let metadata = ClientMetadata {
            redirect_uris,
            token_endpoint_auth_method: checked_auth_method(
                self.token_endpoint_auth_method.as_deref(),
            )?,
            grant_types,
            response_types,
            client_name: checked_text("client_name", self.client_name, 100)?
                .unwrap_or_else(|| "Unnamed client".to_owned()),
            scope: checked_scope(self.scope.as_deref(), offered)?,
            client_uri: checked_link("client_uri", self.client_uri)?,
            logo_uri: checked_link("logo_uri", self.logo_uri)?,
            tos_uri: checked_link("tos_uri", self.tos_uri)?,
            policy_uri: checked_link("policy_uri", self.policy_uri)?,
            contacts: checked_contacts(self.contacts.unwrap_or_default())?,
            software_id: checked_text("software_id", self.software_id, 100)?,
            software_version: checked_text("software_version", self.software_version, 100)?,
            application_type: checked_application_type(self.application_type)?,
        };
        Ok(metadata)
    }

    /// Unknown grants are dropped; what is left must include one by which a person signs in (RFC 7591 section 2.1). A client that names
    /// none gets refresh tokens too: without them people sign in every hour.
    fn checked_grant_types(&self) -> Result<Vec<GrantType>, InvalidMetadata> {
        let Some(asked) = self.grant_types.as_ref().filter(|list| !list.is_empty()) else {
            return Ok(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]);
        };
        let mut known = Vec::new();
        for (name, grant) in [
            ("authorization_code", GrantType::AuthorizationCode),
            ("refresh_token", GrantType::RefreshToken),
            (DEVICE_GRANT, GrantType::DeviceCode),
        ] {
            if asked.iter().any(|asked| asked == name) {
                known.push(grant);
            }
        }
        let signs_in = [GrantType::AuthorizationCode, GrantType::DeviceCode];
        if known.iter().any(|grant| signs_in.contains(grant)) {
            Ok(known)
        } else {
            Err(refuse(
                "grant_types must contain authorization_code or the device grant of RFC 8628",
            ))
        }
    }

    fn checked_response_types(&self) -> Result<Vec<String>, InvalidMetadata> {
        match self.response_types.as_deref() {
            None | Some([]) => {}
            Some(types) if types.iter().any(|t| t == "code") => {}
            Some(_) => return Err(refuse("response_types must contain code")),
        }
        Ok(vec!["code".to_owned()])
    }
}

fn checked_redirects(redirects: Vec<String>) -> Result<Vec<RedirectUri>, InvalidMetadata> {
    let refuse = |description: String| InvalidMetadata {
        code: ErrorCode::InvalidRedirectUri,
        description,
    };
    if redirects.is_empty() || redirects.len() > 10 {
        return Err(refuse(format!(
            "redirect_uris must hold 1 to 10 URIs, not {}",
            redirects.len()
        )));
    }
    redirects
        .into_iter()
        .map(|text| {
            RedirectUri::parse(&text).map_err(|error| {
                let shown: String = text.chars().take(128).collect();
                refuse(format!("{shown}: {error}"))
            })
        })
        .collect()
}

fn checked_auth_method(method: Option<&str>) -> Result<TokenEndpointAuthMethod, InvalidMetadata> {
    match method {
        Some("none") => Ok(TokenEndpointAuthMethod::None),
        Some("client_secret_post") => Ok(TokenEndpointAuthMethod::ClientSecretPost),
        None | Some("" | "client_secret_basic") => Ok(TokenEndpointAuthMethod::ClientSecretBasic),
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            Err(refuse(format!(
                "token_endpoint_auth_method {shown} is not offered; use none, client_secret_basic or client_secret_post"
            )))
        }
    }
}

fn checked_scope(asked: Option<&str>, offered: &ScopeSet) -> Result<ScopeSet, InvalidMetadata> {
    let asked = ScopeSet::parse(asked.unwrap_or_default())
        .map_err(|error| refuse(format!("scope: {error}")))?;
    Ok(asked.narrowed_to(offered))
}

/// Text that a person will read: no control characters and none that reorder or hide what stands around them.
fn checked_text(
    member: &str,
    text: Option<String>,
    most: usize,
) -> Result<Option<String>, InvalidMetadata> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    if text.chars().count() > most {
        return Err(refuse(format!(
            "{member} may have at most {most} characters"
        )));
    }
    if text.chars().any(is_deceptive) {
        return Err(refuse(format!(
            "{member} must not contain control, invisible or direction-changing characters"
        )));
    }
    Ok(Some(text))
}

/// Control characters, zero-width characters and bidirectional controls. The two variation selectors that choose between the
/// black and the coloured form of a sign are none: names with emoji have them.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0D}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// A link is kept for those who ask; nothing behind it is ever fetched or shown.
fn checked_link(member: &str, link: Option<String>) -> Result<Option<String>, InvalidMetadata> {
    let Some(link) = checked_text(member, link, 2048)? else {
        return Ok(None);
    };
    let is_web = url::Url::parse(&link)
        .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    if is_web {
        Ok(Some(link))
    } else {
        Err(refuse(format!("{member} must be an https or http URL")))
    }
}

fn checked_contacts(contacts: Vec<String>) -> Result<Vec<String>, InvalidMetadata> {
    if contacts.len() > 10 {
        return Err(refuse("contacts may hold at most 10 entries"));
    }
    contacts
        .into_iter()
        .filter_map(|contact| checked_text("contacts", Some(contact), 254).transpose())
        .collect()
}

fn checked_application_type(kind: Option<String>) -> Result<Option<String>, InvalidMetadata> {
    match kind.as_deref() {
        None | Some("") => Ok(None),
        Some("web" | "native") => Ok(kind),
        Some(_) => Err(refuse("application_type must be web or native")),
    }
}
