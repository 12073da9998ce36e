//! Proof Key for Code Exchange, S256 only (RFC 7636; `plain` is not offered, RFC 9700 section 2.1.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// `code_challenge` of method S256: the SHA-256 of the verifier as 43 characters of base64url.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge([u8; 32]);

/// The text is not an S256 challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("code_challenge must be a SHA-256 as 43 characters of base64url")]
pub struct InvalidChallenge;

impl CodeChallenge {
    /// A challenge that no verifier answers.
    #[must_use]
    pub(crate) fn of_nothing(entropy: &dyn crate::Entropy) -> Self {
        Self(crate::entropy::bytes::<32>(entropy))
    }

    /// Takes 43 characters of base64url that decode to 32 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidChallenge> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or(InvalidChallenge)
    }

    /// Whether the challenge was made from this verifier; compared in constant time.
    #[must_use]
    pub fn is_answered_by(&self, verifier: &CodeVerifier) -> bool {
        let digest: [u8; 32] = Sha256::digest(verifier.0.as_bytes()).into();
        self.0.ct_eq(&digest).into()
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = InvalidChallenge;
    fn try_from(text: String) -> Result<Self, InvalidChallenge> {
        Self::parse(&text)
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> String {
        URL_SAFE_NO_PAD.encode(challenge.0)
    }
}

/// `code_verifier`: 43 to 128 unreserved characters (RFC 7636 section 4.1).
pub struct CodeVerifier(zeroize::Zeroizing<String>);

impl CodeVerifier {
    /// Takes the text if it is a verifier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let valid = (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved);
        valid.then(|| Self(zeroize::Zeroizing::new(text.to_owned())))
    }

    /// The challenge that belongs to this verifier, for the request to an identity provider.
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The verifier itself, for the one request that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeVerifier[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636 appendix B.
    #[test]
    fn the_example_of_the_rfc_fits() {
        let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let challenge =
            CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_answered_by(&verifier));
        let other = CodeVerifier::parse(&"x".repeat(43)).unwrap();
        assert!(!challenge.is_answered_by(&other));
    }

    #[test]
    fn lengths_and_characters_are_checked() {
        assert!(CodeVerifier::parse(&"x".repeat(42)).is_none());
        assert!(CodeVerifier::parse(&"x".repeat(129)).is_none());
        assert!(CodeVerifier::parse(&format!("{}+", "x".repeat(43))).is_none());
        assert!(CodeChallenge::parse("short").is_err());
        assert!(CodeChallenge::parse(&"E".repeat(44)).is_err());
    }
}
