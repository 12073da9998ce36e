//! The keys with which the provider signs (RFC 7517).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::ANSWER_LIMIT;
use super::id_token::Header;
use crate::idp::{ProviderError, answer};

/// Most keys that are kept.
const MOST: usize = 100;

/// The keys that can have signed an ID token.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Jwk>);

#[derive(Deserialize)]
struct Published {
    /// Each is read by itself: one of a kind that is not known here must not hide the others (RFC 7517 section 5).
    keys: Vec<Value>,
}

/// Reads them anew.
pub(super) async fn fetch(http: &reqwest::Client, url: &Url) -> Result<KeySet, ProviderError> {
    let published: Published = answer::ask(http.get(url.clone()), ANSWER_LIMIT).await?;
    let keys = published.keys.into_iter().take(MOST);
    let keys: Vec<Jwk> = keys
        .filter_map(|key| serde_json::from_value(key).ok())
        .filter(is_for_signatures)
        .collect();
    if keys.is_empty() {
        let text = "it publishes no key with which an ID token could be verified";
        return Err(ProviderError::Unexpected(text.to_owned()));
    }
    Ok(KeySet(keys))
}

fn is_for_signatures(key: &Jwk) -> bool {
    let is_signing = matches!(
        key.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let is_asymmetric =
        DecodingKey::from_jwk(key).is_ok_and(|key| !matches!(key.family(), AlgorithmFamily::Hmac));
    is_signing && is_asymmetric
}

impl KeySet {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The one key that a token names. A token that names none is only clear when one key fits its algorithm (OpenID Connect Core
    /// section 10.1).
    pub(super) fn find(&self, header: &Header) -> Option<DecodingKey> {
        let mut fitting = self.0.iter().filter_map(|key| {
            let is_named = header.kid.is_none() || key.common.key_id == header.kid;
            let is_meant = key
                .common
                .key_algorithm
                .is_none_or(|algorithm| algorithm == header.algorithm.into());
            let decoding = DecodingKey::from_jwk(key).ok()?;
            let fits = decoding.family() == header.algorithm.family();
            (is_named && is_meant && fits).then_some(decoding)
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}
