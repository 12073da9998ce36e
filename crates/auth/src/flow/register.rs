//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use oauth::client::{Client, IssuedSecrets};
use oauth::client_metadata::ClientMetadataRequest;
use oauth::{ClientId, ErrorCode};
use store::Registration;

use super::Refusal;
use crate::app::AppState;

/// Registers a client.
pub(crate) async fn register(
    state: &AppState,
    request: ClientMetadataRequest,
) -> Result<(Client, IssuedSecrets), Refusal> {
    let metadata = request
        .check(&state.offered_scopes)
        .map_err(|error| Refusal::told(error.code, error.description))?;
    let now = state.clock.now();
    let (client, secrets) = Client::register(metadata, now, state.entropy.as_ref());
    let stored = state
        .store
        .create_client(
            client.clone(),
            state.tokens.client_lifetime,
            state.tokens.most_clients,
            now,
        )
        .await?;
    match stored {
        Registration::Created => {
            tracing::info!(target: "audit", event = "client_registered", client = %client.id,
                name = %chassis::telemetry::untrusted(&client.metadata.client_name), "client registered");
            Ok((client, secrets))
        }
        Registration::Full => Err(Refusal::told(
            ErrorCode::TemporarilyUnavailable,
            "as many clients are registered as there may be; unused ones end within a day",
        )),
    }
}

/// The client whose registration token was shown. An unknown client and a wrong token get the same answer.
pub(crate) async fn managed(
    state: &AppState,
    id: &str,
    token: Option<&str>,
) -> Result<Client, Refusal> {
    let id = ClientId::parse(id).map_err(|_| Refusal::Registration)?;
    let client = state.store.client(&id, state.clock.now()).await?;
    client
        .filter(|client| token.is_some_and(|token| client.is_managed_by(token)))
        .ok_or(Refusal::Registration)
}

/// Ends a registration and all that hangs on it.
pub(crate) async fn delete(state: &AppState, client: &Client) -> Result<(), Refusal> {
    state
        .store
        .delete_client(&client.id, state.clock.now())
        .await?;
    tracing::info!(target: "audit", event = "client_deleted", client = %client.id, "client deleted");
    Ok(())
}
