//! `mcp-auth clients`

use clap::Subcommand;

use super::output::{confirm, list, one, optional, said, time};
use super::{Manner, Most};
use crate::admin::client::AdminClient;
use crate::admin::view::{ClientView, CreatedClient, Ended, NewClient};

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

pub(super) async fn run(
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
