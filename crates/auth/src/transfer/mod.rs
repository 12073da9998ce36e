//! The store as a whole: backup, restore, and what the gateway that was here before left.
//!
//! These commands open the store themselves. A store file is open to one process at a time: a backup of one that is in use is
//! asked for from the service that uses it, and for the others that service must be stopped. A Redis may be in use meanwhile.

mod backup;
mod import;
mod restore;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use store::{Kind, Store};

pub(crate) use self::backup::backup;
pub(crate) use self::import::{Terms, import};
pub(crate) use self::restore::{Options, Secrets, restore};
use crate::app::open_store;
use crate::settings::StoreSettings;

/// The store of these settings, for a command. With `must_exist` a file that is not there is an error, not a new store.
async fn open(settings: StoreSettings, must_exist: bool, now: Timestamp) -> anyhow::Result<Store> {
    match &settings {
        StoreSettings::Memory => {
            bail!("STORE is memory, which ends with its process: set STORE=redb or STORE=redis")
        }
        StoreSettings::Embedded(path) if must_exist && !path.exists() => {
            bail!(
                "there is no store file {}: set STORE_PATH to the one that the service uses",
                path.display()
            )
        }
        StoreSettings::Embedded(_) | StoreSettings::Redis { .. } => {}
    }
    let backend = open_store(settings)
        .await
        .context("the store cannot be opened for this command")?;
    let store = Store::new(backend);
    // One question, so that a store that cannot be asked is said before anything is done. (Not the one of readiness: a
    // Redis that is not fit for the service may be left by a backup.)
    let key = store::Key::new(Kind::KeyRing, "main");
    store.backend().read(&[key], now).await?;
    Ok(store)
}

/// Says on standard error how far a long work is, at most every two seconds.
struct Progress {
    what: &'static str,
    said: Instant,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            said: Instant::now(),
        }
    }

    fn at(&mut self, count: u64) {
        if self.said.elapsed() >= Duration::from_secs(2) {
            self.said = Instant::now();
            eprintln!("mcp-auth: {count} records {} …", self.what);
        }
    }
}

/// `3 client, 2 session`.
fn counted(counts: &BTreeMap<Kind, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    counts.join(", ")
}
