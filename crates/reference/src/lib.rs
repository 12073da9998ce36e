#![doc = include_str!("../README.md")]

mod commands;
mod configuration;
mod endpoints;
mod errors;
mod metrics;

use std::path::{Path, PathBuf};

/// A page of the documentation.
#[derive(Clone, Debug)]
pub struct Page {
    /// Below `docs/reference/`.
    pub name: &'static str,
    /// Markdown.
    pub text: String,
}

/// Every page that is written from the code.
#[must_use]
pub fn pages() -> Vec<Page> {
    vec![
        page("configuration.md", &configuration::page()),
        page("endpoints.md", &endpoints::page()),
        page("errors.md", &errors::page()),
        page("metrics.md", &metrics::page()),
        page("commands.md", &commands::page()),
    ]
}

/// Where the pages are.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

fn page(name: &'static str, text: &str) -> Page {
    let text = format!(
        "<!-- Written by `just reference`: change the code, not this page. -->\n\n{}\n",
        text.trim_end()
    );
    Page { name, text }
}

/// A table of Markdown.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let rows = rows.into_iter().map(|cells| {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|cell| cell.replace('|', "\\|"))
            .collect();
        line(&cells)
    });
    [line(&head), line(&rule)].into_iter().chain(rows).collect()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
