//! Administration: what operators may see and end. The service answers on its private listener only; the command line asks
//! there.

pub(crate) mod client;
pub(crate) mod commands;
pub(crate) mod token;
pub(crate) mod view;
