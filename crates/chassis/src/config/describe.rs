use std::fmt::{self, Write as _};
use std::path::PathBuf;

use figment::value::Value as FigmentValue;
use serde::Serialize;
use serde_json::Value;

use super::Setting;
use super::secret::HIDDEN;

const NOT_SET: &str = "[not set]";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// The file that `VARIABLE_FILE` names.
    SecretFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) | Self::SecretFile(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// One value of a configuration, fit to be shown.
#[derive(Clone, Debug)]
pub struct Row {
    /// The variable that sets it, if there is one.
    pub variable: Option<String>,
    /// Its key in `gateway.toml`.
    pub key: String,
    /// The value; `[hidden]` for a secret, `[not set]` for an absent one.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its key in the configuration struct, which has no table name in front.
    pub(super) config_key: String,
    pub(super) secret: bool,
    pub(super) is_set: bool,
    pub(super) remedy: String,
}

/// Takes a configuration apart: settings first, then what only the file can set.
pub(super) fn rows<C: Serialize>(
    config: &C,
    settings: &[Setting],
    prefix: &str,
    origin: impl Fn(&str) -> Origin,
) -> Vec<Row> {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut rows: Vec<Row> = settings
        .iter()
        .map(|setting| {
            let value = lookup(&tree, setting.key);
            let mut row = row(setting.key, value, prefix, origin(setting.key));
            row.variable = Some(setting.variable.to_owned());
            setting.remedy().clone_into(&mut row.remedy);
            row.secret |= setting.secret;
            if row.secret && row.is_set {
                HIDDEN.clone_into(&mut row.value);
            }
            row
        })
        .collect();
    let mut leaves = Vec::new();
    collect_leaves(&tree, String::new(), &mut leaves);
    for (key, value) in leaves {
        let known = settings.iter().any(|setting| {
            key == setting.key
                || key
                    .strip_prefix(setting.key)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        if !known {
            rows.push(row(&key, Some(value), prefix, origin(&key)));
        }
    }
    rows
}

fn row(key: &str, value: Option<&Value>, prefix: &str, origin: Origin) -> Row {
    let value = value.unwrap_or(&Value::Null);
    let secret = contains_hidden(value);
    let is_set = !value.is_null();
    Row {
        variable: None,
        key: format!("{prefix}{key}"),
        value: match (is_set, secret) {
            (false, _) => NOT_SET.to_owned(),
            (true, true) => HIDDEN.to_owned(),
            (true, false) => text(value),
        },
        origin,
        config_key: key.to_owned(),
        secret,
        is_set,
        remedy: String::new(),
    }
}

pub(super) fn lookup<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |tree, part| tree.get(part))
}

pub(super) fn collect_leaves<'a>(
    tree: &'a Value,
    key: String,
    leaves: &mut Vec<(String, &'a Value)>,
) {
    match tree {
        Value::Object(members) if key.is_empty() || !members.is_empty() => {
            for (name, value) in members {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                collect_leaves(value, key, leaves);
            }
        }
        _ => leaves.push((key, tree)),
    }
}

/// Whether a [`super::Secret`] is somewhere inside: it serializes to a text of its own.
fn contains_hidden(value: &Value) -> bool {
    match value {
        Value::String(text) => text == HIDDEN,
        Value::Array(values) => values.iter().any(contains_hidden),
        Value::Object(members) => members.values().any(contains_hidden),
        _ => false,
    }
}

/// A value in the form that its environment variable has.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The same for a value that was refused and so never became a configuration.
pub(super) fn plain(value: &FigmentValue) -> String {
    serde_json::to_value(value)
        .map(|value| text(&value))
        .unwrap_or_default()
}

/// Lays rows out in columns: variable, key, value, origin.
pub(super) fn table(rows: &[Row]) -> String {
    let heading = ["VARIABLE", "KEY", "VALUE", "FROM"].map(str::to_owned);
    let lines: Vec<[String; 4]> = std::iter::once(heading)
        .chain(rows.iter().map(|row| {
            [
                row.variable.clone().unwrap_or_else(|| "-".to_owned()),
                row.key.clone(),
                crate::telemetry::untrusted(&row.value).to_string(),
                row.origin.to_string(),
            ]
        }))
        .collect();
    let width = |column: fn(&[String; 4]) -> &String| {
        lines
            .iter()
            .map(|line| column(line).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (first, second, third) = (
        width(|[variable, ..]| variable),
        width(|[_, key, ..]| key),
        width(|[_, _, value, _]| value),
    );
    let mut table = String::new();
    for [variable, key, value, origin] in &lines {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{variable:first$}  {key:second$}  {value:third$}  {origin}"
        );
    }
    table
}
