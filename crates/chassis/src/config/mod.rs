//! Configuration: defaults, then `gateway.toml`, then the environment, then `VARIABLE_FILE` for secrets.
//!
//! A binary describes its variables in one table of [`Setting`]s and its values in one struct; [`load`] merges the sources into
//! the struct and remembers where each value came from. Whatever is wrong is a [`ConfigError`] of exactly one line.
//!
//! figment is imported in this folder only, so that it can be replaced in one place.

mod describe;
mod environment;
mod error;
mod load;
mod reference;
mod seconds;
mod secret;
mod setting;
mod sources;

pub use describe::{Origin, Row};
pub use environment::Environment;
pub use error::ConfigError;
pub use load::{CONFIG_VARIABLE, Loaded, Section, find_file, load};
pub use reference::{Described, FileKey, Reference};
pub use seconds::Seconds;
pub use secret::Secret;
pub use setting::{Kind, Setting};

#[cfg(test)]
mod tests;
