//! The headers in which `auth` tells a service who is asking.
//!
//! One list for everybody: `auth` writes exactly these, Traefik copies exactly these (and deletes what a client sent under their
//! names), `mcp-proxy` reads exactly these. Names are lower case, as HTTP libraries compare them; [`CANONICAL`] is the spelling
//! for Traefik's `authResponseHeaders`.

/// The stable id of the person, `github|583231` for example. Never empty.
pub const SUBJECT: &str = "x-auth-subject";

/// The name the person is known by at the identity provider; may change.
pub const LOGIN: &str = "x-auth-login";

/// The `client_id` of the OAuth client that presented the token.
pub const CLIENT: &str = "x-auth-client";

/// The scopes of the token, separated by spaces.
pub const SCOPE: &str = "x-auth-scope";

/// All of them.
pub const ALL: [&str; 4] = [SUBJECT, LOGIN, CLIENT, SCOPE];

/// All of them in the spelling of Traefik's configuration, in the order of [`ALL`].
pub const CANONICAL: [&str; 4] = [
    "X-Auth-Subject",
    "X-Auth-Login",
    "X-Auth-Client",
    "X-Auth-Scope",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_headers() {
        assert_eq!(CANONICAL.map(str::to_ascii_lowercase), ALL);
    }
}
