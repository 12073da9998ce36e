//! The token of the administration API.
//!
//! It is derived from `GATEWAY_JWT_SECRET`, so whoever may read the configuration of the service may administer it, and there
//! is no further secret to keep.

use chassis::config::Secret;
use oauth::token::DerivationKey;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The token that belongs to a secret.
pub(crate) fn of_secret(secret: &Secret) -> Zeroizing<String> {
    let key = DerivationKey::new(Sha256::digest(secret.expose().as_bytes()).into());
    key.derive("administration token", "1")
}

/// The tokens that are accepted: of the present secret, and of the one before while it is configured.
pub(crate) struct AdminTokens(Vec<[u8; 32]>);

impl AdminTokens {
    pub(crate) fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        let secrets = std::iter::once(secret).chain(previous);
        Self(secrets.map(|secret| digest(&of_secret(secret))).collect())
    }

    /// Whether this is one of them; compared in constant time.
    pub(crate) fn admit(&self, presented: &str) -> bool {
        let presented = digest(presented);
        let matches = self.0.iter().map(|known| known.ct_eq(&presented));
        matches
            .fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
