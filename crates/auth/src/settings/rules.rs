//! The operator's rules, from `[services.NAME]`, `[client_rules."ID"]`, `[operator_clients.NAME]` and `MCP_<NAME>_…`.

use std::collections::BTreeSet;

use chassis::config::{ConfigError, Environment, Loaded, Seconds};
use oauth::client::Client;
use oauth::identity::AccessPolicy;
use oauth::operator::{OperatorClientName, OperatorRights};
use oauth::rules::{LifetimeRules, Rules, ServiceRules, TokenLifetimes};
use oauth::secret::{ClientSecret, Hashed};
use oauth::{ClientId, ScopeSet, ServiceName, Sites, Timestamp};

use crate::config::{self, Config};

/// Least and most seconds of each lifetime.
const ACCESS_TOKEN: (u64, u64) = (10, 30 * 24 * 3600);
const SESSION: (u64, u64) = (60, 3650 * 24 * 3600);

/// All rules of the configuration. `people` may come in at all.
pub(super) fn rules(
    loaded: &Loaded<Config>,
    environment: &Environment,
    sites: &Sites,
    people: &AccessPolicy,
    lifetimes: TokenLifetimes,
) -> Result<Rules, ConfigError> {
    let config = &loaded.config;
    let mut rules = Rules::new(sites.clone(), people.clone(), lifetimes);
    for name in sites.services() {
        let mut written = config
            .services
            .get(name.as_str())
            .cloned()
            .unwrap_or_default();
        from_environment(loaded, environment, name, &mut written)?;
        rules = rules.with_service(name.clone(), service(loaded, name, &written, people)?);
    }
    for (id, written) in &config.client_rules {
        let key = format!("client_rules.{id}");
        let client = ClientId::parse(id)
            .map_err(|error| loaded.invalid(&key, format!("is refused: {error}")))?;
        let lifetimes = lifetimes_of(
            loaded,
            &key,
            written.access_token_lifetime,
            written.refresh_token_lifetime,
            written.session_lifetime,
        )?;
        rules = rules.with_client(client, lifetimes);
    }
    for (name, written) in &config.operator_clients {
        rules = rules.with_operator_client(operator_client(loaded, sites, name, written)?);
    }
    Ok(rules)
}

