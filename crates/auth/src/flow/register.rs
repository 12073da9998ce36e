//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use oauth::client::{Client, IssuedSecrets, PresentedCredentials};
use oauth::client_metadata::ClientMetadataRequest;
use oauth::{ClientId, ErrorCode};
use sha2::{Digest as _, Sha256};
use store::{Event, Registration};
use subtle::ConstantTimeEq as _;

use super::Refusal;
use crate::app::AppState;
use crate::settings::Registration as RegistrationPolicy;

/// Whether whoever shows this token may register a client at all (RFC 7591 section 3).
pub(crate) fn check_initial_token(state: &AppState, token: Option<&str>) -> Result<(), Refusal> {
    let expected = match &state.registration {
        RegistrationPolicy::Open => return Ok(()),
        RegistrationPolicy::Off => {
            return Err(Refusal::told(
                ErrorCode::AccessDenied,
                "clients cannot register here; the operator creates them",
            ));
        }
        RegistrationPolicy::WithToken(expected) => expected,
    };
    // Hashed, so that the comparison takes as long for every token.
    let hash = |text: &str| Sha256::digest(text.as_bytes());
    let is_right = token.is_some_and(|token| {
        hash(token)
            .as_slice()
            .ct_eq(hash(expected.expose()).as_slice())
            .into()
    });
    if is_right {
        Ok(())
    } else {
        Err(Refusal::Registration)
    }
}

/// Registers a client.
pub(crate) async fn register(
    state: &AppState,
    request: ClientMetadataRequest,
) -> Result<(Client, IssuedSecrets), Refusal> {
    let metadata = request
        .check(&state.offered_scopes())
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

/// Replaces what a client said about itself. The registration token is checked again in the same step in which it changes,
/// so of two updates with one token one wins.
pub(crate) async fn update(
    state: &AppState,
    client: &Client,
    token: &str,
    request: ClientMetadataRequest,
) -> Result<(Client, IssuedSecrets), Refusal> {
    if request.client_id.as_deref() != Some(client.id.as_str()) {
        return Err(Refusal::told(
            ErrorCode::InvalidClientMetadata,
            "client_id must be that of the address",
        ));
    }
    let is_secret_theirs = request
        .client_secret
        .as_deref()
        .is_none_or(|secret| client.is_proved_by(&PresentedCredentials::Secret(secret)));
    if !is_secret_theirs {
        return Err(Refusal::told(
            ErrorCode::InvalidClientMetadata,
            "client_secret must be the current one, or left out",
        ));
    }
    if let Some(member) = request.server_owned() {
        return Err(Refusal::told(
            ErrorCode::InvalidClientMetadata,
            format!("{member} must not be part of an update (RFC 7592 section 2.2)"),
        ));
    }
    let metadata = request
        .check(&state.offered_scopes())
        .map_err(|error| Refusal::told(error.code, error.description))?;
    let (updated, secrets) = state
        .store
        .change_client(&client.id, state.clock.now(), |stored| {
            stored
                .is_managed_by(token)
                .then(|| stored.update(metadata.clone(), state.entropy.as_ref()))
        })
        .await?
        .ok_or(Refusal::Registration)?;
    tracing::info!(target: "audit", event = "client_changed", client = %updated.id, "client changed");
    Ok((updated, secrets))
}

/// Ends a registration and all that hangs on it.
pub(crate) async fn delete(state: &AppState, client: &Client) -> Result<(), Refusal> {
    state
        .store
        .delete_client(&client.id, state.clock.now())
        .await?;
    state
        .decisions
        .learn(Event::ClientChanged(client.id.to_string()));
    tracing::info!(target: "audit", event = "client_deleted", client = %client.id, "client deleted");
    Ok(())
}
