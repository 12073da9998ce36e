//! The ID token, verified (OpenID Connect Core section 3.1.3.7). Nothing in it counts before its signature does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use oauth::Timestamp;
use oauth::authorization::LIFETIME;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use crate::idp::ProviderError;

/// By how many seconds two clocks may differ.
const LEEWAY: i64 = 30;

/// What an ID token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The access token that came with it.
    pub(super) access_token: &'a str,
    pub(super) now: Timestamp,
}

/// The part of the header that is acted on. Keys and addresses of keys in it are not looked at (RFC 8725 section 3.10).
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

fn wrong(text: impl Into<String>) -> ProviderError {
    ProviderError::Unexpected(format!("an ID token {}", text.into()))
}

/// The algorithm, if it is one of `algorithms`, and the name of the key.
pub(super) fn header(token: &str, algorithms: &[Algorithm]) -> Result<Header, ProviderError> {
    let header = jsonwebtoken::decode_header(token)
        .map_err(|_| wrong("that is no signed JWT with an algorithm that is known"))?;
    if !algorithms.contains(&header.alg) {
        return Err(wrong(format!(
            "signed with {:?}, which is not accepted",
            header.alg
        )));
    }
    // RFC 7515 section 4.1.11: an extension that is not understood.
    if header.crit.is_some() {
        return Err(wrong("with a critical extension"));
    }
    Ok(Header {
        algorithm: header.alg,
        kid: header.kid,
    })
}

/// The claims, if the signature and each of them that must hold does.
pub(super) fn verify(
    token: &str,
    header: &Header,
    key: &DecodingKey,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, ProviderError> {
    let mut validation = Validation::new(header.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let claims: Map<String, Value> = jsonwebtoken::decode(token, key, &validation)
        .map_err(|_| wrong("whose signature is wrong"))?
        .claims;
    check(&claims, header.algorithm, expected).map_err(wrong)?;
    Ok(claims)
}

fn check(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err("of another issuer".to_owned());
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audiences.contains(&expected.client_id) {
        return Err("for another client".to_owned());
    }
    let authorized = text("azp");
    let is_ours = match authorized {
        Some(party) => party == expected.client_id,
        None => audiences.len() == 1 && !claims.contains_key("azp"),
    };
    if !is_ours {
        return Err("for several clients, and not authorized for this one (azp)".to_owned());
    }
    check_times(claims, expected.now)?;
    let is_same: bool = text("nonce")
        .unwrap_or_default()
        .as_bytes()
        .ct_eq(expected.nonce.as_bytes())
        .into();
    if !is_same {
        return Err("of another sign-in (nonce)".to_owned());
    }
    if claims.contains_key("at_hash")
        && text("at_hash") != Some(half_hash(algorithm, expected.access_token).as_str())
    {
        return Err("of another access token (at_hash)".to_owned());
    }
    Ok(())
}

/// `exp` and `iat` must be there. A token that is older than a sign-in may be belongs to none that is under way.
fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), String> {
    let now = now.as_second();
    let instant = |name: &str| -> Result<Option<i64>, String> {
        let Some(value) = claims.get(name) else {
            return Ok(None);
        };
        // RFC 7519 section 2: a number, which may have a fraction.
        let whole = value.as_i64().or_else(|| {
            let seconds = value.as_f64()?.trunc();
            format!("{seconds:.0}").parse().ok()
        });
        whole.map(Some).ok_or(format!("whose {name} is no instant"))
    };
    let longest = i64::try_from(LIFETIME).unwrap_or(600);
    let end = instant("exp")?.ok_or("without exp")?;
    let issued = instant("iat")?.ok_or("without iat")?;
    if end <= now.saturating_sub(LEEWAY) {
        return Err("that has expired; do the clocks agree?".to_owned());
    }
    if issued > now.saturating_add(LEEWAY) {
        return Err("from the future (iat); do the clocks agree?".to_owned());
    }
    if issued < now.saturating_sub(longest).saturating_sub(LEEWAY) {
        return Err("that is older than the sign-in (iat); do the clocks agree?".to_owned());
    }
    if instant("nbf")?.is_some_and(|begin| begin > now.saturating_add(LEEWAY)) {
        return Err("that does not count yet (nbf); do the clocks agree?".to_owned());
    }
    Ok(())
}

/// The left half of the hash of the access token, with the hash of the signature's algorithm (section 3.1.3.6); Ed25519 has
/// SHA-512.
fn half_hash(algorithm: Algorithm, access_token: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => {
            Sha256::digest(access_token).to_vec()
        }
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => {
            Sha384::digest(access_token).to_vec()
        }
        _ => Sha512::digest(access_token).to_vec(),
    };
    let (left, _) = hash.split_at(hash.len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}
