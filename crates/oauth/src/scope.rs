//! Scopes (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The scope that every service of the gateway understands: use the service.
pub const MCP: &str = "mcp";
/// The scope by which some clients ask for a refresh token (OpenID Connect Core section 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scope tokens. Its text is sorted, so that equal sets read equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeSet(BTreeSet<String>);

/// The text is not a list of scope tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope consists of visible ASCII characters other than quote and backslash, and scopes are separated by spaces"
)]
pub struct InvalidScope;

impl ScopeSet {
    /// Parses space-separated scope tokens; no token at all gives the empty set. At most 1 KiB and 64 tokens.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let token_is_valid = |token: &str| {
            token
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        let tokens: BTreeSet<String> = text
            .split(' ')
            .filter(|token| !token.is_empty())
            .map(str::to_owned)
            .collect();
        let valid =
            text.len() <= 1024 && tokens.len() <= 64 && tokens.iter().all(|t| token_is_valid(t));
        valid.then_some(Self(tokens)).ok_or(InvalidScope)
    }

    /// The set of one scope, which must be a constant of ours: nothing is checked.
    #[must_use]
    pub(crate) fn of(scope: &'static str) -> Self {
        Self(BTreeSet::from([scope.to_owned()]))
    }

    /// Whether no scope is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the scope is in the set.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether every scope of this set is in the other.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What of the scopes a client asks for it gets: those that are offered, and always [`MCP`] if that is offered,
    /// because without it a token opens nothing. All that is offered if it asks for nothing that is.
    #[must_use]
    pub fn narrowed_to(&self, offered: &Self) -> Self {
        let mut granted = self.intersection(offered);
        if granted.is_empty() {
            return offered.clone();
        }
        if offered.contains(MCP) {
            granted.0.insert(MCP.to_owned());
        }
        granted
    }

    /// The scopes that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<String> for ScopeSet {
    type Error = InvalidScope;
    fn try_from(text: String) -> Result<Self, InvalidScope> {
        Self::parse(&text)
    }
}

impl From<ScopeSet> for String {
    fn from(scopes: ScopeSet) -> String {
        scopes.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        assert_eq!(ScopeSet::parse("b a  b").unwrap().to_string(), "a b");
        assert!(ScopeSet::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_client_gets_what_is_offered_and_never_less_than_it_needs() {
        let offered = ScopeSet::parse("mcp offline_access").unwrap();
        let granted = |asked: &str| {
            let asked = ScopeSet::parse(asked).unwrap();
            asked.narrowed_to(&offered).to_string()
        };
        assert_eq!(granted(""), "mcp offline_access");
        assert_eq!(granted("openid"), "mcp offline_access");
        assert_eq!(granted("mcp openid"), "mcp");
        assert_eq!(granted("offline_access"), "mcp offline_access");
        let asked = ScopeSet::parse("a").unwrap();
        assert_eq!(asked.narrowed_to(&asked).to_string(), "a");
    }

    #[test]
    fn quotes_backslashes_and_controls_are_refused() {
        for bad in ["a\"b", "a\\b", "a\tb", "ä"] {
            assert_eq!(ScopeSet::parse(bad), Err(InvalidScope), "{bad:?}");
        }
    }
}
