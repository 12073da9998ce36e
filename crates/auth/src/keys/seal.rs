//! Seals and opens secrets.
//!
//! The keys in the store are sealed with a *ring key*, and the ring key with a key derived from `GATEWAY_JWT_SECRET`: so
//! that the ring can be open to the old and the new secret while instances change from one to the other.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::config::Secret;
use oauth::Entropy;
use oauth::key_ring::FreshKey;
use store::SealedKeyRing;
use zeroize::Zeroizing;

use super::KeyError;
use super::signing::Private;

/// The name under which the ring key is sealed.
const RING_KEY: &str = "ring key";
/// The name under which the derivation key is sealed. No `kid` contains a blank or is this short.
pub(super) const DERIVATION: &str = "derivation";

/// The name of a secret is bound to its ciphertext, so that sealed values cannot be swapped.
#[derive(Clone)]
pub(super) struct Seal(std::sync::Arc<LessSafeKey>);

impl Seal {
    fn of_secret(secret: &str) -> Self {
        let pseudo_random =
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"mcp-auth").extract(secret.as_bytes());
        #[expect(
            clippy::expect_used,
            reason = "the length asked for is the length of the key"
        )]
        let key = pseudo_random
            .expand(&[b"key ring"], &AES_256_GCM)
            .map(UnboundKey::from)
            .expect("HKDF gives keys of this length");
        Self(LessSafeKey::new(key).into())
    }

    fn of_ring_key(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .map_err(|_| KeyError::Damaged("the ring key has a wrong length"))?;
        Ok(Self(LessSafeKey::new(key).into()))
    }

    pub(super) fn close(
        &self,
        name: &str,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<String, KeyError> {
        let nonce: [u8; NONCE_LEN] = oauth::entropy::bytes(entropy);
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| KeyError::Damaged("a key could not be sealed"))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Seals the private part of a fresh key.
    pub(super) fn close_key(
        &self,
        fresh: FreshKey<Private>,
        entropy: &dyn Entropy,
    ) -> Result<FreshKey<String>, KeyError> {
        Ok(FreshKey {
            material: self.close(fresh.id.as_str(), &fresh.material, entropy)?,
            id: fresh.id,
            algorithm: fresh.algorithm,
        })
    }

    /// `None` if it was sealed with another key, or for another name.
    fn try_open(&self, name: &str, sealed: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| KeyError::Damaged("a sealed key is not base64url"))?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(KeyError::Damaged("a sealed key is too short"))?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = self.0.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(name.as_bytes()),
            &mut buffer,
        );
        Ok(opened.ok().map(|plain| Zeroizing::new(plain.to_vec())))
    }

    pub(super) fn open(&self, name: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.try_open(name, sealed)?.ok_or(KeyError::WrongSecret)
    }
}

/// `GATEWAY_JWT_SECRET`, and the one before it while instances change over.
pub(super) struct Secrets {
    newest: Seal,
    previous: Option<Seal>,
}

/// What is to be done about the seals of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Nothing.
    None,
    /// The newest secret does not open the ring yet: it gets a seal, and the earlier ones stay for other instances.
    Add,
    /// Earlier secrets open the ring and nobody here needs them: the ring gets another key, sealed with the newest only.
    Renew,
}

impl Secrets {
    pub(super) fn new(newest: &Secret, previous: Option<&Secret>) -> Self {
        Self {
            newest: Seal::of_secret(newest.expose()),
            previous: previous.map(|secret| Seal::of_secret(secret.expose())),
        }
    }

    /// The seal of the keys in the ring, and what is to be done about it.
    pub(super) fn open(&self, ring: &SealedKeyRing) -> Result<(Seal, Upkeep), KeyError> {
        let previous = self.previous.as_ref().map(|seal| (false, seal));
        for (is_newest, seal) in std::iter::once((true, &self.newest)).chain(previous) {
            if ring.seals.is_empty() {
                // The first version: the secret sealed the keys directly.
                if seal.try_open(DERIVATION, &ring.derivation)?.is_some() {
                    return Ok((seal.clone(), Upkeep::Renew));
                }
                continue;
            }
            for (position, sealed) in ring.seals.iter().enumerate() {
                let Some(key) = seal.try_open(RING_KEY, sealed)? else {
                    continue;
                };
                let upkeep = match (is_newest, position, &self.previous) {
                    (false, _, _) => Upkeep::Add,
                    (true, 0, None) if ring.seals.len() > 1 => Upkeep::Renew,
                    // Other instances are still changing over, or have a newer secret than this one.
                    (true, _, _) => Upkeep::None,
                };
                return Ok((Seal::of_ring_key(&key)?, upkeep));
            }
        }
        Err(KeyError::WrongSecret)
    }

    /// A fresh ring key, sealed with the newest secret, and with the one before while that is needed.
    pub(super) fn fresh(&self, entropy: &dyn Entropy) -> Result<(Seal, Vec<String>), KeyError> {
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(oauth::entropy::bytes(entropy));
        let seals = std::iter::once(&self.newest)
            .chain(&self.previous)
            .map(|seal| seal.close(RING_KEY, key.as_slice(), entropy))
            .collect::<Result<_, _>>()?;
        Ok((Seal::of_ring_key(key.as_slice())?, seals))
    }

