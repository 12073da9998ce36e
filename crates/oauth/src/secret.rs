//! Secrets that cannot be printed by accident, and the hashes of them that may be stored.
//!
//! All of them carry 256 random bits, so a plain SHA-256 is enough to store them by: there is nothing to guess.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};

/// What a secret is for. The prefix makes a leaked one recognisable to scanners; it must never change, because clients
/// keep secrets for months.
pub trait SecretKind {
    /// What every secret of this kind begins with.
    const PREFIX: &'static str;
}

macro_rules! kind {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}
        impl SecretKind for $name {
            const PREFIX: &'static str = $prefix;
        }
    )*};
}
kind! {
    /// The secret of a confidential client (RFC 6749 section 2.3.1).
    ClientSecret = "mcp_cs_";
    /// The registration access token of a client (RFC 7592 section 3).
    RegistrationToken = "mcp_rg_";
    /// What the browser's cookie holds while a sign-in is under way.
    BrowserCookie = "mcp_bc_";
    /// The anti-CSRF token of a form.
    FormToken = "mcp_ft_";
    /// What the cookie of a browser holds in which a person had consent remembered.
    RememberedCookie = "mcp_rb_";
    /// The `state` sent to the identity provider.
    State = "mcp_st_";
    /// An authorization code (RFC 6749 section 4.1.2).
    Code = "mcp_ac_";
    /// The secret part of a device code (RFC 8628 section 3.2).
    DeviceSecret = "mcp_dc_";
}

/// A secret in the clear. It prints as its prefix, is overwritten when dropped, and cannot be serialised.
pub struct Plain<K> {
    text: Zeroizing<String>,
    kind: PhantomData<K>,
}

impl<K: SecretKind> Plain<K> {
    /// A fresh secret of 256 random bits.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let body = Zeroizing::new(entropy::text::<32>(entropy));
        Self::of(format!("{}{}", K::PREFIX, body.as_str()))
    }

    /// Takes the text if it has the shape of this kind of secret; anything else is refused before a store is asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(K::PREFIX)?;
        let well_formed = body.len() == 43 && URL_SAFE_NO_PAD.decode(body).is_ok();
        well_formed.then(|| Self::of(text.to_owned()))
    }

    fn of(text: String) -> Self {
        Self {
            text: Zeroizing::new(text),
            kind: PhantomData,
        }
    }

    /// The secret itself, for the one message that carries it to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What may be stored of it.
    #[must_use]
    pub fn hash(&self) -> Hashed<K> {
        Hashed {
            digest: Sha256::digest(self.text.as_bytes()).into(),
            kind: PhantomData,
        }
    }
}

/// How long a secret that another server made must be: less could be guessed.
const LEAST_FOREIGN: usize = 32;

/// And at most.
const MOST_FOREIGN: usize = 512;

/// Secrets that clients keep for months, and which therefore may have been made by the server that was here before.
pub trait Lasting: SecretKind {}
impl Lasting for ClientSecret {}
impl Lasting for RegistrationToken {}

impl<K: Lasting> Plain<K> {
    /// Takes a secret that this or another server made: 32 to 512 visible ASCII characters.
    #[must_use]
    pub fn presented(text: &str) -> Option<Self> {
        let is_long = (LEAST_FOREIGN..=MOST_FOREIGN).contains(&text.len());
        let well_formed = is_long && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then(|| Self::of(text.to_owned()))
    }
}

impl<K> Clone for Plain<K> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: SecretKind> fmt::Debug for Plain<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[hidden]", K::PREFIX)
    }
}

/// The SHA-256 of a secret. It has no `PartialEq`: comparing goes through [`Hashed::matches`], in constant time.
pub struct Hashed<K> {
    digest: [u8; 32],
    kind: PhantomData<K>,
}

impl<K: SecretKind> Hashed<K> {
    /// Whether this is the hash of that secret.
    #[must_use]
    pub fn matches(&self, plain: &Plain<K>) -> bool {
        self.digest.ct_eq(&plain.hash().digest).into()
    }
}

impl<K> Clone for Hashed<K> {
    fn clone(&self) -> Self {
        Self {
            digest: self.digest,
            kind: PhantomData,
        }
    }
}

impl<K: SecretKind> fmt::Debug for Hashed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[hash]", K::PREFIX)
    }
}

impl<K> Serialize for Hashed<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.digest))
    }
}

impl<'de, K> Deserialize<'de> for Hashed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = URL_SAFE_NO_PAD
            .decode(&text)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| serde::de::Error::custom("not a SHA-256 in base64url"))?;
        Ok(Self {
            digest,
            kind: PhantomData,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn a_secret_matches_its_own_hash_only() {
        let secret = Plain::<ClientSecret>::generate(&SystemEntropy);
        let other = Plain::<ClientSecret>::generate(&SystemEntropy);
        assert!(secret.hash().matches(&secret));
        assert!(!secret.hash().matches(&other));
    }

    #[test]
    fn printing_shows_nothing_of_the_secret() {
        let secret = Plain::<ClientSecret>::generate(&SystemEntropy);
        assert_eq!(format!("{secret:?}"), "mcp_cs_[hidden]");
    }

    #[test]
    fn kinds_and_garbage_are_refused_by_shape() {
        let secret = Plain::<ClientSecret>::generate(&SystemEntropy);
        assert!(Plain::<ClientSecret>::parse(secret.expose()).is_some());
        assert!(Plain::<RegistrationToken>::parse(secret.expose()).is_none());
        assert!(Plain::<ClientSecret>::parse("mcp_cs_short").is_none());
        assert!(Plain::<ClientSecret>::parse(&format!("{} ", secret.expose())).is_none());
    }

    #[test]
    fn a_hash_survives_storage() {
        let secret = Plain::<Code>::generate(&SystemEntropy);
        let stored = serde_json::to_string(&secret.hash()).unwrap();
        let read: Hashed<Code> = serde_json::from_str(&stored).unwrap();
        assert!(read.matches(&secret));
    }
}