/// `MCP_<NAME>_USERS`, `_ORGS`, `_TEAMS`, `_GROUPS`, `_SCOPES` (with commas) and `_PUBLIC` count before the file.
fn from_environment(
    loaded: &Loaded<Config>,
    environment: &Environment,
    name: &ServiceName,
    written: &mut config::Service,
) -> Result<(), ConfigError> {
    let Some(short) = name.as_str().strip_prefix("mcp-") else {
        return Ok(());
    };
    let prefix = format!("MCP_{}", short.to_uppercase().replace('-', "_"));
    let list = |what: &str| {
        let text = environment.get(&format!("{prefix}_{what}"))?;
        let parts = text.split(',').map(str::trim);
        Some(
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    };
    written.users = list("USERS").or(written.users.take());
    written.orgs = list("ORGS").or(written.orgs.take());
    written.teams = list("TEAMS").or(written.teams.take());
    written.groups = list("GROUPS").or(written.groups.take());
    if let Some(scopes) = list("SCOPES") {
        written.scopes = scopes;
    }
    let variable = format!("{prefix}_PUBLIC");
    match environment.get(&variable) {
        None => {}
        Some("true") => written.public = true,
        Some("false") => written.public = false,
        Some(_) => return Err(loaded.invalid(&variable, "is neither true nor false")),
    }
    Ok(())
}

fn service(
    loaded: &Loaded<Config>,
    name: &ServiceName,
    written: &config::Service,
    general: &AccessPolicy,
) -> Result<ServiceRules, ConfigError> {
    let key = |member: &str| format!("services.{name}.{member}");
    let scopes = ScopeSet::parse(&written.scopes.join(" "))
        .map_err(|error| loaded.invalid(&key("scopes"), format!("is refused: {error}")))?;
    if scopes.contains(oauth::scope::OFFLINE_ACCESS) {
        let wrong = "holds offline_access, which says how long a client stays signed in and opens no service";
        return Err(loaded.invalid(&key("scopes"), wrong));
    }
    let is_oidc = loaded.config.identity_provider == "oidc";
    let (of_github, of_oidc) = (
        written.orgs.is_some() || written.teams.is_some(),
        written.groups.is_some(),
    );
    if is_oidc && of_github {
        let wrong = "is about GitHub; with the oidc provider write groups";
        return Err(loaded.invalid(&key("orgs"), wrong));
    }
    if !is_oidc && of_oidc {
        let wrong = "is for the oidc provider; with GitHub write orgs or teams";
        return Err(loaded.invalid(&key("groups"), wrong));
    }
    let has_list = written.users.is_some() || of_github || of_oidc;
    if written.public && has_list {
        let wrong = "goes together with no list: a public service asks nobody who they are";
        return Err(loaded.invalid(&key("public"), wrong));
    }
    let people = has_list.then(|| {
        let of = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let lists = [&written.orgs, &written.teams, &written.groups];
        general.alike(&of(&written.users), &lists.map(of).concat())
    });
    if people.as_ref().is_some_and(AccessPolicy::is_empty) {
        let wrong = "admits nobody; leave users, orgs, teams and groups out to admit everybody who may come in at all, or set enabled = false";
        return Err(loaded.invalid(&key("users"), wrong));
    }
    let mut rules = ServiceRules::needing(&scopes);
    rules.people = people;
    rules.is_public = written.public;
    rules.lifetimes = lifetimes_of(
        loaded,
        &format!("services.{name}"),
        written.access_token_lifetime,
        written.refresh_token_lifetime,
        written.session_lifetime,
    )?;
    Ok(rules)
}

fn lifetimes_of(
    loaded: &Loaded<Config>,
    table: &str,
    access_token: Option<Seconds>,
    idle: Option<Seconds>,
    absolute: Option<Seconds>,
) -> Result<LifetimeRules, ConfigError> {
    let checked = |member: &str, value: Option<Seconds>, (least, most): (u64, u64)| {
        let value = value.map(Seconds::get);
        if value.is_some_and(|value| value < least || value > most) {
            let wrong = format!("must be between {least} and {most} seconds");
            return Err(loaded.invalid(&format!("{table}.{member}"), wrong));
        }
        Ok(value)
    };
    Ok(LifetimeRules {
        access_token: checked("access_token_lifetime", access_token, ACCESS_TOKEN)?,
        idle: checked("refresh_token_lifetime", idle, SESSION)?,
        absolute: checked("session_lifetime", absolute, SESSION)?,
    })
}

fn operator_client(
    loaded: &Loaded<Config>,
    sites: &Sites,
    name: &str,
    written: &config::OperatorClient,
) -> Result<Client, ConfigError> {
    let table = format!("operator_clients.{name}");
    let services = |member: &str, names: &[String]| {
        names
            .iter()
            .map(|service| {
                sites.service(service).cloned().ok_or_else(|| {
                    let wrong = format!("holds {service:?}, which is no service of this gateway");
                    loaded.invalid(&format!("{table}.{member}"), wrong)
                })
            })
            .collect::<Result<BTreeSet<_>, _>>()
    };
    let rights = OperatorRights {
        services: services("services", &written.services)?,
        introspects: services("introspects", &written.introspects)?,
    };
    let name = OperatorClientName::parse(name)
        .map_err(|error| loaded.invalid(&table, format!("is refused: {error}")))?;
    let secret: Hashed<ClientSecret> = serde_json::from_value(serde_json::Value::from(
        written.secret_hash.as_str(),
    ))
    .map_err(|_| {
        let wrong = "is not the hash of a secret; make both with: mcp-auth new-client-secret";
        loaded.invalid(&format!("{table}.secret_hash"), wrong)
    })?;
    // The instant of its creation is not known; its sessions count whatever their age.
    Ok(Client::configured(
        &name,
        rights,
        secret,
        Timestamp::UNIX_EPOCH,
    ))
}
