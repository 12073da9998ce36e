//! `mcp-auth import`: the clients of the Python gateway that was here before.
//!
//! Only its clients are taken. Its access tokens name no service, and its refresh tokens are bound to none: one of them would
//! be good everywhere, which is what this gateway does not do. Its codes live for a year. So people sign in once more, with
//! the client registration that they have.

use std::fmt::Write as _;

use jiff::Timestamp;
use oauth::client::Client;
use oauth::client_metadata::ClientMetadataRequest;
use oauth::secret::Plain;
use oauth::{ClientId, ScopeSet};
use serde_json::{Map, Value};
use store::{Predecessor, PredecessorClient, RedisOptions};

use super::open;
use crate::settings::StoreSettings;

/// What clients here may have.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The scopes on offer.
    pub(crate) offered_scopes: ScopeSet,
    /// How long an unused client is kept, in seconds.
    pub(crate) client_lifetime: u64,
    /// Only tell what would be done.
    pub(crate) dry_run: bool,
}

/// Reads the Redis of the predecessor and stores its clients. Returns a table of what became of each, for people.
pub(crate) async fn import(
    settings: StoreSettings,
    from: &RedisOptions,
    terms: &Terms,
    now: Timestamp,
) -> anyhow::Result<String> {
    let found = Predecessor::read(from).await?;
    let store = open(settings, false, now).await?;
    let mut report = String::new();
    let (mut taken, mut known, mut refused) = (0, 0, 0);
    for old in &found.clients {
        let outcome = match adopt(old, terms, now) {
            Ok(client) => {
                let is_new = if terms.dry_run {
                    store.client(&client.id, now).await?.is_none()
                } else {
                    store
                        .adopt_client(client, terms.client_lifetime, now)
                        .await?
                };
                if is_new {
                    taken += 1;
                    "taken".to_owned()
                } else {
                    known += 1;
                    "is here already, left as it is".to_owned()
                }
            }
            Err(reason) => {
                refused += 1;
                format!("left out: {reason}")
            }
        };
        let name = text(&old.members, "client_name").unwrap_or_default();
        // Both came from strangers.
        let (id, name) = (printable(&old.id), printable(&name));
        writeln!(report, "{id:<32}  {name:<24}  {outcome}")?;
    }
    let would = if terms.dry_run { "would be " } else { "" };
    writeln!(
        report,
        "{taken} clients {would}taken, {known} were here already, {refused} left out."
    )?;
    for (family, count) in &found.others {
        let why = match family.as_str() {
            "token" => "access tokens: they name no service; clients get new ones",
            "refresh" => "refresh tokens: they are bound to no service; people sign in once more",
            "code" => "authorization codes: they live for a year there and a minute here",
            "state" => "sign-ins under way: they begin again",
            "user_tokens" => "lists of tokens per person: what they list is not taken",
            _ => "of a kind that is not known here",
        };
        writeln!(report, "Not taken: {count} {family} ({why}).")?;
    }
    Ok(report)
}

fn printable(text: &str) -> String {
    let start: String = text.chars().take(64).collect();
    chassis::telemetry::untrusted(&start).to_string()
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    match members.get(name)? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// A number, also as the text that a Redis hash makes of it.
fn seconds(members: &Map<String, Value>, name: &str) -> Option<i64> {
    match members.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Why a client is not taken, for people.
type Reason = String;

fn adopt(old: &PredecessorClient, terms: &Terms, now: Timestamp) -> Result<Client, Reason> {
    let id = ClientId::parse(&old.id).map_err(|_| "its id is not one".to_owned())?;
    let expires_at = seconds(&old.members, "client_secret_expires_at").unwrap_or(0);
    if expires_at > 0 && expires_at <= now.as_second() {
        return Err("its registration has ended".to_owned());
    }
    let secret = match text(&old.members, "client_secret") {
        Some(secret) if !secret.is_empty() => Some(
            Plain::presented(&secret)
                .ok_or("its secret has less than 32 characters; it must register again")?,
        ),
        _ => None,
    };
    let registration_token =
        text(&old.members, "registration_access_token").and_then(|token| Plain::presented(&token));
    let issued_at = seconds(&old.members, "client_id_issued_at")
        .or_else(|| seconds(&old.members, "created_at"))
        .and_then(|second| Timestamp::from_second(second).ok())
        .filter(|issued_at| *issued_at <= now)
        .unwrap_or(now);
    let metadata = metadata(&old.members, secret.is_some())?
        .check(&terms.offered_scopes)
        .map_err(|error| error.to_string())?;
    Ok(Client::adopt(
        id,
        secret.as_ref(),
        registration_token.as_ref(),
        metadata,
        issued_at,
        now,
    ))
}

/// The members as a client would send them today. Lists stand there as JSON in a text.
fn metadata(
    members: &Map<String, Value>,
    is_confidential: bool,
) -> Result<ClientMetadataRequest, Reason> {
    let mut today = Map::new();
    for name in ["redirect_uris", "contacts"] {
        let list = match members.get(name) {
            Some(Value::String(list)) => serde_json::from_str(list).map_err(|_| {
                format!("its {name} are not a list: it was not stored by the gateway")
            })?,
            Some(list) => list.clone(),
            None => continue,
        };
        today.insert(name.to_owned(), list);
    }
    for name in [
        "client_name",
        "scope",
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "software_id",
        "software_version",
    ] {
        if let Some(text) = text(members, name) {
            today.insert(name.to_owned(), Value::String(text));
        }
    }
    let method = if is_confidential {
        "client_secret_post"
    } else {
        "none"
    };
    today.insert("token_endpoint_auth_method".to_owned(), method.into());
    serde_json::from_value(Value::Object(today))
        .map_err(|_| "its metadata has members of the wrong type".to_owned())
}
