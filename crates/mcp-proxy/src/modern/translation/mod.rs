//! A modern client (MCP 2026-07-28) of an older MCP server.
//!
//! The server gets its handshake from this bridge and then requests as it knows them ([`inward`]); what it answers is completed to what
//! this revision wants ([`outward`], [`discovery`]). A call whose client can be asked for something, or wants logs, gets a
//! child to itself for as long as it takes ([`leases`]); all other requests of a person share one child ([`child`]).
//! What the server asks becomes the answer `input_required`, and the call waits in its child until the client comes back with
//! answers ([`questions`], [`parked`]). Whoever listens is told what changes in any child of theirs ([`listening`]).

pub mod child;
pub mod discovery;
pub mod inward;
pub mod leases;
pub mod listener;
pub mod listening;
pub mod log_level;
pub mod members;
pub mod outward;
pub mod parked;
pub mod profile;
pub mod questions;
