//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Serves one stdio MCP server over Streamable HTTP.
///
/// Example: mcp-proxy --port 3000 -- mcp-server-fetch
#[derive(Debug, Parser)]
#[command(name = "mcp-proxy", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Serve,
}

/// How to serve.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// Address of the public listener (default 127.0.0.1; variable HOST)
    #[arg(long)]
    pub host: Option<IpAddr>,
    /// Port of the public listener, 0 for a free one (default 3000; variable PORT)
    #[arg(long)]
    pub port: Option<u16>,
    /// Configuration file (default ./gateway.toml if it exists; variable `GATEWAY_CONFIG`)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the bound addresses into this file (variable `ADDRESS_FILE`)
    #[arg(long, value_name = "PATH")]
    pub address_file: Option<PathBuf>,
    /// The MCP server's command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What else this program does.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print every setting, its value and where it came from
    Config {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print what can be set, with defaults and a sentence each, as JSON; nothing is read
        #[arg(long, conflicts_with = "config")]
        reference: bool,
    },
    /// Ask a running service on this machine whether it is ready; exit 0 if it is
    Healthcheck {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}
