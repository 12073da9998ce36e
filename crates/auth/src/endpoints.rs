//! What the service answers, as a table: the routes take their methods from it, and `docs/reference/endpoints.md` is written from it.

/// A path and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// As it is registered; a part in braces is a parameter.
    pub path: &'static str,
    /// Other methods are answered 405 (RFC 9110 section 15.5.6).
    pub methods: &'static [&'static str],
    /// One sentence.
    pub what: &'static str,
    /// Where it is specified; empty for our own.
    pub source: &'static str,
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];

const fn endpoint(
    path: &'static str,
    methods: &'static [&'static str],
    what: &'static str,
    source: &'static str,
) -> Endpoint {
    Endpoint {
        path,
        methods,
        what,
        source,
    }
}

/// On the public listener. Traefik routes all of it but `/verify` on `auth.DOMAIN`, and what clients look for there on the hosts of
/// services too.
pub const PUBLIC: &[Endpoint] = &[
    endpoint(
        "/verify",
        &["GET"],
        "Asked by Traefik about every request to a service; has no route from outside.",
        "",
    ),
    endpoint(
        "/.well-known/oauth-protected-resource",
        GET,
        "Which authorization server guards this host.",
        "RFC 9728",
    ),
    endpoint(
        "/.well-known/oauth-protected-resource/mcp",
        GET,
        "The same for the MCP endpoint of this host.",
        "RFC 9728 section 3.1",
    ),
    endpoint(
        "/.well-known/oauth-authorization-server",
        GET,
        "What the authorization server offers and where.",
        "RFC 8414",
    ),
    endpoint(
        "/.well-known/oauth-authorization-server/mcp",
        GET,
        "The same, as clients ask for it that were given a path.",
        "RFC 8414 section 3.1",
    ),
    endpoint(
        "/mcp/.well-known/oauth-authorization-server",
        GET,
        "The same, as other clients ask for it.",
        "",
    ),
    endpoint(
        "/.well-known/openid-configuration",
        GET,
        "The same for clients that know OpenID Connect only.",
        "OpenID Connect Discovery 1.0",
    ),
    endpoint(
        "/.well-known/openid-configuration/mcp",
        GET,
        "The same, as clients ask for it that were given a path.",
        "RFC 8414 section 5",
    ),
    endpoint(
        "/mcp/.well-known/openid-configuration",
        GET,
        "The same, as other clients ask for it.",
        "OpenID Connect Discovery 1.0",
    ),
    endpoint(
        "/jwks",
        GET,
        "The public keys of access tokens.",
        "RFC 7517",
    ),
    endpoint("/register", POST, "Registers a client.", "RFC 7591"),
    endpoint(
        "/register/{client_id}",
        &["GET", "PUT", "DELETE"],
        "Reads, replaces and deletes a registration, with its registration access token.",
        "RFC 7592",
    ),
    endpoint(
        "/token",
        POST,
        "Gives tokens for a code, a refresh token, a device code or a client of the operator.",
        "RFC 6749, RFC 7636, RFC 8628, RFC 8707",
    ),
    endpoint(
        "/revoke",
        POST,
        "Ends a grant or an access token.",
        "RFC 7009",
    ),
    endpoint(
        "/introspect",
        POST,
        "Says whether a token is good, to clients of the operator.",
        "RFC 7662",
    ),
    endpoint(
        "/device_authorization",
        POST,
        "Gives a device the codes with which a person connects it.",
        "RFC 8628",
    ),
    endpoint(
        "/authorize",
        GET,
        "Begins a sign-in: the page that asks for consent.",
        "RFC 6749 section 4.1",
    ),
    endpoint("/consent", POST, "What the person decided.", ""),
    endpoint(
        "/login",
        &["GET", "POST"],
        "Name and password with the identity provider `local`, the way on with `oidc`.",
        "",
    ),
    endpoint(
        "/device",
        &["GET", "POST"],
        "Where a person types the code of a device.",
        "RFC 8628 section 3.3",
    ),
    endpoint(
        "/callback",
        GET,
        "The way back from the identity provider.",
        "",
    ),
    endpoint(
        "/success",
        GET,
        "Says that a sign-in went well, to a browser that is left there.",
        "",
    ),
    endpoint(
        "/error",
        GET,
        "Says in words of ours what a code in `error` means.",
        "",
    ),
    endpoint("/account", GET, "What a person granted.", ""),
    endpoint(
        "/account/sign-in",
        POST,
        "Begins the sign-in to the account.",
        "",
    ),
    endpoint("/account/revoke", POST, "Ends one grant.", ""),
    endpoint(
        "/account/forget",
        POST,
        "Forgets one remembered consent: the person is asked again.",
        "",
    ),
    endpoint(
        "/account/revoke-all",
        POST,
        "Ends all grants and signs out everywhere.",
        "",
    ),
    endpoint("/account/sign-out", POST, "Forgets this browser.", ""),
    endpoint("/assets/style.css", GET, "The style of the pages.", ""),
    endpoint("/health", GET, "200 while the service answers.", ""),
];

/// On the private listener, with the administration token.
pub const ADMINISTRATION: &[Endpoint] = &[
    endpoint("/admin/stats", GET, "How much there is of everything.", ""),
    endpoint(
        "/admin/backup",
        GET,
        "Everything that is stored, as the lines of a backup.",
        "",
    ),
    endpoint("/admin/purge", POST, "Removes what has ended.", ""),
    endpoint("/admin/keys", GET, "The signing keys and their states.", ""),
    endpoint("/admin/keys/rotate", POST, "Lets the next key sign.", ""),
    endpoint(
        "/admin/keys/compromised",
        POST,
        "Replaces all keys at once: every access token ends.",
        "",
    ),
    endpoint(
        "/admin/clients",
        &["GET", "POST"],
        "Lists and makes clients.",
        "",
    ),
    endpoint(
        "/admin/clients/{id:.+}",
        &["GET", "DELETE"],
        "One client; its end is the end of its grants.",
        "",
    ),
    endpoint("/admin/sessions", GET, "Lists grants.", ""),
    endpoint("/admin/sessions/{id}", &["GET", "DELETE"], "One grant.", ""),
    endpoint("/admin/users", GET, "Lists people.", ""),
    endpoint(
        "/admin/users/revoke",
        POST,
        "Ends the grants of everybody.",
        "",
    ),
    endpoint(
        "/admin/users/{subject}/revoke",
        POST,
        "Ends the grants of one person.",
        "",
    ),
    endpoint(
        "/admin/users/{subject}/pins",
        &["DELETE"],
        "Frees the pinned names of a person.",
        "",
    ),
    endpoint(
        "/admin/users/{subject}/consents",
        &["GET", "DELETE"],
        "What a person is not asked again; its end is that they are.",
        "",
    ),
    endpoint(
        "/admin/users/{subject}/consents/{id}",
        &["DELETE"],
        "Forgets one remembered consent.",
        "",
    ),
    endpoint("/admin/users/{subject}", GET, "One person.", ""),
];
