//! Administration: what operators may see and end. Reached over the private listener only.

pub(crate) mod token;
pub(crate) mod view;
