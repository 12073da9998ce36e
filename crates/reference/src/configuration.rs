//! Every setting.

use chassis::config::{Described, Kind, Reference};

use crate::{code, table};

pub(crate) fn page() -> String {
    format!(
        "# Configuration

A value comes from the first of these that has it: the environment, the file that `VARIABLE_FILE` names, `gateway.toml`, the default. In the stack the
variables are set in `.env`. A missing or malformed value stops the service with one line that names it; the command `config` of each
binary prints every value and where it came from, secrets hidden.

## mcp-auth

{}
## mcp-proxy

{}",
        settings(&auth::reference::settings()),
        settings(&mcp_proxy::reference::settings()),
    )
}

fn settings(reference: &Reference) -> String {
    let variables = table(
        &[
            "variable",
            "key in `gateway.toml`",
            "what it is for",
            "default",
        ],
        reference.settings.iter().map(|setting| {
            vec![
                names(setting),
                code(&setting.key),
                words(setting),
                default(setting),
            ]
        }),
    );
    let keys = table(
        &["key in `gateway.toml`", "what it is for", "default"],
        reference
            .file
            .iter()
            .map(|setting| vec![code(&setting.key), words(setting), default(setting)]),
    );
    format!("{variables}\nOnly in the file; `NAME` stands for a name of yours:\n\n{keys}")
}

/// The variable, its other names, and the one that may name a file.
fn names(setting: &Described) -> String {
    let variable = setting.variable.iter().copied();
    let others = setting.aliases.iter().copied();
    let file = setting.file_variable.as_deref();
    let names: Vec<String> = variable.chain(others).chain(file).map(code).collect();
    names.join("<br>")
}

/// What it is for, how it is written, and how to get a right value.
fn words(setting: &Described) -> String {
    let form = match setting.kind {
        Kind::Text => "",
        Kind::Integer => "A whole number",
        Kind::Boolean => "`true` or `false`",
        Kind::Seconds => "Seconds",
        Kind::List => "A list",
    };
    let unit = setting.unit;
    let form = if unit.is_empty() || setting.kind == Kind::Seconds {
        form.to_owned()
    } else {
        format!("{form}, {unit}")
    };
    let mut sentences = vec![setting.help.clone()];
    if !form.is_empty() {
        sentences.push(format!("{form}."));
    }
    if setting.required {
        sentences.push("Required.".to_owned());
    }
    if setting.secret {
        sentences.push("Secret.".to_owned());
    }
    sentences.push(setting.how_to_get.clone());
    sentences.retain(|sentence| !sentence.is_empty());
    // `mcp-<name>` is no element of HTML.
    sentences.join(" ").replace('<', "&lt;")
}

fn default(setting: &Described) -> String {
    setting.default.as_deref().map(code).unwrap_or_default()
}
