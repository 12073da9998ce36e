//! Who knows the people, and who of them may come in.

use chassis::config::{ConfigError, Loaded, Secret};
use oauth::identity::{AccessPolicy, Spelling};
use url::Url;

use crate::config::Config;
use crate::idp::local::LocalUsers;
use crate::idp::oidc::OidcSettings;

#[derive(Debug)]
pub(crate) enum ProviderSettings {
    GitHub {
        client_id: String,
        client_secret: Secret,
        url: Url,
        api_url: Url,
    },
    Local(LocalUsers),
    Oidc(OidcSettings),
}

pub(super) fn provider(loaded: &Loaded<Config>) -> Result<ProviderSettings, ConfigError> {
    let config = &loaded.config;
    match config.identity_provider.as_str() {
        "" | "github" => {
            if config.github.client_id.is_empty() {
                return Err(loaded.missing("github.client_id"));
            }
            let Some(client_secret) = config.github.client_secret.clone() else {
                return Err(loaded.missing("github.client_secret"));
            };
            Ok(ProviderSettings::GitHub {
                client_id: config.github.client_id.clone(),
                client_secret,
                url: secret_url(loaded, "github.url", &config.github.url)?,
                api_url: secret_url(loaded, "github.api_url", &config.github.api_url)?,
            })
        }
        "local" => {
            let users = config
                .local
                .users
                .as_ref()
                .ok_or_else(|| loaded.missing("local.users"))?;
            let users = LocalUsers::parse(users.expose())
                .map_err(|error| loaded.invalid("local.users", format!("is refused: {error}")))?;
            Ok(ProviderSettings::Local(users))
        }
        "oidc" => Ok(ProviderSettings::Oidc(oidc(loaded)?)),
        _ => Err(loaded.invalid(
            "identity_provider",
            "is not a provider; use github, oidc or local",
        )),
    }
}

fn oidc(loaded: &Loaded<Config>) -> Result<OidcSettings, ConfigError> {
    let oidc = &loaded.config.oidc;
    for (key, value) in [
        ("oidc.issuer", &oidc.issuer),
        ("oidc.client_id", &oidc.client_id),
    ] {
        if value.is_empty() {
            return Err(loaded.missing(key));
        }
    }
    let Some(client_secret) = oidc.client_secret.clone() else {
        return Err(loaded.missing("oidc.client_secret"));
    };
    let url = secret_url(loaded, "oidc.issuer", &oidc.issuer)?;
    // OpenID Connect Discovery section 2.
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_plain || oidc.issuer.ends_with("/.well-known/openid-configuration") {
        let wrong = "is not an issuer: it is the URL before /.well-known/openid-configuration, without query and fragment";
        return Err(loaded.invalid("oidc.issuer", wrong));
    }
    // RFC 6749 section 3.3; one text with spaces is a list too, because that is how providers show scopes.
    let scopes: Vec<&str> = oidc
        .scopes
        .iter()
        .flat_map(|scope| scope.split_whitespace())
        .collect();
    let is_scope = |scope: &&str| {
        let is_allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        scope.bytes().all(is_allowed)
    };
    if !scopes.iter().all(is_scope) || !scopes.contains(&"openid") {
        let wrong = "must be scopes and have openid among them";
        return Err(loaded.invalid("oidc.scopes", wrong));
    }
    for (key, value) in [
        ("oidc.login_claim", &oidc.login_claim),
        ("oidc.groups_claim", &oidc.groups_claim),
    ] {
        if value.is_empty() {
            return Err(loaded.invalid(key, "is empty; name a claim"));
        }
    }
    Ok(OidcSettings {
        url,
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        client_secret,
        scopes: scopes.join(" "),
        login_claim: oidc.login_claim.clone(),
        groups_claim: oidc.groups_claim.clone(),
    })
}

pub(super) fn directory(loaded: &Loaded<Config>) -> Result<Option<(Url, Secret)>, ConfigError> {
    let github = &loaded.config.github;
    let is_github = matches!(loaded.config.identity_provider.as_str(), "" | "github");
    let Some(token) = github.org_token.clone().filter(|_| is_github) else {
        return Ok(None);
    };
    let url = secret_url(loaded, "github.api_url", &github.api_url)?;
    Ok(Some((url, token)))
}

fn secret_url(loaded: &Loaded<Config>, key: &str, text: &str) -> Result<Url, ConfigError> {
    let url =
        Url::parse(text).map_err(|error| loaded.invalid(key, format!("is not a URL: {error}")))?;
    if is_safe_for_secrets(&url) {
        Ok(url)
    } else {
        Err(loaded.invalid(key, "must be an https URL, because secrets are sent there"))
    }
}

/// Secrets may go to an address only by https, unless it is on this machine.
pub(crate) fn is_safe_for_secrets(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

pub(super) fn policy(
    loaded: &Loaded<Config>,
    provider: &ProviderSettings,
) -> Result<AccessPolicy, ConfigError> {
    let (policy, key) = match provider {
        // By name, so that somebody who is taken off the list is out at once.
        ProviderSettings::Local(users) => {
            return Ok(AccessPolicy::new(&users.names(), &[], &[]));
        }
        ProviderSettings::GitHub { .. } => {
            let github = &loaded.config.github;
            let policy = AccessPolicy::new(
                &github.allowed_users,
                &github.allowed_orgs,
                &github.allowed_teams,
            );
            (policy, "github.allowed_users")
        }
        ProviderSettings::Oidc(_) => {
            let oidc = &loaded.config.oidc;
            let (users, groups) = (&oidc.allowed_users, &oidc.allowed_groups);
            let policy = AccessPolicy::spelled(Spelling::Exact, users, groups, &[]);
            (policy, "oidc.allowed_users")
        }
    };
    if policy.is_empty() {
        return Err(loaded.missing(key));
    }
    Ok(policy)
}
