//! Entry point: reads the settings, then [`mcp_proxy::app`] does the rest.

use std::process::ExitCode;

use clap::Parser as _;
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
    match mcp_proxy::app::main(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
