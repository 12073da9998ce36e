//! The keys of the service: made here, kept sealed in the store, published without their private parts.
//!
//! Only asymmetric keys fit into the ring, so a shared secret can never be published by mistake.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use oauth::claims::{AccessClaims, TYPE};
use oauth::token::DerivationKey;
use oauth::{Entropy, KeyId, Timestamp};
use serde::Serialize;
use store::{SealedKey, SealedKeyRing, Store, StoreError};

/// The one algorithm of access tokens (RFC 7518 section 3.4); what a token's header says about it is not asked.
const ALGORITHM: Algorithm = Algorithm::ES256;

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "GATEWAY_JWT_SECRET does not open the keys in this store: it is not the secret that sealed them. Set the earlier value again, or start with an empty store (everybody signs in anew)"
    )]
    WrongSecret,
    #[error("the keys in the store are damaged: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an access token is not even looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token is malformed or was not signed by this server")]
pub(crate) struct InvalidSignature;

/// A public key as it is published (RFC 7517 section 4, RFC 7518 section 6.2.1).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PublishedKey {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    kid: KeyId,
    x: String,
    y: String,
}

struct SigningKey {
    id: KeyId,
    encoding: EncodingKey,
    decoding: DecodingKey,
    published: PublishedKey,
}

/// The opened ring.
pub(crate) struct KeyRing {
    current: SigningKey,
    retired: Vec<SigningKey>,
    derivation: DerivationKey,
    validation: Validation,
}

impl KeyRing {
    /// Opens the ring of the store, which is made at the first start.
    pub(crate) async fn load(
        store: &Store,
        secret: &str,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let seal = Seal::new(secret);
        let fresh = fresh_ring(&seal, entropy, now)?;
        let ring = store.key_ring(&fresh, now).await?;
        Self::open(&ring, &seal)
    }

    fn open(ring: &SealedKeyRing, seal: &Seal) -> Result<Self, KeyError> {
        let derivation = seal
            .open("derivation", &ring.derivation)?
            .try_into()
            .map_err(|_| KeyError::Damaged("the derivation key has a wrong length"))?;
        let mut keys = ring
            .signing
            .iter()
            .map(|sealed| SigningKey::open(sealed, seal))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let current = keys
            .next()
            .ok_or(KeyError::Damaged("there is no signing key"))?;
        let mut validation = Validation::new(ALGORITHM);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            current,
            retired: keys.collect(),
            derivation: DerivationKey::new(derivation),
            validation,
        })
    }

    /// The key from which refresh tokens are derived.
    pub(crate) fn derivation(&self) -> &DerivationKey {
        &self.derivation
    }

    /// The public keys (`/jwks`).
    pub(crate) fn published(&self) -> Vec<&PublishedKey> {
        self.all().map(|key| &key.published).collect()
    }

    /// Signs an access token (RFC 9068 section 2).
    pub(crate) fn sign(
        &self,
        claims: &AccessClaims,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.current.id.to_string());
        jsonwebtoken::encode(&header, claims, &self.current.encoding)
    }

    /// Checks header and signature. The key is ours and named by `kid`; nothing else in the header has a say.
    pub(crate) fn verify(&self, token: &str) -> Result<AccessClaims, InvalidSignature> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidSignature)?;
        let is_access_token = header.typ.as_deref() == Some(TYPE);
        let is_plain = header.crit.is_none();
        if !is_access_token || !is_plain {
            return Err(InvalidSignature);
        }
        let id = header.kid.ok_or(InvalidSignature)?;
        let key = self
            .all()
            .find(|key| key.id.as_str() == id)
            .ok_or(InvalidSignature)?;
        jsonwebtoken::decode::<AccessClaims>(token, &key.decoding, &self.validation)
            .map(|token| token.claims)
            .map_err(|_| InvalidSignature)
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.retired)
    }
}

impl SigningKey {
    fn open(sealed: &SealedKey, seal: &Seal) -> Result<Self, KeyError> {
        let private = seal.open(sealed.id.as_str(), &sealed.private)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)
            .map_err(|_| KeyError::Damaged("a signing key is not a P-256 key in PKCS #8"))?;
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .strip_prefix(&[4])
            .filter(|coordinates| coordinates.len() == 64)
            .map(|coordinates| coordinates.split_at(32))
            .ok_or(KeyError::Damaged(
                "a public key is not an uncompressed point",
            ))?;
        Ok(Self {
            id: sealed.id.clone(),
            encoding: EncodingKey::from_ec_der(&private),
            decoding: DecodingKey::from_ec_der(point),
            published: PublishedKey {
                kty: "EC",
                crv: "P-256",
                usage: "sig",
                alg: "ES256",
                kid: sealed.id.clone(),
                x: URL_SAFE_NO_PAD.encode(x),
                y: URL_SAFE_NO_PAD.encode(y),
            },
        })
    }
}

fn fresh_ring(
    seal: &Seal,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<SealedKeyRing, KeyError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .and_then(|pair| pair.to_pkcs8v1())
        .map_err(|_| KeyError::Damaged("a new signing key could not be made"))?;
    let id = KeyId::generate(entropy);
    let derivation: [u8; 32] = oauth::entropy::bytes(entropy);
    Ok(SealedKeyRing {
        derivation: seal.close("derivation", &derivation, entropy)?,
        signing: vec![SealedKey {
            private: seal.close(id.as_str(), pair.as_ref(), entropy)?,
            id,
            algorithm: "ES256".to_owned(),
            created_at: now,
        }],
    })
}

/// Seals and opens secrets with a key derived from `GATEWAY_JWT_SECRET`. The name of a secret is bound to its ciphertext,
/// so that sealed values cannot be swapped.
struct Seal(LessSafeKey);

impl Seal {
    fn new(secret: &str) -> Self {
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
        Self(LessSafeKey::new(key))
    }

    fn close(&self, name: &str, plain: &[u8], entropy: &dyn Entropy) -> Result<String, KeyError> {
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

    fn open(&self, name: &str, sealed: &str) -> Result<Vec<u8>, KeyError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| KeyError::Damaged("a sealed key is not base64url"))?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(KeyError::Damaged("a sealed key is too short"))?;
        let mut buffer = sealed.to_vec();
        let plain = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(name.as_bytes()),
                &mut buffer,
            )
            .map_err(|_| KeyError::WrongSecret)?;
        Ok(plain.to_vec())
    }
}
