//! What the configuration means: everything parsed and checked, so that no later step can meet a wrong value.

mod people;
mod provider;
mod rules;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::{ConfigError, Environment, Loaded, Secret};
use chassis::peer::TrustedProxies;
use oauth::rules::{Rules, TokenLifetimes};
use oauth::session::Lifetimes;
use oauth::site::{InvalidSites, canonical_host};
use oauth::{ServiceName, Sites};

use crate::client_document::DocumentPolicy;
use crate::config::{Config, LimitsConfig};
use crate::keys::settings::KeySettings;

pub(crate) use self::people::PeopleSettings;
pub(crate) use self::provider::{ProviderSettings, is_safe_for_secrets};

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) sites: Sites,
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    pub(crate) address_file: Option<PathBuf>,
    /// How long a stopping service still accepts.
    pub(crate) drain: Duration,
    pub(crate) store: StoreSettings,
    /// How many MiB should be free for the store file.
    pub(crate) free_space: u64,
    pub(crate) provider: ProviderSettings,
    /// Who may do what; may change while the service runs.
    pub(crate) rules: Rules,
    /// The signing keys.
    pub(crate) keys: KeySettings,
    /// How long what is known of people counts.
    pub(crate) people: PeopleSettings,
    /// Asks GitHub about members, with the operator's own token.
    pub(crate) directory: Option<(url::Url, Secret)>,
    pub(crate) tokens: TokenSettings,
    /// Who may register a client.
    pub(crate) registration: Registration,
    /// Whose client-id metadata documents are fetched.
    pub(crate) documents: DocumentPolicy,
    /// How often what may be asked.
    pub(crate) limits: LimitsConfig,
    /// Whose word about the client's address is believed.
    pub(crate) trusted_proxies: TrustedProxies,
}

/// Who may register a client.
#[derive(Debug)]
pub(crate) enum Registration {
    /// Everybody, within the limits.
    Open,
    /// Who has this initial access token (RFC 7591 section 3).
    WithToken(Secret),
    /// Nobody.
    Off,
}

#[derive(Debug)]
pub(crate) enum StoreSettings {
    Memory,
    Embedded(PathBuf),
    Redis {
        url: String,
        password: Option<Secret>,
        sentinel_password: Option<Secret>,
        prefix: String,
    },
}

/// Lifetimes and bounds, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenSettings {
    pub(crate) access_token_lifetime: u64,
    pub(crate) session: Lifetimes,
    pub(crate) client_lifetime: u64,
    pub(crate) most_clients: u64,
}

impl Settings {
    pub(crate) fn check(
        loaded: &Loaded<Config>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let config = &loaded.config;
        let sites = sites(loaded, environment)?;
        let tokens = tokens(loaded)?;
        let provider = provider::provider(loaded)?;
        let lifetimes = TokenLifetimes {
            access_token: tokens.access_token_lifetime,
            session: tokens.session,
        };
        let people = provider::policy(loaded, &provider)?;
        let rules = rules::rules(loaded, environment, &sites, &people, lifetimes)?;
        let keys = KeySettings::check(loaded, rules.longest_access_token())?;
        Ok(Self {
            rules,
            sites,
            tokens,
            public: address(
                loaded,
                "listen.host",
                &config.listen.host,
                config.listen.port,
            )?,
            private: address(
                loaded,
                "private.host",
                &config.private.host,
                config.private.port,
            )?,
            address_file: config.address_file.clone(),
            drain: drain(loaded)?,
            store: store(loaded)?,
            free_space: config.store.free_space,
            provider,
            keys,
            people: people::people(loaded)?,
            directory: provider::directory(loaded)?,
            registration: registration(loaded)?,
            documents: documents(loaded)?,
            limits: config.limits.clone(),
            trusted_proxies: trusted_proxies(loaded)?,
        })
    }
}

/// Longest time that a stopping service still accepts requests; what is in flight then has the rest of the stop time.
const LONGEST_DRAIN: u64 = 20;

fn drain(loaded: &Loaded<Config>) -> Result<Duration, ConfigError> {
    let seconds = loaded.config.listen.drain.get();
    if seconds > LONGEST_DRAIN {
        return Err(loaded.invalid("listen.drain", "must be at most 20 seconds"));
    }
    Ok(Duration::from_secs(seconds))
}

fn trusted_proxies(loaded: &Loaded<Config>) -> Result<TrustedProxies, ConfigError> {
    TrustedProxies::parse(&loaded.config.listen.trusted_proxies).map_err(|wrong| {
        loaded.invalid(
            "listen.trusted_proxies",
            format!("holds {wrong:?}, not an address or a network"),
        )
    })
}

fn registration(loaded: &Loaded<Config>) -> Result<Registration, ConfigError> {
    let clients = &loaded.config.clients;
    match (clients.registration.as_str(), &clients.registration_token) {
        ("open", None) => Ok(Registration::Open),
        ("off", _) => Ok(Registration::Off),
        ("token", None) => Err(loaded.missing("clients.registration_token")),
        ("token", Some(token)) if token.expose().len() < 32 => Err(loaded.invalid(
            "clients.registration_token",
            "must have at least 32 random characters",
        )),
        ("token", Some(token)) => Ok(Registration::WithToken(token.clone())),
        ("open", Some(_)) => Err(loaded.invalid(
            "clients.registration",
            "does not go together with CLIENT_REGISTRATION_TOKEN; use token",
        )),
        _ => Err(loaded.invalid(
            "clients.registration",
            "is not a way of registration; use open, token or off",
        )),
    }
}

