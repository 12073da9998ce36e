//! The key ring as it is stored: sealed by the service, opaque here.

use oauth::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::backend::{Event, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

/// The one key under which the ring is stored.
const RING: &str = "main";

/// The keys of the service. Everything secret in it is sealed (base64url of nonce and ciphertext).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealedKeyRing {
    /// The key from which refresh tokens are derived.
    pub derivation: String,
    /// Signing keys, the current one first.
    pub signing: Vec<SealedKey>,
}

/// One signing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealedKey {
    /// `kid`.
    pub id: KeyId,
    /// `alg` (RFC 7518 section 3.1).
    pub algorithm: String,
    /// The private key in PKCS #8, sealed.
    pub private: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl StoredRecord for SealedKeyRing {
    const KIND: Kind = Kind::KeyRing;
    const VERSION: u32 = 1;
}

impl Store {
    /// The stored ring; if there is none, `fresh` becomes it. Of several instances that start at once one wins, and all get
    /// its ring.
    pub async fn key_ring(
        &self,
        fresh: &SealedKeyRing,
        now: Timestamp,
    ) -> Result<SealedKeyRing, StoreError> {
        if let Some(ring) = self.records().get(RING, now).await? {
            return Ok(ring);
        }
        self.records()
            .update(RING, now, |stored: Option<SealedKeyRing>| match stored {
                Some(ring) => Transition::keep(ring),
                None => {
                    Transition::put(fresh.clone(), None, fresh.clone()).telling(Event::KeysChanged)
                }
            })
            .await
    }
}
