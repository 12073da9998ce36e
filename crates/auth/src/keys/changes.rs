//! What became of the keys, for the audit log.

use oauth::key_ring::SigningKeys;
use oauth::{KeyId, Timestamp};
use store::SealedKeyRing;

/// What was changed in a ring.
#[derive(Debug, Default)]
pub(super) struct Changes {
    published: Vec<(KeyId, Timestamp)>,
    pub(super) gone: Vec<KeyId>,
    is_sealed_anew: bool,
}

impl Changes {
    pub(super) fn between(old: &SealedKeyRing, new: &SealedKeyRing) -> Self {
        let is_in = |keys: &SigningKeys<String>, id: &KeyId| keys.get(id.as_str()).is_some();
        let published = new
            .signing
            .iter()
            .filter(|key| !is_in(&old.signing, &key.id));
        let gone = old
            .signing
            .iter()
            .filter(|key| !is_in(&new.signing, &key.id));
        Self {
            published: published
                .map(|key| (key.id.clone(), key.signs_from))
                .collect(),
            gone: gone.map(|key| key.id.clone()).collect(),
            is_sealed_anew: old.seals != new.seals,
        }
    }

    /// An audit line for each.
    pub(super) fn log(&self) {
        for (key, from) in &self.published {
            tracing::info!(target: "audit", event = "key_published", %key, signs_from = %from,
                "a signing key is published");
        }
        for key in &self.gone {
            tracing::info!(target: "audit", event = "key_gone", %key, "a signing key is gone");
        }
        if self.is_sealed_anew {
            tracing::info!(target: "audit", event = "keys_sealed_anew",
                "the keys are sealed with another GATEWAY_JWT_SECRET or ring key");
        }
    }
}
