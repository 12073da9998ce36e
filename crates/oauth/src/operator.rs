//! Clients that the operator creates: a program that uses services by itself (`client_credentials`, RFC 6749 section 4.4), or a
//! resource server that asks about tokens (RFC 7662).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, ServiceName};

/// What an operator's client may do. Nobody else grants it anything, and it has no person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatorRights {
    /// Services for which it gets access tokens of its own.
    pub services: BTreeSet<ServiceName>,
    /// Services whose access tokens it may ask about: those for which it is the resource server.
    pub introspects: BTreeSet<ServiceName>,
}

/// The name of an operator's client, which is its `client_id`: 1 to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`, the first
/// one a letter. Clients that register themselves get ids with more characters of other kinds, so neither takes the place of
/// the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorClientName(ClientId);

/// The text is not the name of an operator's client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name for a client: use 1 to 64 of a-z, 0-9, hyphen, underscore and dot, beginning with a letter, and not beginning with mcp-"
)]
pub struct InvalidOperatorClientName(String);

/// What the ids of clients that register themselves begin with.
const REGISTERED_PREFIX: &str = "mcp-";

impl OperatorClientName {
    /// Takes the text if it is a name.
    pub fn parse(text: &str) -> Result<Self, InvalidOperatorClientName> {
        let refused = || InvalidOperatorClientName(text.chars().take(128).collect());
        let is_of_name =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        let is_name = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(is_of_name)
            && !text.starts_with(REGISTERED_PREFIX);
        if !is_name {
            return Err(refused());
        }
        ClientId::parse(text).map(Self).map_err(|_| refused())
    }

    /// The `client_id`.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.0.clone()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for OperatorClientName {
    type Error = InvalidOperatorClientName;
    fn try_from(text: String) -> Result<Self, InvalidOperatorClientName> {
        Self::parse(&text)
    }
}

impl From<OperatorClientName> for String {
    fn from(name: OperatorClientName) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, SystemEntropy};

    #[test]
    fn a_name_can_be_no_registered_client_and_no_document() {
        for good in ["ci", "nightly-report", "a", "a.b_c-1", &"a".repeat(64)] {
            assert!(OperatorClientName::parse(good).is_ok(), "{good}");
        }
        let registered = ClientId::generate(&SystemEntropy);
        for bad in [
            "",
            "1a",
            "-a",
            "A",
            "a b",
            "https://client.example/c",
            "mcp-fetch",
            registered.as_str(),
            &"a".repeat(65),
        ] {
            assert!(OperatorClientName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_subject_of_a_client_is_no_persons() {
        let name = OperatorClientName::parse(&"a".repeat(64)).unwrap();
        let subject = Subject::of_client(&name.client_id()).unwrap();
        assert!(subject.is_client());
        for person in ["github:1", "local:client", "oidc:client:x"] {
            assert!(!Subject::parse(person).unwrap().is_client(), "{person}");
        }
    }
}
