//! What time a server of the store has.

use jiff::Timestamp;

/// The clock of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreClock {
    /// Where the server is.
    pub of: String,
    /// What it said; `None` when it does not tell (an ACL user may not be allowed to ask).
    pub time: Option<Timestamp>,
}
