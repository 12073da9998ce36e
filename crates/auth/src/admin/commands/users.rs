//! `mcp-auth users`

use anyhow::bail;
use clap::Subcommand;

use super::output::{confirm, list, one, optional, said, time};
use super::{Manner, Most};
use crate::admin::client::AdminClient;
use crate::admin::view::{ConsentView, Ended, UserView};

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

pub(super) async fn run(
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

/// The subject of a person who is named by it or by their name.
pub(super) async fn subject(service: &AdminClient, user: &str) -> anyhow::Result<String> {
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
