//! A registered client and how it proves who it is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::client_metadata::{ClientMetadata, TokenEndpointAuthMethod};
use crate::entropy::Entropy;
use crate::id::ClientId;
use crate::operator::{OperatorClientName, OperatorRights};
use crate::secret::{ClientSecret, Hashed, Plain, RegistrationToken};

/// How long a client that was never used is kept, in seconds.
pub const UNUSED_LIFETIME: u64 = 24 * 60 * 60;

/// A registered client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// The hash of its secret; a public client has none.
    pub secret: Option<Hashed<ClientSecret>>,
    /// The hash of the token with which the client manages its registration (RFC 7592); a client that is known by its
    /// metadata document has none.
    pub registration_token: Option<Hashed<RegistrationToken>>,
    /// What it said about itself.
    pub metadata: ClientMetadata,
    /// When it was registered.
    pub issued_at: Timestamp,
    /// When a person last approved it or it last got a token.
    pub last_used_at: Option<Timestamp>,
    /// What it may do by itself, if the operator created it; a client that registered itself has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorRights>,
}

/// The secrets of a new registration, in the clear for the one answer that carries them.
#[derive(Debug, Clone)]
pub struct IssuedSecrets {
    /// For confidential clients.
    pub client_secret: Option<Plain<ClientSecret>>,
    /// For the management of the registration.
    pub registration_token: Plain<RegistrationToken>,
}

/// What a client presented at an endpoint that wants to know who it is.
#[derive(Debug)]
pub enum PresentedCredentials<'a> {
    /// Only a `client_id`.
    None,
    /// A secret, by `Authorization: Basic` or in the form.
    Secret(&'a str),
}

impl Client {
    /// A new client with fresh secrets. A public client never gets a secret.
    pub fn register(
        metadata: ClientMetadata,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, IssuedSecrets) {
        let is_public = metadata.token_endpoint_auth_method == TokenEndpointAuthMethod::None;
        let secrets = IssuedSecrets {
            client_secret: (!is_public).then(|| Plain::generate(entropy)),
            registration_token: Plain::generate(entropy),
        };
        let client = Self {
            id: ClientId::generate(entropy),
            secret: secrets.client_secret.as_ref().map(Plain::hash),
            registration_token: Some(secrets.registration_token.hash()),
            metadata,
            issued_at: now,
            last_used_at: None,
            operator: None,
        };
        (client, secrets)
    }

    /// A client that the operator creates, with a fresh secret. It signs nobody in and never ends by itself.
    #[must_use]
    pub fn of_operator(
        name: &OperatorClientName,
        rights: OperatorRights,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, Plain<ClientSecret>) {
        let secret = Plain::generate(entropy);
        (Self::configured(name, rights, secret.hash(), now), secret)
    }

    /// A client that the operator lists in the configuration, with the hash of its secret.
    #[must_use]
    pub fn configured(
        name: &OperatorClientName,
        rights: OperatorRights,
        secret: Hashed<ClientSecret>,
        now: Timestamp,
    ) -> Self {
        Self {
            id: name.client_id(),
            secret: Some(secret),
            registration_token: None,
            metadata: ClientMetadata::of_operator(name.as_str()),
            issued_at: now,
            last_used_at: None,
            operator: Some(rights),
        }
    }

    /// A client that is known by its metadata document, used just now. Nothing is secret about it, and nobody manages it
    /// here: its document does.
    #[must_use]
    pub const fn of_document(id: ClientId, metadata: ClientMetadata, now: Timestamp) -> Self {
        Self {
            id,
            secret: None,
            registration_token: None,
            metadata,
            issued_at: now,
            last_used_at: Some(now),
            operator: None,
        }
    }

