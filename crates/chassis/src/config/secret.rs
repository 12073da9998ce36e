use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for a secret wherever a configuration is shown.
pub(super) const HIDDEN: &str = "[hidden]";

/// What [`Secret`] expects. A type error that says so must not show the value it met.
pub(super) const EXPECTING: &str = "a secret in quotes";

/// A value of the configuration that is never shown: `Debug` and `Serialize` write `[hidden]`, and the memory is zeroed on drop.
///
/// Put it into the configuration as `Option<Secret>` with `None` as its default: what it serializes to is not what it is.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The secret itself. Do not log, store or compare it with `==`.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(SecretVisitor)
    }
}

struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTING)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        if text == HIDDEN {
            // Somebody pasted the output of the `config` command.
            return Err(E::invalid_value(Unexpected::Other("a placeholder"), &self));
        }
        Ok(Secret::new(text.to_owned()))
    }
}
