//! A type for each kind of identifier, so that the compiler tells them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entropy::{self, Entropy};

/// The text is not an identifier of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}: {expected}")]
pub struct InvalidId {
    /// Which identifier was expected.
    pub kind: &'static str,
    /// What it must look like.
    pub expected: &'static str,
    /// What was given, cut to 128 characters.
    pub value: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it is well-formed.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId {
                        kind: $kind,
                        expected: $expected,
                        value: text.chars().take(128).collect(),
                    })
                }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_base64url(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

id!(
    /// Names a registered client. At most 512 visible ASCII characters (RFC 6749 appendix A.1), so that the URL of a
    /// client-id metadata document fits too.
    ClientId,
    "client id",
    "1 to 512 visible ASCII characters",
    |text| (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
);
id!(
    /// Names a grant with all its tokens, from the code to the last refresh token: 128 random bits in base64url.
    SessionId,
    "session id",
    "22 characters of base64url",
    |text| is_base64url(text, 22)
);
id!(
    /// Names one sign-in under way: 128 random bits in base64url.
    AuthorizationId,
    "authorization id",
    "22 characters of base64url",
    |text| is_base64url(text, 22)
);
id!(
    /// Names a browser in which a person had consent remembered: 128 random bits in base64url.
    BrowserId,
    "browser id",
    "22 characters of base64url",
    |text| is_base64url(text, 22)
);
id!(
    /// Names a consent that is remembered: a hash of who agreed to what, in base64url.
    ConsentId,
    "consent id",
    "43 characters of base64url",
    |text| is_base64url(text, 43)
);
id!(
    /// Names one access token (`jti`, RFC 7519 section 4.1.7): 128 random bits in base64url.
    TokenId,
    "token id",
    "22 characters of base64url",
    |text| is_base64url(text, 22)
);
id!(
    /// Names a signing key (`kid`, RFC 7517 section 4.5).
    KeyId,
    "key id",
    "1 to 64 characters of base64url",
    |text| (1..=64).contains(&text.len()) && is_base64url(text, text.len())
);
id!(
    /// Names a person for ever: `provider:stable-id`, for example `github:583231`. Client identifiers never contain a
    /// provider's prefix, so a client and a person cannot be confused (RFC 9068 section 5).
    Subject,
    "subject",
    "provider:id in at most 256 visible ASCII characters",
    |text| {
        (3..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && text
                .split_once(':')
                .is_some_and(|(provider, id)| !provider.is_empty() && !id.is_empty())
    }
);
id!(
    /// Names a service, which is also the first label of its host: `mcp-fetch` in `mcp-fetch.example.com`.
    ServiceName,
    "service name",
    "a DNS label: lower-case letters, digits and inner hyphens, at most 63",
    |text| {
        (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    }
);

macro_rules! generate {
    ($($name:ident),*) => {$(
        impl $name {
            /// A fresh identifier of 128 random bits.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                Self(entropy::text::<16>(entropy))
            }
        }
    )*};
}
generate!(SessionId, AuthorizationId, TokenId, KeyId, BrowserId);

/// What the subject of a client begins with. No identity provider has this name, so the two can never be equal.
const CLIENT_PREFIX: &str = "client:";

impl Subject {
    /// The subject of a client that acts for itself (RFC 9068 section 5). Ids of operators' clients are short enough.
    pub fn of_client(id: &ClientId) -> Result<Self, InvalidId> {
        Self::parse(&format!("{CLIENT_PREFIX}{id}"))
    }

    /// Whether it names a client and not a person.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.0.starts_with(CLIENT_PREFIX)
    }
}

impl ConsentId {
    /// Takes a SHA-256 in base64url.
    pub(crate) const fn of_hash(hash: String) -> Self {
        Self(hash)
    }
}

impl ClientId {
    /// A fresh client identifier of 128 random bits.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(format!("mcp-{}", entropy::text::<16>(entropy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_a_dns_label() {
        for good in ["mcp-fetch", "a", "x1"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_ids_parse_and_differ() {
        let (a, b) = (
            SessionId::generate(&crate::SystemEntropy),
            SessionId::generate(&crate::SystemEntropy),
        );
        assert_ne!(a, b);
        assert_eq!(SessionId::parse(a.as_str()), Ok(a));
    }
}
