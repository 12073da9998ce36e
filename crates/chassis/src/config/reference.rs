use serde::Serialize;
use serde_json::Value;

use super::describe::{collect_leaves, lookup, text};
use super::{Kind, Section, Setting};

/// A key that only `gateway.toml` can set.
///
/// `NAME` in a key stands for a name of the operator's, as in `services.NAME.users`; `[]` after a key for the entries of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FileKey {
    /// Where it stands in the configuration struct, dotted.
    pub key: &'static str,
    /// How it is written in the file.
    pub kind: Kind,
    /// One sentence: what it is for, and what holds when it is not there.
    pub help: &'static str,
}

impl FileKey {
    /// A key with its sentence.
    #[must_use]
    pub const fn new(key: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { key, kind, help }
    }
}

/// Everything that can be said of the configuration of one binary, for whoever writes a page about it.
#[derive(Debug, Serialize)]
pub struct Reference {
    /// `mcp-auth`
    pub binary: &'static str,
    /// What has a variable, in the order of the page.
    pub settings: Vec<Described>,
    /// What only the file has.
    pub file: Vec<Described>,
}

/// One setting in words.
#[derive(Debug, Serialize)]
pub struct Described {
    /// The variable that sets it; `null` for a key of the file.
    pub variable: Option<&'static str>,
    /// Other names of the variable.
    pub aliases: &'static [&'static str],
    /// The variable that may name a file with the value.
    pub file_variable: Option<String>,
    /// Its key in `gateway.toml`, with the name of the table in front.
    pub key: String,
    /// How it is written.
    pub kind: Kind,
    /// What a number counts; empty if it is no number, or if the sentence says it.
    pub unit: &'static str,
    /// In the form that the variable has; `null` if there is none.
    pub default: Option<String>,
    /// The service does not start without it.
    pub required: bool,
    /// It is hidden wherever settings are shown.
    pub secret: bool,
    /// What it is for: one sentence.
    pub help: String,
    /// How to get a right value: one sentence, or empty.
    pub how_to_get: String,
    /// A right value, or empty.
    pub example: &'static str,
}

impl Reference {
    /// Describes the settings of a binary; the defaults are those of its configuration struct.
    #[must_use]
    pub fn new<C: Default + Serialize>(
        binary: &'static str,
        section: Section,
        settings: &'static [Setting],
        file: &'static [FileKey],
    ) -> Self {
        let defaults = serde_json::to_value(C::default()).unwrap_or_default();
        let default = |key: &str| {
            lookup(&defaults, key)
                .map(text)
                .filter(|text| !text.is_empty())
        };
        let prefix = section.prefix();
        let settings = settings.iter().map(|setting| Described {
            variable: Some(setting.variable),
            aliases: setting.aliases,
            file_variable: setting
                .takes_file()
                .then(|| format!("{}_FILE", setting.variable)),
            key: format!("{prefix}{}", setting.key),
            kind: setting.kind,
            unit: setting.unit,
            default: default(setting.key).filter(|_| !setting.secret),
            required: setting.required,
            secret: setting.secret,
            help: sentence(setting.help),
            how_to_get: sentence(setting.how_to_get),
            example: setting.example,
        });
        let file = file.iter().map(|file| Described {
            variable: None,
            aliases: &[],
            file_variable: None,
            key: format!("{prefix}{}", file.key),
            kind: file.kind,
            unit: match file.kind {
                Kind::Seconds => "seconds",
                _ => "",
            },
            default: default(file.key),
            required: false,
            secret: false,
            help: sentence(file.help),
            how_to_get: String::new(),
            example: "",
        });
        Self {
            binary,
            settings: settings.collect(),
            file: file.collect(),
        }
    }

    /// The keys of a configuration that nothing describes: there must be none, for a configuration that has every table.
    #[must_use]
    pub fn missing<C: Serialize>(
        config: &C,
        settings: &[Setting],
        file: &[FileKey],
    ) -> Vec<String> {
        let tree = serde_json::to_value(config).unwrap_or_default();
        let mut leaves = Vec::new();
        collect_entries(&tree, String::new(), &mut leaves);
        let is_described = |key: &String| {
            settings.iter().any(|setting| setting.key == key)
                || file.iter().any(|file| file.key == key)
        };
        leaves.retain(|key| !is_described(key));
        leaves
    }
}

/// Keys of leaves, with `[]` for the entries of a list of tables.
fn collect_entries(tree: &Value, key: String, keys: &mut Vec<String>) {
    let mut leaves = Vec::new();
    collect_leaves(tree, key, &mut leaves);
    for (key, value) in leaves {
        match value {
            Value::Array(entries) if entries.iter().any(Value::is_object) => {
                for entry in entries {
                    collect_entries(entry, format!("{key}[]"), keys);
                }
            }
            _ => keys.push(key),
        }
    }
}

/// Begins with a capital letter, if it begins with a plain word, and ends with a full stop.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let is_plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut sentence = text.to_owned();
    if is_plain && let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !sentence.is_empty() && !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}
