use std::path::{Path, PathBuf};

use figment::error::Kind as FigmentKind;
use figment::providers::Serialized;
use figment::{Figment, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::describe::{Origin, Row, plain, rows, table};
use super::secret::EXPECTING;
use super::sources::{FROM_ENVIRONMENT, FROM_FILE, FROM_SECRET_FILE, from_environment, read_file};
use super::{ConfigError, Environment, Setting};

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "GATEWAY_CONFIG";

/// The configuration file that is read without being asked for, if it is there.
const DEFAULT_FILE: &str = "gateway.toml";

/// Which part of the one `gateway.toml` a binary reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Everything but these top-level tables, which other binaries read.
    Except(&'static [&'static str]),
    /// One top-level table; keys elsewhere are not looked at.
    Table(&'static str),
}

impl Section {
    /// What stands before a key of the configuration in the file.
    pub(super) fn prefix(self) -> String {
        match self {
            Self::Except(_) => String::new(),
            Self::Table(table) => format!("{table}."),
        }
    }
}

/// Chooses the configuration file: the one asked for on the command line, else the one that `GATEWAY_CONFIG` names, else
/// `gateway.toml` in the working directory if there is one. A file that was named must be there.
pub fn find_file(
    environment: &Environment,
    explicit: Option<&Path>,
) -> Result<Option<PathBuf>, ConfigError> {
    let named = explicit.or_else(|| environment.get(CONFIG_VARIABLE).map(Path::new));
    let Some(path) = named else {
        let path = Path::new(DEFAULT_FILE);
        return Ok(path.is_file().then(|| path.to_owned()));
    };
    if path.is_file() {
        return Ok(Some(path.to_owned()));
    }
    Err(ConfigError::File {
        path: path.to_owned(),
        wrong: "there is no such file".to_owned(),
        remedy: format!("Name an existing file with --config or {CONFIG_VARIABLE}"),
    })
}

/// Merges defaults, file, environment and secret files into a configuration.
///
/// Every struct of `C` needs `#[serde(default, deny_unknown_fields)]`; `#[serde(flatten)]` would defeat that.
pub fn load<C: Default + Serialize + DeserializeOwned>(
    environment: &Environment,
    file: Option<&Path>,
    section: Section,
    settings: &'static [Setting],
) -> Result<Loaded<C>, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(C::default()));
    if let Some(path) = file {
        figment = figment.merge(read_file(path, section)?);
    }
    for setting in settings {
        if let Some(layer) = from_environment(environment, setting)? {
            figment = figment.merge(layer);
        }
    }
    let context = Context {
        figment,
        section,
        settings,
        file: file.map(Path::to_owned),
    };
    let config: C = context
        .figment
        .extract()
        .map_err(|error| context.explain(&error))?;
    let rows = rows(&config, settings, &section.prefix(), |key| {
        context.origin(key)
    });
    let loaded = Loaded { config, rows };
    for setting in settings.iter().filter(|setting| setting.required) {
        if loaded
            .row(setting.key)
            .is_none_or(|row| !row.is_set || row.value.is_empty())
        {
            return Err(loaded.missing(setting.key));
        }
    }
    Ok(loaded)
}

/// A configuration that was read, with the origin of each of its values.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The values.
    pub config: C,
    rows: Vec<Row>,
}

impl<C> Loaded<C> {
    /// Every value with its origin, secrets hidden: settings in the order of their table, then other keys of the file.
    #[must_use]
    pub fn describe(&self) -> &[Row] {
        &self.rows
    }

    /// The rows as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        table(&self.rows)
    }

    /// The error for a value that must be set in this situation, for the checks of the service itself.
    #[must_use]
    pub fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing {
            name: self.name(key),
            remedy: self.remedy(key),
        }
    }

    /// The error for a value that a check of the service refused; `wrong` goes on with a sentence that begins with the value:
    /// "is not a host name".
    #[must_use]
    pub fn invalid(&self, key: &str, wrong: impl std::fmt::Display) -> ConfigError {
        let row = self.row(key);
        ConfigError::Invalid {
            name: self.name(key),
            value: row
                .filter(|row| !row.secret)
                .map(|row| row.value.clone())
                .or_else(|| row.is_none().then(String::new)),
            origin: row
                .map_or(Origin::Default, |row| row.origin.clone())
                .to_string(),
            wrong: wrong.to_string(),
            remedy: self.remedy(key),
        }
    }

    fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.config_key == key)
    }

    fn name(&self, key: &str) -> String {
        match self.row(key) {
            Some(row) => name(row.variable.as_deref(), &row.key),
            None => key.to_owned(),
        }
    }

    fn remedy(&self, key: &str) -> String {
        self.row(key)
            .map_or(String::new(), |row| row.remedy.clone())
    }
}

