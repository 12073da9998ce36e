//! A store as a large installation has it, written past the service.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use oauth::authorize::AuthorizeRequest;
use oauth::client::Client;
use oauth::client_metadata::ClientMetadata;
use oauth::session::{Lifetimes, Person, Session};
use oauth::{Clock as _, Subject, SystemClock, SystemEntropy};
use serde_json::json;
use store::Store;
use tokio::task::JoinSet;

use super::SERVICE;

/// Registered clients.
pub const CLIENTS: usize = 100_000;
/// Sessions, each with a refresh token, ten for each client.
pub const SESSIONS: usize = 1_000_000;

const DAY: u64 = 24 * 3600;
const LIFETIMES: Lifetimes = Lifetimes {
    idle: 30 * DAY,
    absolute: 90 * DAY,
    grace: 120,
};

/// Stores so many clients and sessions with so many writers at once; each person has a hundred sessions. In a file, changes
/// that wait together become one commit; for Redis each writer needs a connection of the pool, which has sixteen.
///
/// # Errors
///
/// If the store refuses one.
pub async fn fill(store: &Store, clients: usize, sessions: usize, writers: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        let each = sessions / clients.max(1);
        tasks.spawn(async move {
            for number in (writer..clients).step_by(writers) {
                add_client(&store, number, each).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn add_client(store: &Store, number: usize, sessions: usize) -> Result<()> {
    let now = SystemClock.now();
    let metadata: ClientMetadata = serde_json::from_value(json!({
        "redirect_uris": ["http://localhost:33418/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": format!("Client {number}"),
        "scope": "mcp",
    }))?;
    let (client, _) = Client::register(metadata, now, &SystemEntropy);
    let request: AuthorizeRequest = serde_json::from_value(json!({
        "client_id": client.id,
        "redirect_uri": "http://localhost:33418/callback",
        "state": null,
        "scope": "mcp",
        "code_challenge": "A".repeat(43),
        "service": SERVICE,
    }))?;
    store.adopt_client(client, 90 * DAY, now).await?;
    for session in 0..sessions {
        let login = format!("person-{}", (number * sessions + session) / 100);
        let person = Person {
            subject: Subject::parse(&format!("local:{login}")).context("a subject")?,
            login,
            names: BTreeSet::new(),
            memberships: BTreeSet::new(),
        };
        let session = Session::for_device(&request, person, now, LIFETIMES, now, &SystemEntropy);
        store.open_session(session, 3600, now).await?;
    }
    Ok(())
}
