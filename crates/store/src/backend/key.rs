//! What records are stored under.

use std::fmt;

/// What a record is about. The name is the first part of the key of its record, so a variant is never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A registered client.
    Client,
    /// A sign-in under way.
    Authorization,
    /// Which person a name on the allow-list belongs to.
    Pin,
    /// A grant, from its code to its last refresh token.
    Session,
    /// A person who has signed in: pinned login, and since when their sessions count.
    Person,
    /// What a person agreed to for one client.
    Consent,
    /// A browser in which a person had consent remembered.
    Browser,
    /// A device that waits for a person.
    Device,
    /// A browser that is signed in at `/account`, or on its way there.
    Account,
    /// The sealed signing keys.
    KeyRing,
}

impl Kind {
    /// Every kind, for whoever looks at all that is stored.
    pub fn all() -> impl Iterator<Item = Self> {
        // By a match, so that the compiler asks where a new kind belongs.
        const fn after(kind: Kind) -> Option<Kind> {
            match kind {
                Kind::Client => Some(Kind::Authorization),
                Kind::Authorization => Some(Kind::Pin),
                Kind::Pin => Some(Kind::Session),
                Kind::Session => Some(Kind::Person),
                Kind::Person => Some(Kind::Consent),
                Kind::Consent => Some(Kind::Browser),
                Kind::Browser => Some(Kind::Device),
                Kind::Device => Some(Kind::Account),
                Kind::Account => Some(Kind::KeyRing),
                Kind::KeyRing => None,
            }
        }
        std::iter::successors(Some(Self::Client), |kind| after(*kind))
    }

    /// The name in stored keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Authorization => "authorization",
            Self::Pin => "pin",
            Self::Session => "session",
            Self::Person => "person",
            Self::Consent => "consent",
            Self::Browser => "browser",
            Self::Device => "device",
            Self::Account => "account",
            Self::KeyRing => "keyring",
        }
    }
}

/// The key of a record: what it is about and which one. Written `kind:id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    kind: Kind,
    id: String,
}

impl Key {
    /// The key of record `id` of this kind. Any text is an id; it is stored as it is.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }

    /// What the record is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No kind contains a colon, so two keys never have the same text.
        write!(formatter, "{}:{}", self.kind.as_str(), self.id)
    }
}
