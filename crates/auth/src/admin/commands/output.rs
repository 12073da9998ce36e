//! What a command prints, and how it asks before something is ended.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use oauth::Timestamp;
use serde::Serialize;

use super::Manner;

pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

pub(super) fn optional(at: Option<Timestamp>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), time)
}

/// JSON, or what a person reads.
pub(super) fn said(
    manner: &Manner,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<String> {
    if manner.json {
        Ok(serde_json::to_string_pretty(value)?)
    } else {
        Ok(text())
    }
}

/// A table with a line for each item.
pub(super) fn list<T: Serialize, const N: usize>(
    manner: &Manner,
    (items, has_more): (Vec<T>, bool),
    heads: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> anyhow::Result<String> {
    said(manner, &items, || {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(heads);
        for item in &items {
            // What strangers called themselves must not move the cursor of the terminal.
            table.add_row(row(item).map(|cell| chassis::telemetry::untrusted(&cell).to_string()));
        }
        let more = if has_more {
            "\n… and more: use --limit"
        } else {
            ""
        };
        format!("{}{more}", text(table))
    })
}

/// One thing, a line for each of its members.
pub(super) fn one<T: Serialize>(manner: &Manner, value: T) -> anyhow::Result<String> {
    said(manner, &value, || {
        let members = serde_json::to_value(&value).unwrap_or_default();
        let mut table = Table::new();
        table.load_preset(NOTHING);
        for (name, value) in members.as_object().into_iter().flatten() {
            let shown = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(items) => {
                    let items = items.iter().filter_map(serde_json::Value::as_str);
                    items.collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            let shown = chassis::telemetry::untrusted(&shown).to_string();
            table.add_row([name.replace('_', " "), shown]);
        }
        text(table)
    })
}

/// Columns with two blanks between them, as in the listings of other tools.
pub(super) fn text(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Asks a person at a terminal; anybody else must have said --yes.
pub(super) fn confirm(manner: &Manner, question: &str) -> anyhow::Result<()> {
    if manner.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nobody can answer here: add --yes");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        bail!("nothing was changed")
    }
}
