//! The operator's commands: what they are called, what they ask, what they print.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use oauth::Timestamp;
use serde::Serialize;
use url::Url;

use super::client::AdminClient;
use super::view::{
    ClientView, ConsentView, CreatedClient, Ended, KeyView, NewClient, Purged, RotationView,
    SessionView, Stats, UserView,
};

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
    limit: u32,
}

impl Default for Most {
    fn default() -> Self {
        Self { limit: 1000 }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clients {
    /// All clients.
    List(Most),
    /// One client.
    Show { client_id: String },
    /// Delete a client; its sessions end with it.
    Delete { client_id: String },
    /// Create a client that works by itself (`client_credentials`); its secret is printed once.
    Create {
        /// Its name, which is its `client_id`.
        name: String,
        /// A service that it may use; may be repeated.
        #[arg(long = "service", value_name = "NAME")]
        services: Vec<String>,
        /// A service whose tokens it may ask about (/introspect); may be repeated.
        #[arg(long = "introspects", value_name = "NAME")]
        introspects: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// All sessions, or those of a client or a person.
    List {
        /// Of this client.
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<String>,
        /// Of this person, by subject or name.
        #[arg(long, value_name = "USER", conflicts_with = "client")]
        user: Option<String>,
        #[command(flatten)]
        most: Most,
    },
    /// One session.
    Show {
        // One in 64 ids begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// End a session with all its tokens.
    #[command(alias = "delete")]
    Revoke {
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Everybody who has signed in.
    List(Most),
    /// One person, by subject (github:583231) or name.
    Show { user: String },
    /// End every session of a person, or of everybody.
    Revoke {
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        user: Option<String>,
        /// Of everybody.
        #[arg(long)]
        all: bool,
    },
    /// Let the name of a person on the allow-list belong to whoever comes in by it next.
    ForgetPin { user: String },
    /// What a person need not agree to again, because they wanted their consent remembered.
    Consents { user: String },
    /// Ask a person again: forget one remembered consent, or all of theirs.
    ForgetConsents {
        user: String,
        /// Its id [default: all].
        #[arg(allow_hyphen_values = true)]
        id: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Keys {
    /// The keys and their states.
    List,
    /// Publish the next key now; it signs as soon as every verifier can know it. No token ends.
    Rotate,
    /// Somebody else may have the keys: a fresh one signs at once, every access token is void. Refresh tokens live.
    Compromised,
}

/// Does what the command says and returns what is to be printed.
pub(crate) async fn run(
    command: &Admin,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
    match command {
        Admin::Clients { command } => clients(command.as_ref(), service, manner).await,
        Admin::Sessions { command } => sessions(command.as_ref(), service, manner).await,
        Admin::Users { command } => users(command.as_ref(), service, manner).await,
        Admin::Keys { command } => keys(command.unwrap_or(Keys::List), service, manner).await,
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

async fn clients(
    command: Option<&Clients>,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
    let most = Most::default();
    match command.unwrap_or(&Clients::List(most)) {
        Clients::List(most) => {
            let listed = service.list(&["clients"], &[], most.limit as usize).await?;
            list(
                manner,
                listed,
                [
                    "CLIENT ID",
                    "NAME",
                    "KIND",
                    "REGISTERED",
                    "LAST USED",
                    "ENDS",
                ],
                |client: &ClientView| {
                    [
                        client.client_id.clone(),
                        client.client_name.clone(),
                        client.kind.clone(),
                        time(client.registered_at),
                        optional(client.last_used_at, "never"),
                        optional(client.expires_at, "never"),
                    ]
                },
            )
        }
        Clients::Show { client_id } => {
            one::<ClientView>(manner, service.get(&["clients", client_id]).await?)
        }
        Clients::Delete { client_id } => {
            confirm(
                manner,
                &format!("Delete the client {client_id}? Its sessions end with it."),
            )?;
            let ended: Ended = service.delete(&["clients", client_id]).await?;
            said(manner, &ended, || format!("{client_id} is deleted"))
        }
        Clients::Create {
            name,
            services,
            introspects,
        } => {
            let new = NewClient {
                name: name.clone(),
                services: services.clone(),
                introspects: introspects.clone(),
            };
            let created: CreatedClient = service.create(&["clients"], &new).await?;
            said(manner, &created, || {
                format!(
                    "client_id      {}\nclient_secret  {}\nThe secret is not kept: store it now.",
                    created.client_id, created.client_secret
                )
            })
        }
    }
}

async fn sessions(
    command: Option<&Sessions>,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
    let all = Sessions::List {
        client: None,
        user: None,
        most: Most::default(),
    };
    match command.unwrap_or(&all) {
        Sessions::List { client, user, most } => {
            let mut filter = Vec::new();
            if let Some(client) = client {
                filter.push(("client_id", client.clone()));
            }
            if let Some(user) = user {
                filter.push(("subject", subject(service, user).await?));
            }
            let listed = service
                .list(&["sessions"], &filter, most.limit as usize)
                .await?;
            list(
                manner,
                listed,
                [
                    "ID",
                    "USER",
                    "CLIENT ID",
                    "SERVICE",
                    "STATE",
                    "LAST USED",
                    "ENDS",
                ],
                |session: &SessionView| {
                    [
                        session.id.clone(),
                        session.login.clone(),
                        session.client_id.clone(),
                        session.service.clone(),
                        session.state.clone(),
                        optional(session.last_used_at, ""),
                        optional(session.ends_at, ""),
                    ]
                },
            )
        }
        Sessions::Show { id } => one::<SessionView>(manner, service.get(&["sessions", id]).await?),
        Sessions::Revoke { id } => {
            confirm(
                manner,
                &format!("End the session {id} with all its tokens?"),
            )?;
            let ended: Ended = service.delete(&["sessions", id]).await?;
            said(manner, &ended, || format!("{id} is revoked"))
        }
    }
}

async fn users(
    command: Option<&Users>,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
    let most = Most::default();
    match command.unwrap_or(&Users::List(most)) {
        Users::List(most) => {
            let listed = service.list(&["users"], &[], most.limit as usize).await?;
            list(
                manner,
                listed,
                ["SUBJECT", "NAME", "FIRST SEEN", "REVOKED UP TO"],
                |user: &UserView| {
                    [
                        user.subject.clone(),
                        user.login.clone(),
                        time(user.first_seen_at),
                        optional(user.revoked_up_to, ""),
                    ]
                },
            )
        }
        Users::Show { user } => {
            let subject = subject(service, user).await?;
            one::<UserView>(manner, service.get(&["users", &subject]).await?)
        }
        Users::Revoke { user, .. } => {
            let ended: Ended = match user {
                None => {
                    confirm(manner, "End every session of everybody?")?;
                    service.post(&["users", "revoke"], &[]).await?
                }
                Some(user) => {
                    let subject = subject(service, user).await?;
                    confirm(manner, &format!("End every session of {subject}?"))?;
                    service.post(&["users", &subject, "revoke"], &[]).await?
                }
            };
            said(manner, &ended, || match &ended.ended[..] {
                [] => "nobody has ever signed in".to_owned(),
                ended => format!("every session is ended of {}", ended.join(", ")),
            })
        }
        Users::ForgetPin { user } => {
            let subject = subject(service, user).await?;
            let question =
                format!("Let the pinned names of {subject} belong to whoever comes next?");
            confirm(manner, &question)?;
            let freed: Ended = service.delete(&["users", &subject, "pins"]).await?;
            said(manner, &freed, || match &freed.ended[..] {
                [] => format!("no name belongs to {subject}"),
                names => format!("free again: {}", names.join(", ")),
            })
        }
        Users::Consents { user } => {
            let subject = subject(service, user).await?;
            let path = ["users", &subject, "consents"];
            let listed = service.list(&path, &[], usize::MAX).await?;
            let heads = ["ID", "CLIENT", "SERVICE", "SCOPE", "UNTIL"];
            list(manner, listed, heads, |consent: &ConsentView| {
                [
                    consent.id.clone(),
                    consent.client_id.clone(),
                    consent.service.clone(),
                    consent.scope.clone(),
                    time(consent.expires_at),
                ]
            })
        }
        Users::ForgetConsents { user, id } => {
            let subject = subject(service, user).await?;
            confirm(manner, &format!("Ask {subject} again?"))?;
            let mut path = vec!["users", &subject, "consents"];
            path.extend(id.as_deref());
            let forgotten: Ended = service.delete(&path).await?;
            said(manner, &forgotten, || match &forgotten.ended[..] {
                [] => format!("nothing was remembered of {subject}"),
                ids => format!("forgotten: {}", ids.join(", ")),
            })
        }
    }
}

async fn keys(command: Keys, service: &AdminClient, manner: &Manner) -> anyhow::Result<String> {
    let path = match command {
        Keys::List => {
            let listed = service.list(&["keys"], &[], usize::MAX).await?;
            return list(
                manner,
                listed,
                ["KID", "ALGORITHM", "STATE", "SIGNS FROM", "KEPT UNTIL"],
                |key: &KeyView| {
                    [
                        key.kid.clone(),
                        key.algorithm.clone(),
                        key.state.to_string(),
                        time(key.signs_from),
                        optional(key.kept_until, ""),
                    ]
                },
            );
        }
        Keys::Rotate => ["keys", "rotate"],
        Keys::Compromised => {
            confirm(
                manner,
                "Replace all signing keys at once? Every access token is void then; clients with a refresh token go on.",
            )?;
            ["keys", "compromised"]
        }
    };
    let rotated: RotationView = service.post(&path, &[]).await?;
    said(manner, &rotated, || {
        let (kid, from) = (&rotated.kid, time(rotated.signs_from));
        match command {
            Keys::Compromised => {
                format!("{kid} signs now; every other key and every access token is void")
            }
            _ if rotated.was_under_way => {
                format!("a rotation is under way: {kid} signs from {from}")
            }
            _ => format!("{kid} is published and signs from {from}"),
        }
    })
}

/// The subject of a person who is named by it or by their name.
async fn subject(service: &AdminClient, user: &str) -> anyhow::Result<String> {
    if user.contains(':') {
        return Ok(user.to_owned());
    }
    let (users, _): (Vec<UserView>, bool) = service.list(&["users"], &[], usize::MAX).await?;
    let mut named = users
        .into_iter()
        .filter(|known| known.login.eq_ignore_ascii_case(user));
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one.subject),
        (None, _) => bail!("nobody of the name {user} has ever signed in"),
        (Some(one), Some(two)) => bail!(
            "several people have the name {user}: say {} or {} …",
            one.subject,
            two.subject
        ),
    }
}

fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn optional(at: Option<Timestamp>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), time)
}

/// JSON, or what a person reads.
fn said(
    manner: &Manner,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<String> {
    if manner.json {
        Ok(serde_json::to_string_pretty(value)?)
    } else {
        Ok(text())
    }
}

fn list<T: Serialize, const N: usize>(
    manner: &Manner,
    (items, has_more): (Vec<T>, bool),
    heads: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> anyhow::Result<String> {
    said(manner, &items, || {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(heads);
        for item in &items {
            // What strangers called themselves must not move the cursor of the terminal.
            table.add_row(row(item).map(|cell| chassis::telemetry::untrusted(&cell).to_string()));
        }
        let more = if has_more {
            "\n… and more: use --limit"
        } else {
            ""
        };
        format!("{}{more}", text(table))
    })
}

/// One thing, a line for each of its members.
fn one<T: Serialize>(manner: &Manner, value: T) -> anyhow::Result<String> {
    said(manner, &value, || {
        let members = serde_json::to_value(&value).unwrap_or_default();
        let mut table = Table::new();
        table.load_preset(NOTHING);
        for (name, value) in members.as_object().into_iter().flatten() {
            let shown = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(items) => {
                    let items = items.iter().filter_map(serde_json::Value::as_str);
                    items.collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            let shown = chassis::telemetry::untrusted(&shown).to_string();
            table.add_row([name.replace('_', " "), shown]);
        }
        text(table)
    })
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

/// Columns with two blanks between them, as in the listings of other tools.
fn text(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Asks a person at a terminal; anybody else must have said --yes.
fn confirm(manner: &Manner, question: &str) -> anyhow::Result<()> {
    if manner.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nobody can answer here: add --yes");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        bail!("nothing was changed")
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_id_of_a_session_may_begin_with_a_hyphen() {
        let yes = clap::arg!(-y - -yes).global(true);
        let command = Sessions::augment_subcommands(Command::new("sessions").arg(yes));
        for asked in ["-R06BUJfebRToRfOf9W4kQ", "--0yBUJfebRToRfOf9W4kQ"] {
            for words in [[asked, "-y"], ["-y", asked]] {
                let words = ["sessions", "revoke"].into_iter().chain(words);
                let mut found = command.clone().try_get_matches_from(words).unwrap();
                assert!(found.get_flag("yes"));
                let id = match Sessions::from_arg_matches_mut(&mut found).unwrap() {
                    Sessions::Revoke { id } => id,
                    other => panic!("{other:?}"),
                };
                assert_eq!(id, asked);
            }
        }
    }
}
