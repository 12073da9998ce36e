//! What audit lines have in common. A line has the target `audit`, an `event`, and what it is about: subject, client, session,
//! service, and the beginning of a hash of the token. The request's id stands in its span.

use std::fmt;

use chassis::telemetry::{Untrusted, untrusted};
use oauth::ClientId;
use sha2::{Digest as _, Sha256};

/// Bytes of the hash that are shown: enough to find a token again that one holds, and no use to anybody else.
const SHOWN: usize = 4;

/// The first eight hexadecimal digits of the SHA-256 of a token.
pub(crate) struct TokenHash([u8; SHOWN]);

/// Names a token without telling it.
pub(crate) fn token(token: &str) -> TokenHash {
    let hash = Sha256::digest(token.as_bytes());
    let mut shown = [0; SHOWN];
    for (shown, byte) in shown.iter_mut().zip(hash) {
        *shown = byte;
    }
    TokenHash(shown)
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A client's id. A client that is known by a document chose it itself.
pub(crate) fn client(id: &ClientId) -> Untrusted<'_> {
    untrusted(id.as_str())
}