    /// A client that another server registered, with the secrets it has; `now` counts as its last use, so that it has the
    /// whole lifetime to show up here.
    #[must_use]
    pub fn adopt(
        id: ClientId,
        secret: Option<&Plain<ClientSecret>>,
        registration_token: Option<&Plain<RegistrationToken>>,
        metadata: ClientMetadata,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            secret: secret.map(Plain::hash),
            registration_token: registration_token.map(Plain::hash),
            metadata,
            issued_at,
            last_used_at: Some(now),
            operator: None,
        }
    }

    /// Replaces what the client said about itself, whole (RFC 7592 section 2.2). The registration token is made anew; the
    /// secret stays unless the client becomes public or confidential by it.
    #[must_use]
    pub fn update(self, metadata: ClientMetadata, entropy: &dyn Entropy) -> (Self, IssuedSecrets) {
        let is_public = metadata.token_endpoint_auth_method == TokenEndpointAuthMethod::None;
        let fresh = (!is_public && self.secret.is_none()).then(|| Plain::generate(entropy));
        let secrets = IssuedSecrets {
            client_secret: fresh,
            registration_token: Plain::generate(entropy),
        };
        let kept = self.secret.filter(|_| !is_public);
        let client = Self {
            secret: secrets.client_secret.as_ref().map(Plain::hash).or(kept),
            registration_token: Some(secrets.registration_token.hash()),
            metadata,
            ..self
        };
        (client, secrets)
    }

    /// When the registration ends: a day after it was made if it was never used, else `lifetime` seconds after the last
    /// use. With a lifetime of 0 a client that was used never ends. What the operator created never ends either way.
    #[must_use]
    pub fn expires_at(&self, lifetime: u64) -> Option<Timestamp> {
        if self.operator.is_some() {
            return None;
        }
        match (self.last_used_at, lifetime) {
            (None, 0) => Some(crate::after(self.issued_at, UNUSED_LIFETIME)),
            (None, lifetime) => Some(crate::after(self.issued_at, UNUSED_LIFETIME.min(lifetime))),
            (Some(_), 0) => None,
            (Some(used), lifetime) => Some(crate::after(used, lifetime)),
        }
    }

    /// Whether the credentials prove that this client is calling. A confidential client must show its secret, by either
    /// transport; a public one must not show any.
    #[must_use]
    pub fn is_proved_by(&self, credentials: &PresentedCredentials<'_>) -> bool {
        match (&self.secret, credentials) {
            (None, PresentedCredentials::None) => true,
            (Some(hash), PresentedCredentials::Secret(secret)) => {
                Plain::<ClientSecret>::presented(secret).is_some_and(|secret| hash.matches(&secret))
            }
            _ => false,
        }
    }

    /// Whether its own registration token was shown.
    #[must_use]
    pub fn is_managed_by(&self, token: &str) -> bool {
        match (
            &self.registration_token,
            Plain::<RegistrationToken>::presented(token),
        ) {
            (Some(hash), Some(token)) => hash.matches(&token),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_metadata::ClientMetadataRequest;
    use crate::{ScopeSet, SystemEntropy};

    fn client(method: &str) -> (Client, IssuedSecrets) {
        let request: ClientMetadataRequest = serde_json::from_value(serde_json::json!({
            "redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": method,
        }))
        .unwrap();
        let metadata = request.check(&ScopeSet::parse("mcp").unwrap()).unwrap();
        Client::register(metadata, Timestamp::UNIX_EPOCH, &SystemEntropy)
    }

    #[test]
    fn a_confidential_client_must_show_its_secret() {
        let (client, secrets) = client("client_secret_post");
        let secret = secrets.client_secret.unwrap();
        let (_, other) = self::client("client_secret_post");
        assert!(client.is_proved_by(&PresentedCredentials::Secret(secret.expose())));
        assert!(!client.is_proved_by(&PresentedCredentials::None));
        assert!(!client.is_proved_by(&PresentedCredentials::Secret(
            other.client_secret.unwrap().expose()
        )));
        assert!(!client.is_proved_by(&PresentedCredentials::Secret("")));
    }

    #[test]
    fn a_public_client_has_no_secret_and_must_not_invent_one() {
        let (client, secrets) = client("none");
        assert!(secrets.client_secret.is_none());
        assert!(client.is_proved_by(&PresentedCredentials::None));
        assert!(!client.is_proved_by(&PresentedCredentials::Secret("anything")));
    }

    #[test]
    fn an_update_renews_the_registration_token_and_keeps_the_secret() {
        let (client, first) = client("client_secret_post");
        let metadata = client.metadata.clone();
        let (client, second) = client.update(metadata, &SystemEntropy);
        assert!(second.client_secret.is_none());
        assert!(client.is_proved_by(&PresentedCredentials::Secret(
            first.client_secret.unwrap().expose()
        )));
        assert!(!client.is_managed_by(first.registration_token.expose()));
        assert!(client.is_managed_by(second.registration_token.expose()));
    }

    #[test]
    fn a_client_that_becomes_public_loses_its_secret_and_one_that_becomes_confidential_gets_one() {
        let (confidential, first) = client("client_secret_post");
        let (public, _) = client("none");
        let (was_confidential, _) = confidential
            .clone()
            .update(public.metadata.clone(), &SystemEntropy);
        assert!(was_confidential.is_proved_by(&PresentedCredentials::None));
        assert!(
            !was_confidential.is_proved_by(&PresentedCredentials::Secret(
                first.client_secret.unwrap().expose()
            ))
        );
        let (was_public, second) = public.update(confidential.metadata, &SystemEntropy);
        assert!(!was_public.is_proved_by(&PresentedCredentials::None));
        assert!(was_public.is_proved_by(&PresentedCredentials::Secret(
            second.client_secret.unwrap().expose()
        )));
    }

    #[test]
    fn an_unused_client_ends_after_a_day_and_a_used_one_after_its_lifetime() {
        let (mut client, _) = client("none");
        assert_eq!(client.expires_at(1_000_000).unwrap().as_second(), 86_400);
        assert_eq!(client.expires_at(0).unwrap().as_second(), 86_400);
        assert_eq!(client.expires_at(60).unwrap().as_second(), 60);
        client.last_used_at = Some(Timestamp::from_second(10).unwrap());
        assert_eq!(client.expires_at(1_000_000).unwrap().as_second(), 1_000_010);
        assert_eq!(client.expires_at(0), None);
    }
}
