//! Drives the binary over pipes, as an MCP client does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a failed expectation of a test helper is a failed test, and `json!` values read best unborrowed"
)]

mod echo;

mod eras;
mod messages;
mod tools;
