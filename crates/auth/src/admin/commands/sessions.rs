//! `mcp-auth sessions`

use clap::Subcommand;

use super::output::{confirm, list, one, optional, said};
use super::users::subject;
use super::{Manner, Most};
use crate::admin::client::AdminClient;
use crate::admin::view::{Ended, SessionView};

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

pub(super) async fn run(
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
