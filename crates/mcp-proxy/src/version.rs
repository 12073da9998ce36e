//! The revisions of MCP that cross this bridge.

use std::fmt;

/// A revision. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 2024-11-05: knows no streamable HTTP, but children negotiate it.
    V20241105,
    /// 2025-03-26: streamable HTTP, batches.
    V20250326,
    /// 2025-06-18: no batches, `MCP-Protocol-Version`.
    V20250618,
    /// 2025-11-25: priming events.
    V20251125,
    /// 2026-07-28: no handshake, no sessions.
    V20260728,
}

impl Version {
    /// Every revision, the latest first.
    pub const ALL: [Self; 5] = [
        Self::V20260728,
        Self::V20251125,
        Self::V20250618,
        Self::V20250326,
        Self::V20241105,
    ];

    /// The revision of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V20241105 => "2024-11-05",
            Self::V20250326 => "2025-03-26",
            Self::V20250618 => "2025-06-18",
            Self::V20251125 => "2025-11-25",
            Self::V20260728 => "2026-07-28",
        }
    }

    /// Does each request stand for itself, without handshake and session?
    #[must_use]
    pub const fn is_modern(self) -> bool {
        matches!(self, Self::V20260728)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
