//! Every backend under the same suite, and under what can go wrong with it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, also in its helpers"
)]

mod embedded;
mod file_faults;
mod many;
mod memory;
mod model;
mod redis;
mod redis_cuts;
mod redis_failover;
mod redis_faults;
mod redis_kinds;
mod redis_setup;
mod redis_tls;
mod size;
