//! One signing key: made, opened, published, used.

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use oauth::key_ring::{Algorithm, FreshKey, SigningKey};
use oauth::{Entropy, KeyId};
use serde::Serialize;
use zeroize::Zeroizing;

use super::KeyError;

/// Numbers that are tried as a key. More than one is needed only where chance is not what it should be.
const CANDIDATES: usize = 8;

/// A private key in PKCS #8.
pub(super) type Private = Zeroizing<Vec<u8>>;

/// A public key as it is published (RFC 7517 section 4).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PublishedKey {
    #[serde(flatten)]
    parameters: Parameters,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: Algorithm,
    kid: KeyId,
}

/// RFC 7518 sections 6.2.1 and 6.3.1, RFC 8037 section 2.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kty")]
enum Parameters {
    #[serde(rename = "EC")]
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

/// What a key can do once it is opened.
pub(super) struct Opened {
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
    pub(super) published: PublishedKey,
}

/// The algorithm in the terms of the library that signs.
pub(super) const fn of_library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// Makes a key. An RSA key takes a tenth of a second and more.
pub(super) fn generate(
    algorithm: Algorithm,
    entropy: &dyn Entropy,
) -> Result<FreshKey<Private>, KeyError> {
    let failed = |_: Unspecified| KeyError::Damaged("a new signing key could not be made");
    let material = match algorithm {
        Algorithm::Es256 => p256(entropy)
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(failed)?
            .as_ref()
            .to_vec(),
        Algorithm::EdDsa => {
            let seed: Zeroizing<[u8; 32]> = Zeroizing::new(oauth::entropy::bytes(entropy));
            Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
                .map_err(Unspecified::from)
                .and_then(|pair| pair.to_pkcs8())
                .map_err(failed)?
                .as_ref()
                .to_vec()
        }
        Algorithm::Rs256 => rsa::KeyPair::generate(rsa::KeySize::Rsa2048)
            .and_then(|pair| pair.as_der())
            .map_err(failed)?
            .as_ref()
            .to_vec(),
    };
    Ok(FreshKey {
        id: KeyId::generate(entropy),
        algorithm,
        material: Zeroizing::new(material),
    })
}

/// A P-256 key (FIPS 186-5 appendix A.2.2: bytes that are no number from 1 to n − 1 are thrown away, which chance lets happen once
/// in 2³²). The bytes come from the system and not from the generator of the library, which the very first start would wait
/// for: see [`seed_generator`].
fn p256(entropy: &dyn Entropy) -> Result<EcdsaKeyPair, Unspecified> {
    for _ in 0..CANDIDATES {
        let number: Zeroizing<[u8; 32]> = Zeroizing::new(oauth::entropy::bytes(entropy));
        let Ok(private) = agreement::PrivateKey::from_private_key(&ECDH_P256, number.as_slice())
        else {
            continue;
        };
        let public = private.compute_public_key()?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            algorithm,
            number.as_slice(),
            public.as_ref(),
        )?;
        return Ok(pair);
    }
    Err(Unspecified)
}

/// Makes the library ready to sign. At its first use its generator measures jitter of the processor for some 40 ms (SP 800-90B), once
/// in a process; whoever gets the first token would wait for it.
pub(crate) fn seed_generator() {
    let mut thrown_away = [0; 1];
    if aws_lc_rs::rand::fill(&mut thrown_away).is_err() {
        tracing::warn!("the cryptographic library has no randomness: tokens cannot be signed");
    }
}

/// Takes a private key apart.
pub(super) fn open<M>(key: &SigningKey<M>, private: &[u8]) -> Result<Opened, KeyError> {
    let (encoding, decoding, parameters) = match key.algorithm {
        Algorithm::Es256 => es256(private)?,
        Algorithm::EdDsa => ed_dsa(private)?,
        Algorithm::Rs256 => rs256(private)?,
    };
    Ok(Opened {
        encoding,
        decoding,
        validation: validation(of_library(key.algorithm)),
        published: PublishedKey {
            parameters,
            usage: "sig",
            alg: key.algorithm,
            kid: key.id.clone(),
        },
    })
}

/// The signature under the key's own algorithm, whatever the header says, and nothing else: the claims are checked by
/// `oauth::claims`, with our clock.
fn validation(algorithm: jsonwebtoken::Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

type Parts = (EncodingKey, DecodingKey, Parameters);

fn es256(private: &[u8]) -> Result<Parts, KeyError> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private)
        .map_err(|_| KeyError::Damaged("a signing key is not a P-256 key in PKCS #8"))?;
    let point = pair.public_key().as_ref();
    let (x, y) = point
        .strip_prefix(&[4])
        .filter(|coordinates| coordinates.len() == 64)
        .map(|coordinates| coordinates.split_at(32))
        .ok_or(KeyError::Damaged(
            "a public key is not an uncompressed point",
        ))?;
    let parameters = Parameters::Ec {
        crv: "P-256",
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
    };
    Ok((
        EncodingKey::from_ec_der(private),
        DecodingKey::from_ec_der(point),
        parameters,
    ))
}

fn ed_dsa(private: &[u8]) -> Result<Parts, KeyError> {
    let pair = Ed25519KeyPair::from_pkcs8(private)
        .map_err(|_| KeyError::Damaged("a signing key is not an Ed25519 key in PKCS #8"))?;
    let x = pair.public_key().as_ref();
    let parameters = Parameters::Okp {
        crv: "Ed25519",
        x: URL_SAFE_NO_PAD.encode(x),
    };
    Ok((
        EncodingKey::from_ed_der(private),
        DecodingKey::from_ed_der(x),
        parameters,
    ))
}

fn rs256(private: &[u8]) -> Result<Parts, KeyError> {
    let damaged = KeyError::Damaged("a signing key is not an RSA key in PKCS #8");
    let Ok(pair) = rsa::KeyPair::from_pkcs8(private) else {
        return Err(damaged);
    };
    let public = pair.public_key();
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    // The library wants the key inside PKCS #8, and finds it only in PEM.
    let text = Zeroizing::new(pem::encode(&pem::Pem::new("PRIVATE KEY", private)));
    let Ok(encoding) = EncodingKey::from_rsa_pem(text.as_bytes()) else {
        return Err(damaged);
    };
    let parameters = Parameters::Rsa {
        n: URL_SAFE_NO_PAD.encode(modulus),
        e: URL_SAFE_NO_PAD.encode(exponent),
    };
    Ok((
        encoding,
        DecodingKey::from_rsa_raw_components(modulus, exponent),
        parameters,
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};

    use super::*;

    /// Chance that gives out these bytes, each of them 32 times, and the last one for ever.
    struct Loaded(Mutex<Vec<u8>>);

    impl Entropy for Loaded {
        fn fill(&self, bytes: &mut [u8]) {
            let mut left = self.0.lock().unwrap();
            let byte = if left.len() > 1 {
                left.remove(0)
            } else {
                left[0]
            };
            bytes.fill(byte);
        }
    }

    fn private_number(chance: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let pair = p256(&Loaded(Mutex::new(chance.to_vec())))?;
        let number: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
        Ok(number.as_ref().to_vec())
    }

    #[test]
    fn a_key_is_the_first_number_that_is_one() {
        assert_eq!(private_number(&[7]).unwrap(), [7; 32]);
        // Zero, and a number beyond the order of the curve.
        assert_eq!(private_number(&[0, 0xff, 9]).unwrap(), [9; 32]);
        assert!(private_number(&[0]).is_err());
        assert!(private_number(&[0xff]).is_err());
    }
}
