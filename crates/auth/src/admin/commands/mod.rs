//! The operator's commands: what they are called, what they ask, what they print.

mod clients;
mod keys;
mod output;
mod sessions;
mod users;

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use url::Url;

use self::clients::Clients;
use self::keys::Keys;
use self::output::{confirm, said, text};
use self::sessions::Sessions;
use self::users::Users;
use super::client::AdminClient;
use super::view::{Purged, Stats};

/// How a command talks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Manner {
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The private listener of the service [default: from the configuration].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<Url>,
    /// Do not ask before something is ended.
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Clients: list, show, delete, create.
    Clients {
        #[command(subcommand)]
        command: Option<Clients>,
    },
    /// Sessions (a grant of one person to one client for one service, with all its tokens): list, show, revoke.
    #[command(alias = "grants", alias = "tokens")]
    Sessions {
        #[command(subcommand)]
        command: Option<Sessions>,
    },
    /// People who have signed in: list, show, revoke everything, forget the pinned name or remembered consents.
    Users {
        #[command(subcommand)]
        command: Option<Users>,
    },
    /// Signing keys: list, rotate, compromised.
    Keys {
        #[command(subcommand)]
        command: Option<Keys>,
    },
    /// How many clients, sessions and people there are.
    Stats,
    /// Remove sessions of which nothing comes any more, and what has expired.
    Purge {
        /// Only count.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Most {
    /// The most entries that are shown.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
}

impl Default for Most {
    fn default() -> Self {
        Self { limit: 1000 }
    }
}

/// Does what the command says and returns what is to be printed.
pub(crate) async fn run(
    command: &Admin,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
    match command {
        Admin::Clients { command } => clients::run(command.as_ref(), service, manner).await,
        Admin::Sessions { command } => sessions::run(command.as_ref(), service, manner).await,
        Admin::Users { command } => users::run(command.as_ref(), service, manner).await,
        Admin::Keys { command } => keys::run(command.unwrap_or(Keys::List), service, manner).await,
        Admin::Stats => {
            let stats: Stats = service.get(&["stats"]).await?;
            said(manner, &stats, || shown_stats(&stats))
        }
        Admin::Purge { dry_run } => {
            if !dry_run {
                confirm(manner, "Remove what no token leads to any more?")?;
            }
            let query = [("dry_run", dry_run.to_string())];
            let purged: Purged = service.post(&["purge"], &query).await?;
            said(manner, &purged, || {
                if purged.dry_run {
                    format!("{} dead sessions would be removed", purged.sessions)
                } else {
                    format!(
                        "{} dead sessions and {} expired records removed",
                        purged.sessions, purged.expired
                    )
                }
            })
        }
    }
}

fn shown_stats(stats: &Stats) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.add_row(["clients".to_owned(), stats.clients.to_string()]);
    table.add_row(["users".to_owned(), stats.users.to_string()]);
    table.add_row(["sessions".to_owned(), stats.sessions.to_string()]);
    for (state, count) in &stats.sessions_by_state {
        table.add_row([format!("  {state}"), count.to_string()]);
    }
    for (service, count) in &stats.active_by_service {
        table.add_row([format!("  active for {service}"), count.to_string()]);
    }
    text(table)
}
