//! A stdio MCP server of 2026-07-28, and of the older revisions after `initialize`, with the names that the conformance suite calls.

use std::process::ExitCode;

fn main() -> ExitCode {
    testkit::conformance::run(testkit::conformance::Eras::Dual)
}
