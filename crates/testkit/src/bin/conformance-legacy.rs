//! A stdio MCP server of the revisions up to 2025-11-25 with the names that the conformance suite calls.

use std::process::ExitCode;

fn main() -> ExitCode {
    testkit::conformance::run(testkit::conformance::Eras::LegacyOnly)
}
