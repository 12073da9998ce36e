//! The text of codes and refresh tokens. Both begin with the id of their session, so that every step of a grant finds its
//! one record without an index; the secret part is checked against that record.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy::Entropy;
use crate::id::SessionId;
use crate::secret::{Code, Plain};

/// What every refresh token begins with; scanners look for it, so it must never change.
pub const REFRESH_PREFIX: &str = "mcp_rt_";

/// An authorization code: `mcp_ac_SECRET.SESSION`.
#[derive(Debug, Clone)]
pub struct AuthorizationCode {
    /// The session that the code will open.
    pub session: SessionId,
    /// The secret part; only its hash is stored.
    pub secret: Plain<Code>,
}

impl AuthorizationCode {
    /// A fresh code for a session.
    pub fn generate(session: SessionId, entropy: &dyn Entropy) -> Self {
        Self {
            session,
            secret: Plain::generate(entropy),
        }
    }

    /// Takes the text if it has the shape of a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (secret, session) = text.split_once('.')?;
        Some(Self {
            session: SessionId::parse(session).ok()?,
            secret: Plain::parse(secret)?,
        })
    }

    /// The code as the client gets it.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.secret.expose(), self.session))
    }
}

/// The server's key from which refresh tokens are derived. Kept sealed in the store.
#[derive(Clone)]
pub struct DerivationKey(Zeroizing<[u8; 32]>);

impl DerivationKey {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("HMAC takes any key");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// A secret for another purpose, for example the PKCE verifier towards an identity provider, as 43 characters of
    /// base64url. The same purpose and context give the same secret, so it need not be stored.
    #[must_use]
    pub fn derive(&self, purpose: &str, context: &str) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.mac(&[purpose.as_bytes(), context.as_bytes()])))
    }
}

impl std::fmt::Debug for DerivationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DerivationKey[hidden]")
    }
}

/// The random part of a session from which its refresh tokens are derived together with the server's key. Neither half
/// is worth anything alone: a stolen store has no key, a stolen key has no seeds.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Seed(String);

impl Seed {
    /// 256 random bits.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(crate::entropy::text::<32>(entropy))
    }
}

/// A refresh token: `mcp_rt_SESSION.GENERATION.SECRET.CHECK`. The secret is *derived*, so that asking again with the same
/// token gives the same successor again, and nothing of it has to be stored.
#[derive(Clone)]
pub struct RefreshToken {
    /// The session that it belongs to.
    pub session: SessionId,
    /// 0 for the first one; each use makes the next.
    pub generation: u64,
    secret: Zeroizing<String>,
}

impl RefreshToken {
    /// The one token of a session and generation.
    #[must_use]
    pub fn derive(key: &DerivationKey, session: &SessionId, seed: &Seed, generation: u64) -> Self {
        let mac = key.mac(&[
            b"refresh token",
            session.as_str().as_bytes(),
            seed.0.as_bytes(),
            &generation.to_be_bytes(),
        ]);
        Self {
            session: session.clone(),
            generation,
            secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(mac)),
        }
    }

    /// Takes the text if it has the shape and the checksum of a refresh token; garbage is refused before a store is asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, check) = text.rsplit_once('.')?;
        let mut parts = body.strip_prefix(REFRESH_PREFIX)?.split('.');
        let (session, generation, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && secret.len() == 43 && check == checksum(body);
        let canonical = generation.parse::<u64>().ok()?;
        (is_whole && canonical.to_string() == generation).then_some(())?;
        Some(Self {
            session: SessionId::parse(session).ok()?,
            generation: canonical,
            secret: Zeroizing::new(secret.to_owned()),
        })
    }

    /// Whether this text was really given out for that session and seed; compared in constant time.
    #[must_use]
    pub fn is_genuine(&self, key: &DerivationKey, seed: &Seed) -> bool {
        let derived = Self::derive(key, &self.session, seed, self.generation);
        self.secret
            .as_bytes()
            .ct_eq(derived.secret.as_bytes())
            .into()
    }

    /// The token as the client gets it.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let body = format!(
            "{REFRESH_PREFIX}{}.{}.{}",
            self.session,
            self.generation,
            self.secret.as_str()
        );
        let check = checksum(&body);
        Zeroizing::new(format!("{body}.{check}"))
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{REFRESH_PREFIX}[hidden, generation {}]",
            self.generation
        )
    }
}

/// Six characters that tell a token from a typing error; not a secret.
fn checksum(body: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    URL_SAFE_NO_PAD.encode(digest).chars().take(6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn a_code_survives_its_text_and_nothing_else_does() {
        let code = AuthorizationCode::generate(SessionId::generate(&SystemEntropy), &SystemEntropy);
        let read = AuthorizationCode::parse(&code.expose()).unwrap();
        assert_eq!(read.session, code.session);
        assert!(code.secret.hash().matches(&read.secret));
        for bad in [
            "",
            ".",
            "mcp_ac_x.y",
            &format!("{}x", code.expose().as_str()),
        ] {
            assert!(AuthorizationCode::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_refresh_token_is_genuine_only_for_its_key_seed_session_and_generation() {
        let key = DerivationKey::new(crate::entropy::bytes(&SystemEntropy));
        let seed = Seed::generate(&SystemEntropy);
        let session = SessionId::generate(&SystemEntropy);
        let token = RefreshToken::derive(&key, &session, &seed, 7);
        let read = RefreshToken::parse(&token.expose()).unwrap();
        assert!(read.is_genuine(&key, &seed));
        assert!(!read.is_genuine(&key, &Seed::generate(&SystemEntropy)));
        assert!(!read.is_genuine(&DerivationKey::new([0; 32]), &seed));
        let mut other = read.clone();
        other.generation = 8;
        assert!(!other.is_genuine(&key, &seed));
    }

    #[test]
    fn a_changed_character_is_noticed_before_any_store_is_asked() {
        let key = DerivationKey::new([1; 32]);
        let seed = Seed::generate(&SystemEntropy);
        let text = RefreshToken::derive(&key, &SessionId::generate(&SystemEntropy), &seed, 0)
            .expose()
            .to_string();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(RefreshToken::parse(&changed).is_none(), "{position}");
        }
    }
}
