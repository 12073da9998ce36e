//! The error codes that leave this service, each with its status and its source.

/// A code of the `error` member or parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A parameter is missing, repeated or malformed (RFC 6749 sections 4.1.2.1 and 5.2).
    InvalidRequest,
    /// The client is unknown or could not prove who it is (RFC 6749 section 5.2).
    InvalidClient,
    /// The code or refresh token is wrong, spent, expired or somebody else's (RFC 6749 section 5.2).
    InvalidGrant,
    /// The client may not use this grant (RFC 6749 section 5.2).
    UnauthorizedClient,
    /// The grant type is not offered (RFC 6749 section 5.2).
    UnsupportedGrantType,
    /// The scope is malformed or not to be had (RFC 6749 section 5.2).
    InvalidScope,
    /// The resource is not one of ours (RFC 8707 section 2).
    InvalidTarget,
    /// The person or the gateway said no (RFC 6749 section 4.1.2.1).
    AccessDenied,
    /// Nobody may be asked, and the person has not agreed before (OpenID Connect Core section 3.1.2.6).
    ConsentRequired,
    /// Nobody may be asked, and the identity provider does not know the person without (OpenID Connect Core section 3.1.2.6).
    LoginRequired,
    /// Only `code` is offered (RFC 6749 section 4.1.2.1).
    UnsupportedResponseType,
    /// Something broke here (RFC 6749 section 4.1.2.1).
    ServerError,
    /// Something we need does not answer just now; try again (RFC 6749 section 4.1.2.1).
    TemporarilyUnavailable,
    /// The access token is malformed, expired, revoked or for another service (RFC 6750 section 3.1).
    InvalidToken,
    /// The access token does not carry a scope that is needed (RFC 6750 section 3.1).
    InsufficientScope,
    /// A redirect URI may not be registered (RFC 7591 section 3.2.2).
    InvalidRedirectUri,
    /// Another member of the registration is wrong (RFC 7591 section 3.2.2).
    InvalidClientMetadata,
    /// Nobody has answered the device yet (RFC 8628 section 3.5).
    AuthorizationPending,
    /// The device asks too often (RFC 8628 section 3.5).
    SlowDown,
    /// Nobody answered the device in time (RFC 8628 section 3.5).
    ExpiredToken,
    /// The revocation of this kind of token is not offered (RFC 7009 section 2.2.1).
    UnsupportedTokenType,
}

impl ErrorCode {
    /// Every code, for tables.
    pub const ALL: [Self; 21] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::AccessDenied,
        Self::ConsentRequired,
        Self::LoginRequired,
        Self::UnsupportedResponseType,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::UnsupportedTokenType,
    ];

    /// The code as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::ConsentRequired => "consent_required",
            Self::LoginRequired => "login_required",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }

    /// What it means, and where that is specified.
    #[must_use]
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "A parameter is missing, repeated or malformed.",
                "RFC 6749 sections 4.1.2.1 and 5.2",
            ),
            Self::InvalidClient => (
                "The client is unknown or could not prove who it is.",
                "RFC 6749 section 5.2",
            ),
            Self::InvalidGrant => (
                "The code or refresh token is wrong, spent, expired or somebody else's.",
                "RFC 6749 section 5.2",
            ),
            Self::UnauthorizedClient => {
                ("The client may not use this grant.", "RFC 6749 section 5.2")
            }
            Self::UnsupportedGrantType => {
                ("The grant type is not offered.", "RFC 6749 section 5.2")
            }
            Self::InvalidScope => (
                "The scope is malformed or not to be had.",
                "RFC 6749 section 5.2",
            ),
            Self::InvalidTarget => ("The resource is not one of ours.", "RFC 8707 section 2"),
            Self::AccessDenied => (
                "The person or the gateway said no.",
                "RFC 6749 section 4.1.2.1",
            ),
            Self::ConsentRequired => (
                "Nobody may be asked (`prompt=none`), and the person has not agreed before.",
                "OpenID Connect Core section 3.1.2.6",
            ),
            Self::LoginRequired => (
                "Nobody may be asked (`prompt=none`), and the identity provider would have to.",
                "OpenID Connect Core section 3.1.2.6",
            ),
            Self::UnsupportedResponseType => {
                ("Only `code` is offered.", "RFC 6749 section 4.1.2.1")
            }
            Self::ServerError => ("Something broke here.", "RFC 6749 section 4.1.2.1"),
            Self::TemporarilyUnavailable => (
                "Something we need does not answer just now; try again.",
                "RFC 6749 section 4.1.2.1",
            ),
            Self::InvalidToken => (
                "The access token is malformed, expired, revoked or for another service.",
                "RFC 6750 section 3.1",
            ),
            Self::InsufficientScope => (
                "The access token does not carry a scope that is needed.",
                "RFC 6750 section 3.1",
            ),
            Self::InvalidRedirectUri => (
                "A redirect URI may not be registered.",
                "RFC 7591 section 3.2.2",
            ),
            Self::InvalidClientMetadata => (
                "Another member of the registration is wrong.",
                "RFC 7591 section 3.2.2",
            ),
            Self::AuthorizationPending => (
                "Nobody has answered the device yet.",
                "RFC 8628 section 3.5",
            ),
            Self::SlowDown => ("The device asks too often.", "RFC 8628 section 3.5"),
            Self::ExpiredToken => (
                "Nobody answered the device in time.",
                "RFC 8628 section 3.5",
            ),
            Self::UnsupportedTokenType => (
                "The revocation of this kind of token is not offered.",
                "RFC 7009 section 2.2.1",
            ),
        }
    }

    /// The HTTP status that goes with it in a direct answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::AccessDenied | Self::InsufficientScope => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that may stand in `error_description`: ASCII without quote and backslash (RFC 6749 section 5.2), at most 256
/// characters. Others become `?`.
#[must_use]
pub fn description(text: &str) -> String {
    text.chars()
        .take(256)
        .map(|c| match c {
            '"' => '\'',
            ' '..='~' if c != '\\' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_never_breaks_its_quotes() {
        assert_eq!(description("a \"b\" \\ ä\n"), "a 'b' ? ??");
        assert_eq!(description(&"x".repeat(300)).len(), 256);
    }

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }
}
