//! MCP 2026-07-28: no handshake, no sessions. Each request stands for itself; on stdio one child can serve many.
//!
//! Children are shared between the requests of one person and never between persons: logs on stdio name no call.
//!
//! | client | child | what happens |
//! | --- | --- | --- |
//! | modern | speaks 2026-07-28 | the request passes to the person's shared child |
//! | modern | older | translated: the person's shared child, or a leased one (see [`translation`]) |
//! | older | any | a session with its own child; never one that has seen a modern request |

pub mod era;
pub mod parameters;
pub mod pool;
pub mod request;
mod schemas;
pub mod shared;
pub mod translation;
pub mod validate;
