//! The keys of the service: made here, kept sealed in the store, published without their private parts.
//!
//! Every instance holds the opened ring and looks for changes each half minute, when it is told, and when a token names a
//! key that it does not know. Whoever finds a change due makes it, in one compare-and-swap, so no two make it both.

mod changes;
mod ring;
mod seal;
pub(crate) mod settings;
mod signing;
mod upkeep;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chassis::config::Secret;
use chassis::health::Latch;
use oauth::claims::AccessClaims;
use oauth::key_ring::{self, FreshKey, Schedule, SigningKeys};
use oauth::token::DerivationKey;
use oauth::{Clock, Entropy, Timestamp};
use store::{FirstRing, SealedKeyRing, Store, StoreError};

use self::ring::KeyRing;
pub(crate) use self::ring::{InvalidSignature, KeyInfo};
use self::seal::{DERIVATION, Secrets};
use self::settings::KeySettings;
use self::signing::{Private, generate};
pub(crate) use self::signing::{PublishedKey, seed_generator};
use crate::flow::decisions::Decisions;

/// A key that is not known here makes the ring be read again, at most once in this time.
const RELOAD_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "GATEWAY_JWT_SECRET does not open the keys in this store: it is not the secret that sealed them. Set the earlier value again (to change it, set GATEWAY_JWT_SECRET_PREVIOUS to the earlier value as well), or start with an empty store (everybody signs in anew)"
    )]
    WrongSecret,
    #[error("the keys in the store are damaged: {0}")]
    Damaged(&'static str),
    #[error(
        "the store has sessions ({0}) but no keys, so it has lost something: new keys could read none of their refresh tokens. Restore a backup that has the keys, or start with an empty store (everybody signs in anew)"
    )]
    Lost(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether these secrets open the keys of a ring.
pub(crate) fn opens(
    secret: &Secret,
    previous: Option<&Secret>,
    ring: &SealedKeyRing,
) -> Result<bool, KeyError> {
    match Secrets::new(secret, previous).open(ring) {
        Ok(_) => Ok(true),
        Err(KeyError::WrongSecret) => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// Why a token does not count.
#[derive(Debug)]
pub(crate) enum CheckError {
    /// It is malformed, or its signature is not that of the key it names: it will never be a good one.
    Forged,
    /// It names a key that this service does not have.
    UnknownKey(Looked),
    /// It names a key that is not known here, and the store cannot be asked about it.
    Store(StoreError),
}

/// Where a key was looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    /// See [`Keys::ring_number`].
    pub(crate) ring: u64,
    /// From when on it is looked for in the store again.
    pub(crate) again_at: Instant,
}

/// The last time that an unknown key made the ring be read again.
struct Reload {
    /// When it may be read again.
    again_at: Option<Instant>,
    has_failed: bool,
}

/// The keys of the service, always as the store has them.
pub(crate) struct Keys {
    ring: RwLock<Arc<KeyRing>>,
    /// Counts the rings.
    ring_number: AtomicU64,
    /// The same for the life of the store.
    derivation: DerivationKey,
    secrets: Secrets,
    schedule: Schedule,
    /// The longest life of an access token, in seconds; rules that are read again may lengthen it.
    token_life: AtomicU64,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    decisions: Decisions,
    reload: tokio::sync::Mutex<Reload>,
    latch: Latch,
}

/// What the keys need of the rest of the service.
pub(crate) struct Surroundings {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Decisions that rest on a key end with it.
    pub(crate) decisions: Decisions,
    /// Says whether the ring can be read.
    pub(crate) latch: Latch,
}

impl Keys {
    /// Opens the ring of the store, which is made at the first start, and makes the changes that are due.
    pub(crate) async fn load(
        settings: &KeySettings,
        surroundings: Surroundings,
    ) -> Result<Self, KeyError> {
        let Surroundings {
            store,
            clock,
            entropy,
            decisions,
            latch,
        } = surroundings;
        let secrets = Secrets::new(&settings.secret, settings.previous.as_ref());
        let now = clock.now();
        let sealed = if let Some(ring) = store.key_ring(now).await? {
            ring
        } else {
            let fresh = first_ring(&secrets, &settings.schedule, &entropy, now).await?;
            match store.create_key_ring(&fresh, now).await? {
                FirstRing::Made(ring) => ring,
                FirstRing::Refused { sessions } => return Err(KeyError::Lost(sessions)),
            }
        };
        let ring = KeyRing::open(sealed, &secrets)?;
        let keys = Self {
            derivation: ring.derivation.clone(),
            ring: RwLock::new(Arc::new(ring)),
            ring_number: AtomicU64::new(0),
            secrets,
            schedule: settings.schedule,
            token_life: AtomicU64::new(settings.schedule.token_life),
            store,
            clock,
            entropy,
            decisions,
            reload: tokio::sync::Mutex::new(Reload {
                again_at: None,
                has_failed: false,
            }),
            latch,
        };
        keys.keep_up().await?;
        keys.latch.ready();
        Ok(keys)
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another number for another ring. What was found with a ring that was taken after its number still holds for that number or for
    /// none.
    pub(crate) fn ring_number(&self) -> u64 {
        self.ring_number.load(Ordering::SeqCst)
    }

    /// Access tokens may live so long from now on, so retired keys are kept for it.
    pub(crate) fn allow_token_life(&self, seconds: u64) {
        self.token_life.fetch_max(seconds, Ordering::SeqCst);
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            token_life: self.token_life.load(Ordering::SeqCst),
            ..self.schedule
        }
    }

    /// The key from which refresh tokens are derived.
    pub(crate) const fn derivation(&self) -> &DerivationKey {
        &self.derivation
    }

    /// The public keys (`/jwks`).
    pub(crate) fn published(&self) -> Vec<PublishedKey> {
        self.ring().published()
    }

    /// The keys for operators.
    pub(crate) fn infos(&self) -> Vec<KeyInfo> {
        self.ring().infos(self.clock.now())
    }

    /// Signs an access token (RFC 9068 section 2) with the current key.
    pub(crate) fn sign(
        &self,
        claims: &AccessClaims,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        self.ring().sign(claims, self.clock.now())
    }

    /// Checks header and signature with the keys that are known here, without asking the store.
    pub(crate) fn verify(&self, token: &str) -> Result<AccessClaims, InvalidSignature> {
        self.ring().verify(token)
    }

    /// Checks header and signature. A key that is not known here may be one that another instance has just begun to use, so
    /// the ring is read again; at most every 5 s, so that made-up keys do not reach the store.
    pub(crate) async fn check(&self, token: &str) -> Result<AccessClaims, CheckError> {
        let ring = self.ring_number();
        let known = self.ring();
        match known.verify(token) {
            Ok(claims) => return Ok(claims),
            Err(InvalidSignature::Forged) => return Err(CheckError::Forged),
            Err(InvalidSignature::UnknownKey) => {}
        }
        let mut reload = self.reload.lock().await;
        let now = Instant::now();
        let recent = reload.again_at.filter(|again_at| now < *again_at);
        let again_at = recent.unwrap_or(now + RELOAD_AT_MOST_EVERY);
        if recent.is_none() {
            reload.again_at = Some(again_at);
            // Until it is known to have gone well, so that a caller who gives up counts as a failure.
            reload.has_failed = true;
            self.read_again()
                .await
                .map_err(|error| CheckError::Store(unavailable(error)))?;
            reload.has_failed = false;
        } else if reload.has_failed {
            return Err(CheckError::Store(unavailable(KeyError::Damaged(
                "they could not be read a moment ago",
            ))));
        }
        drop(reload);
        // Made-up keys come by the thousand, and then there is nothing to look up again.
        if Arc::ptr_eq(&known, &self.ring()) {
            return Err(CheckError::UnknownKey(Looked { ring, again_at }));
        }
        let ring = self.ring_number();
        self.verify(token).map_err(|error| match error {
            InvalidSignature::Forged => CheckError::Forged,
            InvalidSignature::UnknownKey => CheckError::UnknownKey(Looked { ring, again_at }),
        })
    }
}

fn unavailable(error: KeyError) -> StoreError {
    match error {
        KeyError::Store(error) => error,
        other => StoreError::Unavailable {
            reason: format!("the signing keys: {other}"),
            source: None,
        },
    }
}

/// Makes a key where it holds up nobody.
async fn fresh_key(
    algorithm: key_ring::Algorithm,
    entropy: &Arc<dyn Entropy>,
) -> Result<FreshKey<Private>, KeyError> {
    let entropy = Arc::clone(entropy);
    tokio::task::spawn_blocking(move || generate(algorithm, entropy.as_ref()))
        .await
        .unwrap_or(Err(KeyError::Damaged("a new signing key was not finished")))
}

async fn first_ring(
    secrets: &Secrets,
    schedule: &Schedule,
    entropy: &Arc<dyn Entropy>,
    now: Timestamp,
) -> Result<SealedKeyRing, KeyError> {
    let fresh = fresh_key(schedule.algorithm, entropy).await?;
    let (seal, seals) = secrets.fresh(entropy.as_ref())?;
    let derivation: zeroize::Zeroizing<[u8; 32]> =
        zeroize::Zeroizing::new(oauth::entropy::bytes(entropy.as_ref()));
    let sealed = seal.close_key(fresh, entropy.as_ref())?;
    Ok(SealedKeyRing {
        seals,
        derivation: seal.close(DERIVATION, derivation.as_slice(), entropy.as_ref())?,
        signing: SigningKeys::first(sealed, schedule, now),
    })
}
