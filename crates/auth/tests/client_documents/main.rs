//! Client-id metadata documents: what is fetched, from where, how often, and what comes of it.
//!
//! The documents stand on a server of the test's own, below the checks of the service: each address that was found to be
//! public leads there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod remote;
mod service;

mod caching;
mod fetching;
mod sign_in;
