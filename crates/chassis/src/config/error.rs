use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::telemetry::untrusted;

/// Why a configuration cannot be used. Its text is exactly one line: which variable or key, what was found (never a secret),
/// what is wrong with it, and how to get it right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A value that must be given is absent.
    #[error("{name} is not set. {}", sentence(remedy))]
    Missing {
        /// Variable, and key in `gateway.toml`.
        name: String,
        /// How to get a right value.
        remedy: String,
    },
    /// A value is malformed, of the wrong type or refused by a check of the service.
    #[error("{name} is {} ({origin}), which {wrong}. {}", quoted(value.as_deref()), sentence(remedy))]
    Invalid {
        /// Variable, and key in `gateway.toml`.
        name: String,
        /// What was found; `None` for a secret.
        value: Option<String>,
        /// Where it was found.
        origin: String,
        /// What is wrong with it, as the rest of a sentence: "is not a whole number".
        wrong: String,
        /// How to get a right value.
        remedy: String,
    },
    /// A variable holds bytes that are not UTF-8.
    #[error("{variable} holds bytes that are not UTF-8. Set it to plain text.")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// A variable is given under two of its names, with different values.
    #[error(
        "{variable} and {alias} are two names of one setting and differ. Keep {variable}, remove {alias}."
    )]
    TwoNames {
        /// The preferred name.
        variable: String,
        /// The other name.
        alias: String,
    },
    /// A secret is given both directly and as a file.
    #[error("{variable} and {variable}_FILE are both set. Keep one of them.")]
    TwoSources {
        /// The variable that holds the secret itself.
        variable: String,
    },
    /// The file that `VARIABLE_FILE` names cannot be used.
    #[error(
        "{variable}_FILE names {}, which {wrong}. Put the value of {variable} into that file, and nothing else.",
        shown(path)
    )]
    SecretFile {
        /// The variable that the file stands for.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        wrong: String,
    },
    /// The configuration file cannot be used.
    #[error(
        "configuration file {}: {}. {}",
        shown(path),
        untrusted(wrong),
        sentence(remedy)
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        wrong: String,
        /// What to do.
        remedy: String,
    },
    /// The configuration file has a key that nothing reads.
    #[error(
        "configuration file {}: unknown key {}. {}",
        shown(path),
        untrusted(key),
        known_keys(known)
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: String,
        /// The keys that may stand there.
        known: Vec<String>,
    },
}

fn quoted(value: Option<&str>) -> String {
    match value {
        Some(value) => format!("\"{}\"", untrusted(value)),
        None => "[hidden]".to_owned(),
    }
}

fn shown(path: &Path) -> String {
    untrusted(&path.to_string_lossy()).to_string()
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.chars().last() {
        None => "See the configuration reference.".to_owned(),
        Some('.') => text.to_owned(),
        Some(_) => format!("{text}."),
    }
}

fn known_keys(known: &[String]) -> String {
    if known.is_empty() {
        "No key is expected there.".to_owned()
    } else {
        format!("Known keys there: {}.", known.join(", "))
    }
}
