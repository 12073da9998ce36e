#![doc = include_str!("../README.md")]

mod facts;
mod lines;
mod protocol;
mod server;
mod tools;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::facts::Facts;
use crate::protocol::Eras;
use crate::server::Server;

/// A diagnostic MCP server over stdio: echoes what it gets and tells what it sees.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which revisions to speak: legacy (initialize, up to 2025-11-25), modern (server/discover, 2026-07-28) or both.
    #[arg(long, value_enum, default_value_t = Eras::Both)]
    era: Eras,
    /// Anything else: shown by the tool `whoami`, to see what a proxy makes of its arguments.
    #[arg(trailing_var_arg = true)]
    more: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let facts = Facts::gather();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(Server::new(arguments.era, facts).run());
    // The thread that reads stdin cannot be interrupted: without this, the process would outlive a closed stdout.
    runtime.shutdown_background();
    outcome.context("the connection ended")?;
    Ok(ExitCode::SUCCESS)
}
