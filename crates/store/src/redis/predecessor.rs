//! What the Python gateway that was here before left in its Redis. It is only read.
//!
//! Its layout is `oauth:FAMILY:ID`: a client is JSON text (in its first releases a hash), everything else is counted only.

use std::collections::BTreeMap;
use std::fmt;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, RedisError, cmd};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::RedisOptions;
use super::address::Address;
use super::options::{CONNECT, connection_config};
use super::servers::explain;
use crate::backend::StoreError;

const CLIENT: &str = "oauth:client:";

/// Keys that are looked at in one step.
const PAGE: usize = 500;

/// What was found.
#[derive(Debug, Default)]
pub struct Predecessor {
    /// Its clients, by their ids.
    pub clients: Vec<PredecessorClient>,
    /// How many keys there are of each other family: `code`, `refresh`, `state`, `token`, `user_tokens`.
    pub others: BTreeMap<String, u64>,
}

/// One of its clients.
pub struct PredecessorClient {
    /// Its id.
    pub id: String,
    /// What is stored of it: the members of its registration, with `client_secret` in the clear.
    pub members: Map<String, Value>,
}

impl fmt::Debug for PredecessorClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The members contain secrets.
        formatter
            .debug_struct("PredecessorClient")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Predecessor {
    /// Reads a Redis with its records; the prefix of the options is not used.
    ///
    /// # Errors
    ///
    /// When the address is none, Redis cannot be asked, or a client is not what the gateway wrote.
    pub async fn read(options: &RedisOptions) -> Result<Self, StoreError> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let address = Address::of(options)
            .map_err(|error| StoreError::unavailable(error.to_string(), error))?;
        let Address::Single(info) = address else {
            return Err(StoreError::busy(
                "the Python gateway has one Redis: name it as redis://host:6379",
            ));
        };
        let address = info.addr().to_string();
        let failed = |error: RedisError| {
            let text = format!("Redis at {address}: {}", explain(&error));
            StoreError::unavailable(text, error)
        };
        let client = Client::open(info).map_err(failed)?;
        let config = connection_config();
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => {
                return Err(StoreError::busy(format!(
                    "Redis at {address}: no connection within {CONNECT:?}"
                )));
            }
        };
        let mut found = Self::default();
        // SCAN may give a key twice.
        let mut keys = std::collections::BTreeSet::new();
        let mut cursor: u64 = 0;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg("oauth:*");
            scan.arg("COUNT").arg(PAGE);
            let (next, page): (u64, Vec<String>) =
                scan.query_async(&mut connection).await.map_err(failed)?;
            keys.extend(page);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        for key in keys {
            if let Some(id) = key.strip_prefix(CLIENT) {
                let text = client_text(&mut connection, &key).await.map_err(failed)?;
                // It may have ended since.
                let Some(text) = text else { continue };
                let members = serde_json::from_str(&text)
                    .map_err(|_| StoreError::corrupt(&key, "it is not a JSON object"))?;
                found.clients.push(PredecessorClient {
                    id: id.to_owned(),
                    members,
                });
            } else {
                let family = key.split(':').nth(1).unwrap_or_default();
                *found.others.entry(family.to_owned()).or_default() += 1;
            }
        }
        Ok(found)
    }
}

/// The JSON text of a client, also of one that is kept as a hash.
async fn client_text(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<Option<String>, RedisError> {
    let kind: String = cmd("TYPE").arg(key).query_async(connection).await?;
    if kind != "hash" {
        return cmd("GET").arg(key).query_async(connection).await;
    }
    let fields: BTreeMap<String, String> = cmd("HGETALL").arg(key).query_async(connection).await?;
    let members: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    Ok(Some(Value::Object(members).to_string()))
}
