//! Who may call which tool: decided here, from the message itself, by the login and the scopes that the gateway vouches for.
//!
//! A refused tool is absent from `tools/list` and answered with an error when it is called all the same. The rules can
//! change while the service runs (see [`reload`]).

pub mod announce;
pub mod filter;
pub mod reload;
pub mod rules;

pub use rules::{Access, Rules};
