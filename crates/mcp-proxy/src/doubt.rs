//! Signs that a child is of no use any more, although it runs.

/// So many in a row, with nothing readable between them, and the child is ended.
const TOO_MANY: u32 = 3;

/// What has been held against a child since it last said something readable.
#[derive(Debug, Default)]
pub struct Doubt {
    given_up: u32,
    unreadable: u32,
}

impl Doubt {
    /// It said something readable.
    pub fn spoke(&mut self) {
        *self = Self::default();
    }

    /// A request was given up. `true`: it was the last straw.
    pub fn gave_up(&mut self) -> bool {
        self.given_up += 1;
        self.given_up == TOO_MANY
    }

    /// A line was too long or no text. `true`: it was the last straw.
    pub fn was_unreadable(&mut self) -> bool {
        self.unreadable += 1;
        self.unreadable == TOO_MANY
    }
}

/// Why a child is ended that answers nothing.
pub const HUNG: &str =
    "the MCP server answered nothing while three requests ran out of time, so it was ended";
/// Why a child is ended that cannot be understood.
pub const UNREADABLE: &str =
    "the MCP server wrote three lines in a row that were too long or no text, so it was ended";
