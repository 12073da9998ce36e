//! The configuration as it is written: `gateway.toml`, environment, secret files. What it means is in `settings.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chassis::config::{FileKey, Kind, Seconds, Secret, Section, Setting};
use chassis::peer;
use chassis::telemetry::{self, LogConfig};
use serde::{Deserialize, Serialize};

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each field is described in SETTINGS, which also makes the reference page"
)]
pub struct Config {
    pub domain: String,
    pub public: Public,
    pub service_names: Vec<String>,
    pub services: BTreeMap<String, Service>,
    pub listen: Listen,
    pub private: Private,
    pub address_file: Option<PathBuf>,
    pub store: StoreConfig,
    pub redis: Redis,
    pub identity_provider: String,
    pub github: GitHub,
    pub oidc: Oidc,
    pub local: Local,
    pub people: People,
    pub tokens: Tokens,
    pub clients: Clients,
    pub limits: LimitsConfig,
    pub client_rules: BTreeMap<String, ClientRules>,
    pub operator_clients: BTreeMap<String, OperatorClient>,
    pub log: LogConfig,
}

macro_rules! section {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[expect(missing_docs, reason = "each field is described in SETTINGS, which also makes the reference page")]
        pub struct $name { $(pub $field: $type),* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    )*};
}

section! {
    /// How the installation is reached from outside.
    Public { scheme: String = "https".to_owned(), port: Option<u16> = None }
    /// The public listener, for Traefik.
    Listen {
        host: String = "127.0.0.1".to_owned(),
        port: u16 = 8000,
        trusted_proxies: Vec<String> = vec!["private".to_owned()],
        drain: Seconds = Seconds::new(5),
    }
    /// The private listener: health and metrics.
    Private { host: String = "127.0.0.1".to_owned(), port: u16 = 9000 }
    /// Which store.
    StoreConfig { kind: String = "redb".to_owned(), path: PathBuf = PathBuf::from("auth.redb"), free_space: u64 = 64 }
    /// Redis or Valkey.
    Redis {
        url: String = "redis://127.0.0.1:6379".to_owned(),
        password: Option<Secret> = None,
        sentinel_password: Option<Secret> = None,
        prefix: String = "mcp-auth:".to_owned(),
    }
    /// GitHub as identity provider, and who may come in.
    GitHub {
        client_id: String = String::new(),
        client_secret: Option<Secret> = None,
        url: String = "https://github.com".to_owned(),
        api_url: String = "https://api.github.com".to_owned(),
        allowed_users: Vec<String> = Vec::new(),
        allowed_orgs: Vec<String> = Vec::new(),
        allowed_teams: Vec<String> = Vec::new(),
        org_token: Option<Secret> = None,
    }
    /// An issuer of OpenID Connect as identity provider, and who may come in.
    Oidc {
        issuer: String = String::new(),
        client_id: String = String::new(),
        client_secret: Option<Secret> = None,
        scopes: Vec<String> = ["openid", "profile", "email"].map(str::to_owned).to_vec(),
        login_claim: String = "preferred_username".to_owned(),
        groups_claim: String = "groups".to_owned(),
        allowed_users: Vec<String> = Vec::new(),
        allowed_groups: Vec<String> = Vec::new(),
    }
    /// How long what is known of people counts.
    People {
        membership_lifetime: Seconds = Seconds::new(7 * 24 * 3600),
        consent_lifetime: Seconds = Seconds::new(90 * 24 * 3600),
    }
    /// Names and password hashes of the `local` identity provider.
    Local { users: Option<Secret> = None }
    /// Keys and lifetimes.
    Tokens {
        secret: Option<Secret> = None,
        previous_secret: Option<Secret> = None,
        algorithm: String = "ES256".to_owned(),
        key_lifetime: Seconds = Seconds::new(30 * 24 * 3600),
        key_published_before: Seconds = Seconds::new(oauth::key_ring::Schedule::SAFE_PUBLISH_BEFORE),
        access_token_lifetime: Seconds = Seconds::new(3600),
        refresh_token_lifetime: Seconds = Seconds::new(30 * 24 * 3600),
        refresh_grace: Seconds = Seconds::new(120),
        session_lifetime: Seconds = Seconds::new(90 * 24 * 3600),
    }
    /// Registered clients.
    Clients {
        lifetime: Seconds = Seconds::new(90 * 24 * 3600),
        most: u64 = 10_000,
        registration: String = "open".to_owned(),
        registration_token: Option<Secret> = None,
        documents: Vec<String> = vec!["any".to_owned()],
    }
    /// How often what may be asked; 0 = without limit. What they mean is in `limits.rs`.
    LimitsConfig {
        register: u32 = 10,
        register_total: u32 = 1000,
        authorize: u32 = 60,
        authorize_total: u32 = 600,
        documents: u32 = 5,
        sign_in: u32 = 120,
        passwords: u32 = 10,
        passwords_of_name: u32 = 30,
        token: u32 = 60,
        token_failures: u32 = 10,
        revoke: u32 = 60,
        introspect: u32 = 600,
        address: u32 = 600,
        device_authorization: u32 = 10,
        device_authorization_total: u32 = 300,
        device_codes: u32 = 5,
        verify_in_flight: usize = 1024,
    }
    /// A service of the installation, and its rules.
    Service {
        enabled: bool = true,
        public: bool = false,
        users: Option<Vec<String>> = None,
        orgs: Option<Vec<String>> = None,
        teams: Option<Vec<String>> = None,
        groups: Option<Vec<String>> = None,
        scopes: Vec<String> = Vec::new(),
        access_token_lifetime: Option<Seconds> = None,
        refresh_token_lifetime: Option<Seconds> = None,
        session_lifetime: Option<Seconds> = None,
    }
    /// Lifetimes of the tokens of one client, by its `client_id`.
    ClientRules {
        access_token_lifetime: Option<Seconds> = None,
        refresh_token_lifetime: Option<Seconds> = None,
        session_lifetime: Option<Seconds> = None,
    }
    /// A client that the operator created, by its name.
    OperatorClient {
        secret_hash: String = String::new(),
        services: Vec<String> = Vec::new(),
        introspects: Vec<String> = Vec::new(),
    }
}

