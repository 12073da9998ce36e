//! The settings of the keys.

use chassis::config::{ConfigError, Loaded, Secret};
use oauth::key_ring::{Algorithm, Schedule};

use crate::config::Config;

/// What seals the keys, and when they change.
#[derive(Debug, Clone)]
pub(crate) struct KeySettings {
    pub(crate) secret: Secret,
    /// The secret before, while instances change from it to the new one.
    pub(crate) previous: Option<Secret>,
    pub(crate) schedule: Schedule,
}

impl KeySettings {
    /// `token_life` is the longest life of an access token, in seconds.
    pub(crate) fn check(loaded: &Loaded<Config>, token_life: u64) -> Result<Self, ConfigError> {
        let tokens = &loaded.config.tokens;
        let secret = tokens
            .secret
            .clone()
            .ok_or_else(|| loaded.missing("tokens.secret"))?;
        let previous = tokens.previous_secret.clone();
        strong(loaded, "tokens.secret", &secret)?;
        if let Some(previous) = &previous {
            strong(loaded, "tokens.previous_secret", previous)?;
        }
        let algorithm: Algorithm = tokens
            .algorithm
            .parse()
            .map_err(|error| loaded.invalid("tokens.algorithm", format!("is {error}")))?;
        let publish_before = tokens.key_published_before.get();
        let rotate_every = tokens.key_lifetime.get();
        if publish_before > 24 * 3600 {
            return Err(loaded.invalid(
                "tokens.key_published_before",
                "must be at most 86400 seconds, a day",
            ));
        }
        let shortest = 2 * publish_before.max(1);
        if rotate_every > 0 && rotate_every < shortest {
            return Err(loaded.invalid(
                "tokens.key_lifetime",
                format!("must be 0, or at least {shortest} seconds, twice KEY_PUBLISHED_BEFORE"),
            ));
        }
        Ok(Self {
            secret,
            previous,
            schedule: Schedule {
                algorithm,
                rotate_every,
                publish_before,
                token_life,
            },
        })
    }
}

fn strong(loaded: &Loaded<Config>, key: &str, secret: &Secret) -> Result<(), ConfigError> {
    let text = secret.expose();
    let distinct: std::collections::BTreeSet<char> = text.chars().collect();
    if text.len() < 32 || distinct.len() < 8 {
        return Err(loaded.invalid(key, "must be at least 32 random characters"));
    }
    Ok(())
}
