//! The key ring as it is stored: sealed by the service, opaque here.

use oauth::key_ring::{Algorithm, SigningKey, SigningKeys};
use oauth::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::backend::{Event, Index, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

/// The one key under which the ring is stored.
const RING: &str = "main";

/// A signing key whose private part (PKCS #8) is sealed.
pub type SealedKey = SigningKey<String>;

/// The keys of the service. Everything secret in it is sealed (base64url of nonce and ciphertext).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKeyRing {
    /// The key that seals the others, once for each secret that opens it, the newest first. Empty in a ring of the first
    /// version, which the secret sealed directly.
    pub seals: Vec<String>,
    /// The key from which refresh tokens are derived.
    pub derivation: String,
    /// Signing keys.
    pub signing: SigningKeys<String>,
}

/// The first version: the current key first, no time at which a key begins to sign.
#[derive(Deserialize)]
struct FirstVersion {
    derivation: String,
    signing: Vec<FirstKey>,
}

#[derive(Deserialize)]
struct FirstKey {
    id: KeyId,
    algorithm: Algorithm,
    private: String,
    created_at: Timestamp,
}

impl StoredRecord for SealedKeyRing {
    const KIND: Kind = Kind::KeyRing;
    const VERSION: u32 = 2;

    fn read_older(version: u32, json: &str) -> Option<serde_json::Result<Self>> {
        (version == 1).then(|| {
            let ring: FirstVersion = serde_json::from_str(json)?;
            let keys = ring.signing.into_iter().map(|key| SigningKey {
                id: key.id,
                algorithm: key.algorithm,
                created_at: key.created_at,
                signs_from: key.created_at,
                token_life: 0,
                material: key.private,
            });
            Ok(Self {
                seals: Vec::new(),
                derivation: ring.derivation,
                signing: SigningKeys::from_keys(keys.collect()),
            })
        })
    }
}

/// What became of an attempt to make the first ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstRing {
    /// This is the ring, of this instance or of another that was first.
    Made(SealedKeyRing),
    /// There is no ring, but so many sessions whose refresh tokens no new ring could read. Nothing was stored.
    Refused {
        /// How many.
        sessions: u64,
    },
}

impl Store {
    /// The stored ring.
    pub async fn key_ring(&self, now: Timestamp) -> Result<Option<SealedKeyRing>, StoreError> {
        self.records().get(RING, now).await
    }

    /// Stores the first ring of a store without sessions. Of several instances that start at once one wins, and all get its
    /// ring.
    pub async fn create_key_ring(
        &self,
        fresh: &SealedKeyRing,
        now: Timestamp,
    ) -> Result<FirstRing, StoreError> {
        let sessions = self.backend().index_len(&Index::Sessions, now).await?;
        if sessions > 0 && self.key_ring(now).await?.is_none() {
            return Ok(FirstRing::Refused { sessions });
        }
        let ring = self.put_key_ring_if_gone(fresh, now).await?;
        Ok(FirstRing::Made(ring))
    }

    /// Puts a ring back that the store has lost. Answers with the ring that is there afterwards.
    pub async fn put_key_ring_if_gone(
        &self,
        ring: &SealedKeyRing,
        now: Timestamp,
    ) -> Result<SealedKeyRing, StoreError> {
        self.records()
            .update(RING, now, |stored: Option<SealedKeyRing>| match stored {
                Some(stored) => Transition::keep(stored),
                None => {
                    Transition::put(ring.clone(), None, ring.clone()).telling(Event::KeysChanged)
                }
            })
            .await
    }

    /// Changes the ring in one atomic step; every instance is told if `change` changed it. Answers with the ring that is
    /// there afterwards and what `change` answered; `None` when there is no ring. A ring that another instance changed
    /// meanwhile is put to `change` again, so two instances never make the same step both.
    pub async fn change_key_ring<R>(
        &self,
        now: Timestamp,
        change: impl Fn(&mut SealedKeyRing) -> R,
    ) -> Result<Option<(SealedKeyRing, R)>, StoreError> {
        self.records()
            .update(RING, now, |stored: Option<SealedKeyRing>| {
                let Some(stored) = stored else {
                    return Transition::keep(None);
                };
                let mut changed = stored.clone();
                let answer = change(&mut changed);
                if changed == stored {
                    return Transition::keep(Some((stored, answer)));
                }
                Transition::put(changed.clone(), None, Some((changed, answer)))
                    .telling(Event::KeysChanged)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_the_first_version_is_read() {
        let json = r#"{"derivation":"D","signing":[{"id":"K","algorithm":"ES256","private":"P",
            "created_at":"2026-11-22T00:00:00Z"}]}"#;
        let ring = SealedKeyRing::read_older(1, json).unwrap().unwrap();
        assert!(ring.seals.is_empty());
        assert_eq!(ring.derivation, "D");
        let key = ring.signing.get("K").unwrap();
        assert_eq!(key.material, "P");
        assert_eq!(key.signs_from, key.created_at);
        assert!(SealedKeyRing::read_older(3, json).is_none());
    }
}