fn documents(loaded: &Loaded<Config>) -> Result<DocumentPolicy, ConfigError> {
    let written: Vec<&str> = loaded
        .config
        .clients
        .documents
        .iter()
        .map(String::as_str)
        .collect();
    match written[..] {
        ["any"] => return Ok(DocumentPolicy::Any),
        ["off"] => return Ok(DocumentPolicy::Off),
        [] => {
            return Err(loaded.invalid("clients.documents", "is empty"));
        }
        _ => {}
    }
    let is_host =
        |name: &str| name.contains('.') && canonical_host(name).is_some_and(|host| host == name);
    if let Some(wrong) = written.iter().find(|name| !is_host(name)) {
        return Err(loaded.invalid(
            "clients.documents",
            format!("holds {wrong:?}, not a host name in lower case"),
        ));
    }
    Ok(DocumentPolicy::Hosts(
        written.into_iter().map(str::to_owned).collect(),
    ))
}

fn sites(loaded: &Loaded<Config>, environment: &Environment) -> Result<Sites, ConfigError> {
    let config = &loaded.config;
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for name in &config.service_names {
        names.insert(name.clone(), "service_names");
    }
    for name in config.services.keys() {
        names.insert(name.clone(), "services");
    }
    for variable in environment.names() {
        let Some(name) = variable
            .strip_prefix("MCP_")
            .and_then(|rest| rest.strip_suffix("_ENABLED"))
        else {
            continue;
        };
        if environment
            .get(variable)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            names.insert(
                format!("mcp-{}", name.to_lowercase().replace('_', "-")),
                "service_names",
            );
        }
    }
    // Whoever turns a service off there need not know who else names it.
    names.retain(|name, _| config.services.get(name).is_none_or(|rules| rules.enabled));
    let mut services = Vec::new();
    for (name, key) in names {
        let service = ServiceName::parse(&name)
            .map_err(|error| loaded.invalid(key, format!("is refused: {error}")))?;
        if name == "auth" {
            return Err(loaded.invalid(
                key,
                "is the host of this server; name the service otherwise",
            ));
        }
        services.push(service);
    }
    Sites::new(
        &config.public.scheme,
        &config.domain,
        config.public.port,
        services,
    )
    .map_err(|error| {
        let key = match error {
            InvalidSites::Domain(_) => "domain",
            InvalidSites::Scheme(_) | InvalidSites::PlainHttp(_) => "public.scheme",
        };
        loaded.invalid(key, format!("is refused: {error}"))
    })
}

fn address(
    loaded: &Loaded<Config>,
    key: &str,
    host: &str,
    port: u16,
) -> Result<SocketAddr, ConfigError> {
    let ip: IpAddr = host.parse().map_err(|_| {
        loaded.invalid(
            key,
            "is not an IP address; use 127.0.0.1, or 0.0.0.0 in a container",
        )
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// Where the store is, for commands that need nothing else.
pub(crate) fn store(loaded: &Loaded<Config>) -> Result<StoreSettings, ConfigError> {
    let config = &loaded.config;
    match config.store.kind.as_str() {
        "memory" => Ok(StoreSettings::Memory),
        "redb" => Ok(StoreSettings::Embedded(config.store.path.clone())),
        "redis" => Ok(StoreSettings::Redis {
            url: config.redis.url.clone(),
            password: config.redis.password.clone(),
            sentinel_password: config.redis.sentinel_password.clone(),
            prefix: config.redis.prefix.clone(),
        }),
        _ => Err(loaded.invalid("store.kind", "is not a store; use redb, redis or memory")),
    }
}

fn tokens(loaded: &Loaded<Config>) -> Result<TokenSettings, ConfigError> {
    let tokens = &loaded.config.tokens;
    let day = 24 * 3600;
    for (key, value, least, most) in [
        (
            "tokens.access_token_lifetime",
            tokens.access_token_lifetime.get(),
            10,
            30 * day,
        ),
        (
            "tokens.refresh_token_lifetime",
            tokens.refresh_token_lifetime.get(),
            60,
            3650 * day,
        ),
        ("tokens.refresh_grace", tokens.refresh_grace.get(), 0, 300),
        (
            "tokens.session_lifetime",
            tokens.session_lifetime.get(),
            60,
            3650 * day,
        ),
    ] {
        if value < least || value > most {
            return Err(loaded.invalid(key, format!("must be between {least} and {most} seconds")));
        }
    }
    Ok(TokenSettings {
        access_token_lifetime: tokens.access_token_lifetime.get(),
        session: Lifetimes {
            idle: tokens.refresh_token_lifetime.get(),
            absolute: tokens.session_lifetime.get(),
            grace: tokens.refresh_grace.get(),
        },
        client_lifetime: loaded.config.clients.lifetime.get(),
        most_clients: loaded.config.clients.most,
    })
}
