//! The opened ring: signs, verifies, publishes. It never changes; a changed one takes its place.

use jsonwebtoken::Header;
use oauth::Timestamp;
use oauth::claims::{AccessClaims, TYPE};
use oauth::key_ring::{KeyState, SigningKey, SigningKeys};
use oauth::token::DerivationKey;
use store::SealedKeyRing;

use super::KeyError;
use super::seal::{DERIVATION, Secrets};
use super::signing::{self, Opened, PublishedKey};

/// Why an access token is not even looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSignature {
    #[error("the access token is malformed or was not signed by this server")]
    Forged,
    /// Forged too, or signed by another instance with a key that this one has not seen yet.
    #[error("the access token names a key that is not known here")]
    UnknownKey,
}

/// A key as operators see it.
#[derive(Debug, Clone)]
pub(crate) struct KeyInfo {
    pub(crate) key: SigningKey<()>,
    pub(crate) state: KeyState,
    /// When a retired key goes.
    pub(crate) kept_until: Option<Timestamp>,
}

/// The opened ring.
pub(super) struct KeyRing {
    pub(super) sealed: SealedKeyRing,
    keys: SigningKeys<Opened>,
    pub(super) derivation: DerivationKey,
}

impl KeyRing {
    pub(super) fn open(sealed: SealedKeyRing, secrets: &Secrets) -> Result<Self, KeyError> {
        let (seal, _) = secrets.open(&sealed)?;
        let derivation: [u8; 32] = seal
            .open(DERIVATION, &sealed.derivation)?
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::Damaged("the derivation key has a wrong length"))?;
        let keys = sealed.signing.try_map(|key| {
            let private = seal.open(key.id.as_str(), &key.material)?;
            signing::open(key, &private)
        })?;
        if keys.iter().next().is_none() {
            return Err(KeyError::Damaged("there is no signing key"));
        }
        Ok(Self {
            sealed,
            keys,
            derivation: DerivationKey::new(derivation),
        })
    }

    pub(super) fn published(&self) -> Vec<PublishedKey> {
        let keys = self.keys.iter();
        keys.map(|key| key.material.published.clone()).collect()
    }

    pub(super) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        let info = |(key, state): (&SigningKey<Opened>, KeyState)| KeyInfo {
            key: SigningKey {
                id: key.id.clone(),
                algorithm: key.algorithm,
                created_at: key.created_at,
                signs_from: key.signs_from,
                token_life: key.token_life,
                material: (),
            },
            state,
            kept_until: self.keys.kept_until(&key.id),
        };
        self.keys.states(now).map(info).collect()
    }

    /// Signs an access token (RFC 9068 section 2).
    pub(super) fn sign(
        &self,
        claims: &AccessClaims,
        now: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let Some(key) = self.keys.current(now) else {
            return Err(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat.into());
        };
        let mut header = Header::new(signing::of_library(key.algorithm));
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id.to_string());
        jsonwebtoken::encode(&header, claims, &key.material.encoding)
    }

    /// Checks header and signature. The key is ours and named by `kid`; nothing else in the header has a say.
    pub(super) fn verify(&self, token: &str) -> Result<AccessClaims, InvalidSignature> {
        let forged = |_| InvalidSignature::Forged;
        let header = jsonwebtoken::decode_header(token).map_err(forged)?;
        let is_access_token = header.typ.as_deref() == Some(TYPE);
        let is_plain = header.crit.is_none();
        if !is_access_token || !is_plain {
            return Err(InvalidSignature::Forged);
        }
        let id = header.kid.ok_or(InvalidSignature::Forged)?;
        let key = self.keys.get(&id).ok_or(InvalidSignature::UnknownKey)?;
        jsonwebtoken::decode::<AccessClaims>(
            token,
            &key.material.decoding,
            &key.material.validation,
        )
        .map(|token| token.claims)
        .map_err(forged)
    }
}
