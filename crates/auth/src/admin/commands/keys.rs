//! `mcp-auth keys`

use clap::Subcommand;

use super::Manner;
use super::output::{confirm, list, optional, said, time};
use crate::admin::client::AdminClient;
use crate::admin::view::{KeyView, RotationView};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Keys {
    /// The keys and their states.
    List,
    /// Publish the next key now; it signs as soon as every verifier can know it. No token ends.
    Rotate,
    /// Somebody else may have the keys: a fresh one signs at once, every access token is void. Refresh tokens live.
    Compromised,
}

pub(super) async fn run(
    command: Keys,
    service: &AdminClient,
    manner: &Manner,
) -> anyhow::Result<String> {
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
