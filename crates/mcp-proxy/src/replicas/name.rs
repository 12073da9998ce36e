//! Who a process is among its replicas: a random name, and the tag made of it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Bytes of a name.
const NAME: usize = 16;
/// Bytes of a tag.
const TAG: usize = 8;

/// The name of a process: 128 random bits, made at its start. Its peers know it, clients do not.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Box<str>);

impl Name {
    /// A new one.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; NAME];
        #[expect(
            clippy::disallowed_methods,
            reason = "an unguessable name has no use for a repeatable source"
        )]
        getrandom::fill(&mut bytes)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// Reads what a peer says it is called.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == NAME).then(|| Self(text.into()))
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let hash = Sha256::digest(self.0.as_bytes());
        let mut tag = [0; TAG];
        for (byte, hashed) in tag.iter_mut().zip(hash) {
            *byte = hashed;
        }
        Tag(tag)
    }

    /// The name as it is told to peers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Name([hidden])")
    }
}

/// What the names of sessions and parked calls begin with: 64 bits of the SHA-256 of the name of their process. It says
/// nothing of the name or of where the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag([u8; TAG]);

impl Tag {
    /// Puts the tag before the rest of an identifier.
    #[must_use]
    pub fn mark(self, rest: &str) -> String {
        format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }

    /// The tag of an identifier, and its rest.
    #[must_use]
    pub fn split(marked: &str) -> Option<(Self, &str)> {
        let (tag, rest) = marked.split_once('.')?;
        // No more is decoded than a tag can be.
        let bytes = (tag.len() == (TAG * 8).div_ceil(6))
            .then(|| BASE64_URL_SAFE_NO_PAD.decode(tag).ok())
            .flatten()?;
        Some((Self(bytes.try_into().ok()?), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_again_and_nothing_else_is_one() {
        let name = Name::generate().unwrap();
        let tag = name.tag();
        assert_eq!(Name::parse(name.as_str()).unwrap().tag(), tag);
        assert_eq!(
            Tag::split(&tag.mark("rest.of it")),
            Some((tag, "rest.of it"))
        );
        assert!(!tag.mark("").contains(name.as_str()));
        for none in [
            "",
            ".",
            ".rest",
            "AAAAAAAAAAA",
            "AAAAAAAAAA.rest",
            "AAAAAAAAAAAA.rest",
            "AAAAAAAAAAB.rest",
            "AAAAAAAAAA=.rest",
            "AAAA AAAAAA.rest",
            "127.0.0.1:80",
        ] {
            assert_eq!(Tag::split(none), None, "{none}");
        }
    }

    #[test]
    fn only_128_bits_are_a_name() {
        for none in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "not a name at all!"] {
            assert_eq!(Name::parse(none), None, "{none}");
        }
    }
}
