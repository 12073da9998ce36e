//! Every backend under the same suite, and under what can go wrong with it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its helpers"
)]

mod embedded;
mod memory;
mod redis;