/// How an error calls a value: by its variable if it has one, and by its key in the file.
pub(super) fn name(variable: Option<&str>, key: &str) -> String {
    match variable {
        Some(variable) => format!("{variable} ({key} in {DEFAULT_FILE})"),
        None => format!("{key} in {DEFAULT_FILE}"),
    }
}

/// What is known while a configuration is put together.
struct Context {
    figment: Figment,
    section: Section,
    settings: &'static [Setting],
    file: Option<PathBuf>,
}

impl Context {
    /// Where the value of a key comes from; for a part of a value, where the whole comes from.
    fn origin(&self, key: &str) -> Origin {
        let mut key = key;
        let metadata = loop {
            if let Some(metadata) = self.figment.find_metadata(key) {
                break metadata;
            }
            match key.rsplit_once('.') {
                Some((parent, _)) => key = parent,
                None => return Origin::Default,
            }
        };
        match (metadata.name.as_ref(), &metadata.source) {
            (FROM_FILE, Some(Source::File(path))) => Origin::File(path.clone()),
            (FROM_SECRET_FILE, Some(Source::File(path))) => Origin::SecretFile(path.clone()),
            (FROM_ENVIRONMENT, Some(Source::Custom(variable))) => {
                Origin::Environment(variable.clone())
            }
            _ => Origin::Default,
        }
    }

    /// Turns the first of figment's errors into our one line.
    fn explain(&self, error: &figment::Error) -> ConfigError {
        let key = error.path.join(".");
        let in_file = format!("{}{key}", self.section.prefix());
        if let FigmentKind::UnknownField(_, known) = &error.kind {
            return ConfigError::UnknownKey {
                path: self.file.clone().unwrap_or_default(),
                key: in_file,
                known: known.iter().map(|&known| known.to_owned()).collect(),
            };
        }
        let setting = self.settings.iter().find(|setting| {
            key == setting.key
                || key
                    .strip_prefix(setting.key)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        let name = name(setting.map(|setting| setting.variable), &in_file);
        let remedy = setting.map_or("", Setting::remedy).to_owned();
        if let FigmentKind::MissingField(field) = &error.kind {
            return ConfigError::Missing {
                name: format!("{field} of {name}"),
                remedy,
            };
        }
        let hidden = setting.is_some_and(|setting| setting.secret) || expects_secret(&error.kind);
        let value = self.figment.find_value(&key).ok();
        ConfigError::Invalid {
            name,
            value: (!hidden).then(|| value.as_ref().map_or(String::new(), plain)),
            origin: self.origin(&key).to_string(),
            wrong: wrong(&error.kind, hidden),
            remedy,
        }
    }
}

fn expects_secret(kind: &FigmentKind) -> bool {
    matches!(
        kind,
        FigmentKind::InvalidType(_, expected) | FigmentKind::InvalidValue(_, expected)
            if expected == EXPECTING
    )
}

/// The rest of the sentence that begins with the value.
fn wrong(kind: &FigmentKind, hidden: bool) -> String {
    match kind {
        // A message of a type's own parser may quote the value.
        FigmentKind::Message(_) if hidden => "is malformed".to_owned(),
        FigmentKind::Message(message) => {
            format!("is refused: {}", crate::telemetry::untrusted(message))
        }
        FigmentKind::InvalidType(_, expected)
        | FigmentKind::InvalidValue(_, expected)
        | FigmentKind::InvalidLength(_, expected) => {
            format!("is not {}", in_words(expected.trim_matches('`')))
        }
        FigmentKind::UnknownVariant(_, variants) => {
            format!("is not one of {}", variants.join(", "))
        }
        FigmentKind::ISizeOutOfRange(_) | FigmentKind::USizeOutOfRange(_) => {
            "is out of range".to_owned()
        }
        _ => "has the wrong form".to_owned(),
    }
}

/// Rust's names of types in the words of an operator.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" | "u128" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" | "a boolean" => "true or false",
        "string" | "a string" => "a text in quotes",
        "sequence" | "a sequence" => "a list in brackets",
        "map" | "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
