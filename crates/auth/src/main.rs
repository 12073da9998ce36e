//! Entry point of `mcp-auth`.

use std::process::ExitCode;

fn main() -> ExitCode {
    auth::cli::main()
}