    /// Does what is to be done, and returns the seal of the keys from then on.
    pub(super) fn keep_up(
        &self,
        ring: &mut SealedKeyRing,
        entropy: &dyn Entropy,
    ) -> Result<Seal, KeyError> {
        let (seal, upkeep) = self.open(ring)?;
        match upkeep {
            Upkeep::None => Ok(seal),
            Upkeep::Add => {
                let previous = self.previous.as_ref().ok_or(KeyError::WrongSecret)?;
                let key = ring
                    .seals
                    .iter()
                    .find_map(|sealed| previous.try_open(RING_KEY, sealed).transpose())
                    .ok_or(KeyError::WrongSecret)??;
                let added = self.newest.close(RING_KEY, &key, entropy)?;
                ring.seals.insert(0, added);
                Ok(seal)
            }
            Upkeep::Renew => {
                let (renewed, seals) = self.fresh(entropy)?;
                let derivation = seal.open(DERIVATION, &ring.derivation)?;
                ring.derivation = renewed.close(DERIVATION, &derivation, entropy)?;
                ring.signing = ring.signing.try_map(|key| {
                    let private = seal.open(key.id.as_str(), &key.material)?;
                    renewed.close(key.id.as_str(), &private, entropy)
                })?;
                ring.seals = seals;
                Ok(renewed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use oauth::key_ring::{Algorithm, FreshKey, Schedule, SigningKeys};
    use oauth::{KeyId, SystemEntropy, Timestamp};

    use super::*;

    const OLD: &str = "old-secret-0123456789-abcdefghijklmnop";
    const NEW: &str = "new-secret-0123456789-abcdefghijklmnop";

    fn secrets(newest: &str, previous: Option<&str>) -> Secrets {
        Secrets {
            newest: Seal::of_secret(newest),
            previous: previous.map(Seal::of_secret),
        }
    }

    fn ring(seal: &Seal, seals: Vec<String>) -> SealedKeyRing {
        let close = |name: &str| seal.close(name, name.as_bytes(), &SystemEntropy).unwrap();
        let schedule = Schedule {
            algorithm: Algorithm::Es256,
            rotate_every: 0,
            publish_before: 0,
            token_life: 0,
        };
        let key = FreshKey {
            id: KeyId::parse("kid").unwrap(),
            algorithm: Algorithm::Es256,
            material: close("kid"),
        };
        SealedKeyRing {
            seals,
            derivation: close(DERIVATION),
            signing: SigningKeys::first(key, &schedule, Timestamp::UNIX_EPOCH),
        }
    }

    /// What is inside, if the secrets open it.
    fn inside(secrets: &Secrets, ring: &SealedKeyRing) -> Option<[Vec<u8>; 2]> {
        let (seal, _) = secrets.open(ring).ok()?;
        let key = ring.signing.get("kid").unwrap();
        Some([
            seal.open(DERIVATION, &ring.derivation).unwrap().to_vec(),
            seal.open("kid", &key.material).unwrap().to_vec(),
        ])
    }

    fn is_open(secrets: &Secrets, ring: &SealedKeyRing) -> bool {
        inside(secrets, ring)
            .is_some_and(|inside| inside == [b"derivation".to_vec(), b"kid".to_vec()])
    }

    #[test]
    fn instances_change_from_one_secret_to_the_next_one_by_one() {
        let (only_old, both, only_new) = (
            secrets(OLD, None),
            secrets(NEW, Some(OLD)),
            secrets(NEW, None),
        );
        let (seal, seals) = only_old.fresh(&SystemEntropy).unwrap();
        let mut ring = ring(&seal, seals);
        assert!(is_open(&only_old, &ring) && is_open(&both, &ring) && !is_open(&only_new, &ring));
        // The first instance starts anew with both.
        both.keep_up(&mut ring, &SystemEntropy).unwrap();
        assert!(is_open(&only_old, &ring) && is_open(&both, &ring) && is_open(&only_new, &ring));
        // Neither the one with the old secret nor the one with both takes a seal away.
        let before = ring.clone();
        only_old.keep_up(&mut ring, &SystemEntropy).unwrap();
        both.keep_up(&mut ring, &SystemEntropy).unwrap();
        assert_eq!(ring, before);
        // The first instance without the old secret ends its time, ring key included.
        only_new.keep_up(&mut ring, &SystemEntropy).unwrap();
        assert!(!is_open(&only_old, &ring) && is_open(&both, &ring) && is_open(&only_new, &ring));
        assert_ne!(ring.derivation, before.derivation);
        let settled = ring.clone();
        both.keep_up(&mut ring, &SystemEntropy).unwrap();
        only_new.keep_up(&mut ring, &SystemEntropy).unwrap();
        assert_eq!(ring, settled);
    }

    #[test]
    fn a_ring_of_the_first_version_opens_and_gets_a_ring_key() {
        let only_old = secrets(OLD, None);
        let mut ring = ring(&Seal::of_secret(OLD), Vec::new());
        assert!(is_open(&only_old, &ring) && !is_open(&secrets(NEW, None), &ring));
        only_old.keep_up(&mut ring, &SystemEntropy).unwrap();
        assert_eq!(ring.seals.len(), 1);
        assert!(is_open(&only_old, &ring) && !is_open(&secrets(NEW, None), &ring));
    }

    #[test]
    fn a_sealed_key_does_not_open_under_another_name() {
        let seal = Seal::of_secret(OLD);
        let sealed = seal.close("one", b"text", &SystemEntropy).unwrap();
        assert!(matches!(
            seal.open("two", &sealed),
            Err(KeyError::WrongSecret)
        ));
    }
}
