//! The claims of an access token (RFC 9068 section 2.2) and what must be true of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{ClientId, SessionId, Subject, TokenId};
use crate::scope::ScopeSet;

/// The `typ` of an access token's header (RFC 9068 section 2.1).
pub const TYPE: &str = "at+jwt";
/// By how much the clocks of two machines may differ, in seconds; applied to `exp` and `iat` only.
pub const LEEWAY: i64 = 30;

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer, byte for byte the one in the metadata.
    pub iss: String,
    /// The person.
    pub sub: Subject,
    /// The one resource that the token is for.
    pub aud: String,
    /// The client that holds it.
    pub client_id: ClientId,
    /// The granted scopes.
    pub scope: ScopeSet,
    /// The token itself.
    pub jti: TokenId,
    /// Issued at, in seconds since the epoch.
    pub iat: i64,
    /// Not valid from this second on.
    pub exp: i64,
    /// The name under which the person signed in.
    pub login: String,
    /// The session that the token belongs to.
    pub sid: SessionId,
}

/// Why claims with a good signature are refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaims {
    /// Somebody else issued it.
    #[error("the token was issued by another server")]
    Issuer,
    /// It is for another service.
    #[error("the token is for another service")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come, or it was never meant to end.
    #[error("the token's times cannot be")]
    Times,
}

impl AccessClaims {
    /// Whether the token is good for this resource at this moment.
    pub fn check(&self, issuer: &str, resource: &str, now: Timestamp) -> Result<(), InvalidClaims> {
        if self.iss != issuer {
            return Err(InvalidClaims::Issuer);
        }
        if self.aud != resource {
            return Err(InvalidClaims::Audience);
        }
        let now = now.as_second();
        if self.iat > now.saturating_add(LEEWAY) || self.exp <= self.iat {
            return Err(InvalidClaims::Times);
        }
        if now >= self.counts_until() {
            return Err(InvalidClaims::Expired);
        }
        Ok(())
    }

    /// The second, since 1970, from which on the token is expired: `exp` and the leeway for clocks that differ.
    #[must_use]
    pub const fn counts_until(&self) -> i64 {
        self.exp.saturating_add(LEEWAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    fn claims() -> AccessClaims {
        AccessClaims {
            iss: "https://auth.example.com".to_owned(),
            sub: Subject::parse("github:1").unwrap(),
            aud: "https://mcp-fetch.example.com/mcp".to_owned(),
            client_id: ClientId::parse("c").unwrap(),
            scope: ScopeSet::parse("mcp").unwrap(),
            jti: TokenId::generate(&SystemEntropy),
            iat: 1000,
            exp: 2000,
            login: "octocat".to_owned(),
            sid: SessionId::generate(&SystemEntropy),
        }
    }

    fn check(now: i64) -> Result<(), InvalidClaims> {
        let now = Timestamp::from_second(now).unwrap();
        claims().check(
            "https://auth.example.com",
            "https://mcp-fetch.example.com/mcp",
            now,
        )
    }

    #[test]
    fn the_leeway_is_thirty_seconds_and_no_more() {
        assert_eq!(check(969), Err(InvalidClaims::Times));
        assert_eq!(check(970), Ok(()));
        assert_eq!(check(2029), Ok(()));
        assert_eq!(check(2030), Err(InvalidClaims::Expired));
    }

    #[test]
    fn issuer_and_audience_are_compared_exactly() {
        let now = Timestamp::from_second(1500).unwrap();
        let resource = "https://mcp-fetch.example.com/mcp";
        assert_eq!(
            claims().check("https://auth.example.com/", resource, now),
            Err(InvalidClaims::Issuer)
        );
        assert_eq!(
            claims().check(
                "https://auth.example.com",
                "https://mcp-fetch.example.com",
                now
            ),
            Err(InvalidClaims::Audience)
        );
    }

    #[test]
    fn a_token_that_ends_before_it_begins_is_refused() {
        let mut claims = claims();
        claims.exp = claims.iat;
        let now = Timestamp::from_second(1000).unwrap();
        let checked = claims.check(
            "https://auth.example.com",
            "https://mcp-fetch.example.com/mcp",
            now,
        );
        assert_eq!(checked, Err(InvalidClaims::Times));
    }
}
