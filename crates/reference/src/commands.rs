//! The command lines.

use clap::Command;
use clap_markdown::{MarkdownOptions, help_markdown_command_custom};

pub(crate) fn page() -> String {
    let pages: Vec<String> = [auth::reference::command(), mcp_proxy::reference::command()]
        .iter()
        .map(markdown)
        .collect();
    format!(
        "# Command lines

What `--help` says. In the stack, `just admin` runs the commands of `mcp-auth` in its container.

{}",
        pages.join("\n")
    )
}

/// One level below the title of the page; what are headings of the sixth level there are lines of their own here.
fn markdown(command: &Command) -> String {
    let options = MarkdownOptions::new()
        .show_footer(false)
        .show_table_of_contents(false)
        .title(command.get_name().to_owned());
    let text = help_markdown_command_custom(command, &options);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("This document contains"))
        .map(|line| match line.strip_prefix("###### ") {
            Some(words) => words.to_owned(),
            None if line.starts_with('#') => format!("#{line}"),
            None => line.trim_end().to_owned(),
        })
        .collect();
    lines.dedup_by(|next, line| next.is_empty() && line.is_empty());
    lines.join("\n")
}
