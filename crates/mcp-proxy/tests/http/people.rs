//! Who calls, as the gateway says it.

/// The identity headers of one request.
pub(crate) type Person = [(&'static str, &'static str); 4];

pub(crate) const ANNA: Person = person("github:1", "anna", "client-a", "mcp");
/// The same person with another OAuth client.
pub(crate) const ANNA_ELSEWHERE: Person = person("github:1", "anna", "client-b", "mcp");
pub(crate) const BEN: Person = person("github:2", "ben", "client-a", "mcp");

pub(crate) const fn person(
    subject: &'static str,
    login: &'static str,
    client: &'static str,
    scope: &'static str,
) -> Person {
    [
        ("x-auth-subject", subject),
        ("x-auth-login", login),
        ("x-auth-client", client),
        ("x-auth-scope", scope),
    ]
}
