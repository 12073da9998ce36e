//! `mcp-proxy` at its HTTP boundary: the real binary on a free port, around small MCP servers that misbehave on purpose.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "`json!({})` reads better than `&json!({})`"
)]
#![expect(
    clippy::too_many_lines,
    reason = "a table of cases is read from top to bottom"
)]

mod batches;
mod bridge;

mod children;
mod command_line;
mod eras;
mod hung;
mod input;
mod input_required;
mod limits;
mod log;
mod people;
mod replicas;
mod senders;
mod sessions;
mod sharing;
mod spare;
mod stateless;
mod stop;
mod streams;
mod tools;
mod translation;
mod unwell;
mod who;
