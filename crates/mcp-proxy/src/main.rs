//! Entry point: reads the settings, then [`mcp_proxy::app`] does the rest.

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use mcp_proxy::cli::Cli;
use mcp_proxy::guard;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before anything else: each start of a child passes here.
    if arguments
        .next()
        .is_some_and(|first| first == guard::SUBCOMMAND)
    {
        let error = guard::run(arguments);
        eprintln!("mcp-proxy: {error}");
        return ExitCode::from(127);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match mcp_proxy::app::main(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the command line, or the help that was asked for.
fn explain(error: &clap::Error) -> ExitCode {
    // Where nobody reads, nothing can be explained.
    let _ = error.print();
    let stray = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(text)) if !text.starts_with('-')
    );
    if stray && error.kind() == ErrorKind::UnknownArgument {
        eprintln!(
            "\nThe command of the MCP server goes after `--`: mcp-proxy --port 3000 -- mcp-server-fetch"
        );
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
