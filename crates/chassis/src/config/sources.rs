use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, Source};

use super::describe::Origin;
use super::load::{Section, name};
use super::{ConfigError, Environment, Kind, Setting};

/// A file longer than this is a wrong one, not a secret or a list.
const LONGEST_VALUE: u64 = 64 * 1024;

/// One source of values with the origin that `describe` and the errors show.
pub(super) struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

pub(super) const FROM_FILE: &str = "file";
pub(super) const FROM_ENVIRONMENT: &str = "environment";
pub(super) const FROM_SECRET_FILE: &str = "secret file";

pub(super) fn read_file(path: &Path, section: Section) -> Result<Layer, ConfigError> {
    let refuse = |wrong: String, remedy: &str| ConfigError::File {
        path: path.to_owned(),
        wrong,
        remedy: remedy.to_owned(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        refuse(
            format!("cannot be read: {error}"),
            "Make it readable for the user of this service",
        )
    })?;
    let mut all: Dict = Toml::from_str(&text).map_err(|error| {
        // The middle of the parser's text quotes the line, which may hold a secret: only its first line (the place) and its
        // last one (the reason) are shown.
        let text = error.to_string();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let wrong = match lines.as_slice() {
            [] => "is not TOML".to_owned(),
            [only] => (*only).to_owned(),
            [first, .., last] => format!("{first}: {last}"),
        };
        refuse(wrong, "Correct that line; the format is TOML")
    })?;
    let values = match section {
        Section::Except(tables) => {
            all.retain(|key, _| !tables.contains(&key.as_str()));
            all
        }
        Section::Table(table) => match all.remove(table) {
            None => Dict::new(),
            Some(Value::Dict(_, values)) => values,
            Some(_) => {
                return Err(refuse(
                    format!("{table} is not a table"),
                    &format!("Begin the section with a line [{table}]"),
                ));
            }
        },
    };
    Ok(Layer {
        metadata: Metadata::from(FROM_FILE, Source::File(path.to_owned())),
        values,
    })
}

pub(super) fn from_environment(
    environment: &Environment,
    setting: &Setting,
) -> Result<Option<Layer>, ConfigError> {
    let mut found: Option<(&'static str, &str)> = None;
    for variable in setting.names() {
        if environment.is_not_text(variable) {
            return Err(ConfigError::NotText {
                variable: variable.to_owned(),
            });
        }
        let Some(text) = environment.get(variable) else {
            continue;
        };
        match found {
            None => found = Some((variable, text)),
            Some((_, first)) if first == text => {}
            Some((first, _)) => {
                return Err(ConfigError::TwoNames {
                    variable: first.to_owned(),
                    alias: variable.to_owned(),
                });
            }
        }
    }
    let secret_file = setting
        .names()
        .filter(|_| setting.takes_file())
        .find_map(|variable| Some((variable, environment.get(&format!("{variable}_FILE"))?)));
    match (found, secret_file) {
        (Some(_), Some((variable, _))) => Err(ConfigError::TwoSources {
            variable: variable.to_owned(),
        }),
        (Some((variable, text)), None) => {
            let value = parse(setting, variable, text)?;
            let origin = Source::Custom(variable.to_owned());
            Ok(Some(layer(setting, FROM_ENVIRONMENT, origin, value)))
        }
        (None, Some((variable, path))) => {
            let path = PathBuf::from(path);
            let text = read_value(variable, &path)?;
            let value = match setting.kind {
                Kind::List => list(&text),
                _ if text.is_empty() => return Err(unusable(variable, &path, "is empty")),
                _ => Value::from(text),
            };
            Ok(Some(layer(
                setting,
                FROM_SECRET_FILE,
                Source::File(path),
                value,
            )))
        }
        (None, None) => Ok(None),
    }
}

fn layer(setting: &Setting, name: &'static str, source: Source, value: Value) -> Layer {
    let values = match figment::util::nest(setting.key, value) {
        Value::Dict(_, values) => values,
        // A key is never empty, and `nest` gives a dictionary for every other one.
        _ => Dict::new(),
    };
    Layer {
        metadata: Metadata::from(name, source),
        values,
    }
}

fn parse(setting: &Setting, variable: &str, text: &str) -> Result<Value, ConfigError> {
    let refuse = |wrong: &str| ConfigError::Invalid {
        name: name(Some(variable), setting.key),
        value: (!setting.secret).then(|| text.to_owned()),
        origin: Origin::Environment(variable.to_owned()).to_string(),
        wrong: wrong.to_owned(),
        remedy: setting.remedy().to_owned(),
    };
    match setting.kind {
        Kind::Text => Ok(Value::from(text)),
        Kind::Integer => match (text.trim().parse::<u64>(), text.trim().parse::<i64>()) {
            (Ok(number), _) => Ok(Value::from(number)),
            (_, Ok(number)) => Ok(Value::from(number)),
            _ => Err(refuse("is not a whole number")),
        },
        Kind::Seconds => text
            .trim()
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| refuse("is not a whole number of seconds")),
        Kind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Value::from(true)),
            "false" | "no" | "off" | "0" => Ok(Value::from(false)),
            _ => Err(refuse("is neither true nor false")),
        },
        Kind::List => Ok(list(text)),
    }
}

/// Parts between commas, and between lines in a file.
fn list(text: &str) -> Value {
    Value::from(
        text.split([',', '\n'])
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>(),
    )
}

fn unusable(variable: &str, path: &Path, wrong: impl Into<String>) -> ConfigError {
    ConfigError::SecretFile {
        variable: variable.to_owned(),
        path: path.to_owned(),
        wrong: wrong.into(),
    }
}

/// What the file says, without the end of its last line.
fn read_value(variable: &str, path: &Path) -> Result<String, ConfigError> {
    let unreadable =
        |error: std::io::Error| unusable(variable, path, format!("cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > LONGEST_VALUE {
        let wrong = format!("holds {length} bytes (at most {LONGEST_VALUE})");
        return Err(unusable(variable, path, wrong));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
