//! How long what is known of people counts.

use chassis::config::{ConfigError, Loaded};

use crate::config::Config;

/// Lifetimes, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeopleSettings {
    /// Of a membership that the identity provider confirmed.
    pub(crate) membership_lifetime: u64,
    /// Of a consent that a person wants remembered; 0 = none is.
    pub(crate) consent_lifetime: u64,
}

pub(super) fn people(loaded: &Loaded<Config>) -> Result<PeopleSettings, ConfigError> {
    let people = &loaded.config.people;
    let day = 24 * 3600;
    let checked = |key: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(loaded.invalid(key, format!("must be between {least} and {most} seconds")))
        }
    };
    Ok(PeopleSettings {
        consent_lifetime: match people.consent_lifetime.get() {
            0 => 0,
            lifetime => checked("people.consent_lifetime", lifetime, 60, 366 * day)?,
        },
        membership_lifetime: checked(
            "people.membership_lifetime",
            people.membership_lifetime.get(),
            60,
            3650 * day,
        )?,
    })
}