/// The part of `gateway.toml` that is this binary's: all but the table of `mcp-proxy`.
pub const SECTION: Section = Section::Except(&["proxy"]);

/// What only the file can set. `NAME` and `ID` stand for names of the operator's.
pub const FILE_KEYS: &[FileKey] = &[
    FileKey::new(
        "services.NAME.enabled",
        Kind::Boolean,
        "whether this service is behind the gateway; false turns it off, whoever else names it",
    ),
    FileKey::new(
        "services.NAME.public",
        Kind::Boolean,
        "whether everybody may use it, without a token; MCP_<NAME>_PUBLIC says the same",
    ),
    FileKey::new(
        "services.NAME.users",
        Kind::List,
        "who may use it, by login; whoever may come in if neither users, orgs, teams nor groups is set; MCP_<NAME>_USERS says the same",
    ),
    FileKey::new(
        "services.NAME.orgs",
        Kind::List,
        "whose members may use it; MCP_<NAME>_ORGS says the same",
    ),
    FileKey::new(
        "services.NAME.teams",
        Kind::List,
        "whose members may use it, as organisation/team; MCP_<NAME>_TEAMS says the same",
    ),
    FileKey::new(
        "services.NAME.groups",
        Kind::List,
        "with the oidc provider: the groups whose members may use it; MCP_<NAME>_GROUPS says the same",
    ),
    FileKey::new(
        "services.NAME.scopes",
        Kind::List,
        "scopes that a token needs there besides mcp; MCP_<NAME>_SCOPES says the same",
    ),
    FileKey::new(
        "services.NAME.access_token_lifetime",
        Kind::Seconds,
        "life of an access token for it instead of ACCESS_TOKEN_LIFETIME",
    ),
    FileKey::new(
        "services.NAME.refresh_token_lifetime",
        Kind::Seconds,
        "life of an unused refresh token for it instead of REFRESH_TOKEN_LIFETIME",
    ),
    FileKey::new(
        "services.NAME.session_lifetime",
        Kind::Seconds,
        "life of a grant for it instead of SESSION_LIFETIME",
    ),
    FileKey::new(
        "client_rules.ID.access_token_lifetime",
        Kind::Seconds,
        "life of an access token of this client; counts before the service's",
    ),
    FileKey::new(
        "client_rules.ID.refresh_token_lifetime",
        Kind::Seconds,
        "life of an unused refresh token of this client; counts before the service's",
    ),
    FileKey::new(
        "client_rules.ID.session_lifetime",
        Kind::Seconds,
        "life of a grant of this client; counts before the service's",
    ),
    FileKey::new(
        "operator_clients.NAME.secret_hash",
        Kind::Text,
        "hash of the secret of a client of the operator's, for client_credentials; mcp-auth new-client-secret makes both",
    ),
    FileKey::new(
        "operator_clients.NAME.services",
        Kind::List,
        "the services for which it gets tokens",
    ),
    FileKey::new(
        "operator_clients.NAME.introspects",
        Kind::List,
        "the services about whose tokens it may ask /introspect",
    ),
];

/// Every variable, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    Setting::text("DOMAIN", "domain", "the domain below which the hosts are: auth.DOMAIN and mcp-<name>.DOMAIN")
        .alias(&["BASE_DOMAIN"])
        .required()
        .example("example.com")
        .how("Set DOMAIN=example.com, or DOMAIN=localhost to try it on a laptop"),
    Setting::text("PUBLIC_SCHEME", "public.scheme", "scheme of public URLs: https, or http on localhost"),
    Setting::integer("PUBLIC_PORT", "public.port", "port in public URLs when it is not the scheme's own"),
    Setting::list("MCP_SERVICES", "service_names", "the services behind the gateway; every MCP_<NAME>_ENABLED=true adds mcp-<name>")
        .example("mcp-fetch,mcp-time"),
    Setting::text("HOST", "listen.host", "address of the listener that Traefik calls"),
    Setting::integer("PORT", "listen.port", "port of the listener that Traefik calls; 0 takes a free one"),
    Setting::seconds("SHUTDOWN_DRAIN", "listen.drain", "how long requests are still accepted after SIGTERM, while /health says 503 and connections are given back; at most 20"),
    Setting::text("PRIVATE_HOST", "private.host", "address of the private listener (health, metrics)"),
    Setting::integer("PRIVATE_PORT", "private.port", "port of the private listener; 0 takes a free one"),
    Setting::text("ADDRESS_FILE", "address_file", "a file into which the addresses are written once the service listens"),
    Setting::text("STORE", "store.kind", "where state is kept: redb (one file), redis, or memory (lost at the end)"),
    Setting::text("STORE_PATH", "store.path", "the file of the redb store"),
    Setting::integer("STORE_FREE_SPACE", "store.free_space", "with less room than so many MiB on the disk of the file, /health/ready says degraded (and still 200)"),
    Setting::text("REDIS_URL", "redis.url", "redis://HOST:PORT; redis+sentinel://HOST:PORT,HOST:PORT/NAME; redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS").example("redis://redis:6379"),
    Setting::text("REDIS_PASSWORD", "redis.password", "password of Redis").secret().how("Make one with: openssl rand -hex 32"),
    Setting::text("REDIS_SENTINEL_PASSWORD", "redis.sentinel_password", "password of the Sentinels, if they have one").secret(),
    Setting::text("REDIS_PREFIX", "redis.prefix", "what every key in Redis begins with"),
    Setting::text("IDENTITY_PROVIDER", "identity_provider", "who knows the people: github, oidc (any issuer of OpenID Connect), or local (names and hashes configured here)"),
    Setting::text("GITHUB_CLIENT_ID", "github.client_id", "client id of the GitHub OAuth app")
        .how("Make an OAuth app at https://github.com/settings/developers with the callback URL https://auth.DOMAIN/callback"),
    Setting::text("GITHUB_CLIENT_SECRET", "github.client_secret", "client secret of the GitHub OAuth app")
        .secret()
        .how("Make one on the page of the OAuth app at https://github.com/settings/developers"),
    Setting::text("GITHUB_URL", "github.url", "where GitHub's sign-in is; another one for GitHub Enterprise"),
    Setting::text("GITHUB_API_URL", "github.api_url", "where GitHub's API is; another one for GitHub Enterprise"),
    Setting::list("ALLOWED_GITHUB_USERS", "github.allowed_users", "who may come in, by GitHub name; * admits everybody")
        .example("octocat,hubot")
        .how("Set ALLOWED_GITHUB_USERS=your-name, or ALLOWED_GITHUB_ORGS or ALLOWED_GITHUB_TEAMS; * admits everybody who has a GitHub account"),
    Setting::list("ALLOWED_GITHUB_ORGS", "github.allowed_orgs", "whose members may come in"),
    Setting::list("ALLOWED_GITHUB_TEAMS", "github.allowed_teams", "whose members may come in, as organisation/team"),
    Setting::text("GITHUB_ORG_TOKEN", "github.org_token", "a token of yours that reads organisations (read:org): GitHub is then asked at each refresh who still is a member")
        .secret()
        .how("Make one at https://github.com/settings/tokens with the scope read:org"),
    Setting::text("OIDC_ISSUER", "oidc.issuer", "the issuer of the oidc provider, exactly as it names itself: what stands before /.well-known/openid-configuration")
        .example("https://id.example.com/realms/main")
        .how("Take the issuer from what the provider publishes at ISSUER/.well-known/openid-configuration"),
    Setting::text("OIDC_CLIENT_ID", "oidc.client_id", "client id of the gateway at the oidc provider")
        .how("Register a web application at the provider with the redirect URI https://auth.DOMAIN/callback"),
    Setting::text("OIDC_CLIENT_SECRET", "oidc.client_secret", "client secret of the gateway at the oidc provider")
        .secret()
        .how("Make one where the application is registered at the provider"),
    Setting::list("OIDC_SCOPES", "oidc.scopes", "the scopes that the oidc provider is asked for"),
    Setting::text("OIDC_LOGIN_CLAIM", "oidc.login_claim", "the claim that is the login; email counts only when the provider says that it was verified"),
    Setting::text("OIDC_GROUPS_CLAIM", "oidc.groups_claim", "the claim that lists somebody's groups"),
    Setting::list("ALLOWED_OIDC_USERS", "oidc.allowed_users", "who may come in with oidc: logins, verified e-mail addresses, or subjects as sub:VALUE; * admits everybody whom the provider knows")
        .example("ann,bob@example.com,sub:24400320")
        .how("Set ALLOWED_OIDC_USERS=your-login (or a verified e-mail address, or sub:VALUE), or ALLOWED_OIDC_GROUPS; * admits everybody whom the provider knows"),
    Setting::list("ALLOWED_OIDC_GROUPS", "oidc.allowed_groups", "the groups of OIDC_GROUPS_CLAIM whose members may come in"),
    Setting::seconds("MEMBERSHIP_LIFETIME", "people.membership_lifetime", "who came in by an organisation, team or group signs in again after this, unless GITHUB_ORG_TOKEN confirms the membership"),
    Setting::seconds("CONSENT_LIFETIME", "people.consent_lifetime", "how long a person who wants so is not asked again by the same browser for the same client, service and permissions; 0 = everybody is asked each time"),
    Setting::text("LOCAL_USERS", "local.users", "people of the local provider: name:hash, separated by white space")
        .secret()
        .how("Make a hash with: mcp-auth hash-password"),
    Setting::text("GATEWAY_JWT_SECRET", "tokens.secret", "seals the signing keys in the store; at least 32 characters")
        .secret()
        .how("Make one with: openssl rand -base64 48"),
    Setting::text("GATEWAY_JWT_SECRET_PREVIOUS", "tokens.previous_secret", "the value of GATEWAY_JWT_SECRET before it was changed; take it away when every instance has started anew")
        .secret()
        .how("Set it to the earlier GATEWAY_JWT_SECRET, or do not set it"),
    Setting::text("JWT_ALGORITHM", "tokens.algorithm", "algorithm of access tokens: ES256, EdDSA or RS256; another one than before rotates the keys"),
    Setting::seconds("KEY_LIFETIME", "tokens.key_lifetime", "how long a key signs access tokens before the next one takes over; 0 = until keys are rotated by command"),
    Setting::seconds("KEY_PUBLISHED_BEFORE", "tokens.key_published_before", "how long a key is at /jwks before it signs; less than the default only if nobody else verifies tokens"),
    Setting::seconds("ACCESS_TOKEN_LIFETIME", "tokens.access_token_lifetime", "life of an access token"),
    Setting::seconds("REFRESH_TOKEN_LIFETIME", "tokens.refresh_token_lifetime", "life of a refresh token that is not used"),
    Setting::seconds("REFRESH_GRACE", "tokens.refresh_grace", "how long a spent refresh token still leads to its successor; 0 = strict"),
    Setting::seconds("SESSION_LIFETIME", "tokens.session_lifetime", "after this a person signs in again, however often tokens were refreshed"),
    Setting::text("CLIENT_REGISTRATION", "clients.registration", "who may register a client: open (everybody, within the limits), token (who has CLIENT_REGISTRATION_TOKEN), or off"),
    Setting::text("CLIENT_REGISTRATION_TOKEN", "clients.registration_token", "the initial access token of closed registration (RFC 7591 section 3), at least 32 characters")
        .secret()
        .how("Make one with: openssl rand -base64 48"),
    Setting::seconds("CLIENT_LIFETIME", "clients.lifetime", "a registered client that was used ends when it is not used for so long; 0 = never; one that was never used ends within a day"),
    Setting::integer("MAX_CLIENTS", "clients.most", "how many clients may be registered at once"),
    Setting::list("CLIENT_DOCUMENTS", "clients.documents", "whose client-id metadata documents are accepted: any, off, or a list of hosts")
        .example("claude.ai,chatgpt.com")
        .how("Set CLIENT_DOCUMENTS=any, off, or host names such as claude.ai,chatgpt.com"),
    peer::TRUSTED_PROXIES,
    Setting::integer("LIMIT_REGISTER", "limits.register", "registrations per hour and address (an IPv6 address counts as its /64); 0 = without limit, as for every LIMIT_").unit("per hour"),
    Setting::integer("LIMIT_REGISTER_TOTAL", "limits.register_total", "registrations per hour in total").unit("per hour"),
    Setting::integer("LIMIT_AUTHORIZE", "limits.authorize", "requests to /authorize per minute and address").unit("per minute"),
    Setting::integer("LIMIT_AUTHORIZE_TOTAL", "limits.authorize_total", "requests to /authorize per minute in total; each leaves a record for ten minutes").unit("per minute"),
    Setting::integer("LIMIT_DOCUMENTS", "limits.documents", "client-id metadata documents fetched per minute and address").unit("per minute"),
    Setting::integer("LIMIT_SIGN_IN", "limits.sign_in", "requests to the other pages of a sign-in per minute and address").unit("per minute"),
    Setting::integer("LIMIT_PASSWORDS", "limits.passwords", "passwords per minute for one name from one address, with the local provider").unit("per minute"),
    Setting::integer("LIMIT_PASSWORDS_OF_NAME", "limits.passwords_of_name", "passwords per minute for one name from anywhere; beyond it answers take some seconds, but nobody is locked out").unit("per minute"),
    Setting::integer("LIMIT_TOKEN", "limits.token", "requests to /token per minute, client and address").unit("per minute"),
    Setting::integer("LIMIT_TOKEN_FAILURES", "limits.token_failures", "refused requests to /token per minute, client and address").unit("per minute"),
    Setting::integer("LIMIT_REVOKE", "limits.revoke", "requests to /revoke per minute, client and address").unit("per minute"),
    Setting::integer("LIMIT_INTROSPECT", "limits.introspect", "requests to /introspect per minute, client and address").unit("per minute"),
    Setting::integer("LIMIT_ADDRESS", "limits.address", "requests of clients (/token, /revoke, /introspect, /register/...) per minute and address").unit("per minute"),
    Setting::integer("LIMIT_DEVICE_AUTHORIZATION", "limits.device_authorization", "requests to /device_authorization per minute and address").unit("per minute"),
    Setting::integer("LIMIT_DEVICE_AUTHORIZATION_TOTAL", "limits.device_authorization_total", "requests to /device_authorization per minute in total").unit("per minute"),
    Setting::integer("LIMIT_DEVICE_CODES", "limits.device_codes", "wrong codes at /device per minute and address").unit("per minute"),
    Setting::integer("LIMIT_VERIFY_IN_FLIGHT", "limits.verify_in_flight", "answers of /verify that may wait for the store at once; beyond: 503 at once (there is no other limit on /verify, and 0 lets none wait)"),
    telemetry::LOG_LEVEL,
    telemetry::LOG_FORMAT,
];

#[cfg(test)]
mod tests {
    use chassis::config::Reference;

    use super::*;

    #[test]
    fn every_key_is_described() {
        let mut config = Config::default();
        config
            .services
            .insert("NAME".to_owned(), Service::default());
        config
            .client_rules
            .insert("ID".to_owned(), ClientRules::default());
        config
            .operator_clients
            .insert("NAME".to_owned(), OperatorClient::default());
        let missing = Reference::missing(&config, SETTINGS, FILE_KEYS);
        assert!(
            missing.is_empty(),
            "neither in SETTINGS nor in FILE_KEYS: {missing:?}"
        );
    }
}
