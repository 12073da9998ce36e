//! Names of the sets for listing and counting.

use std::fmt;

/// A set of names for listing and counting. It is a hint: the records are the truth.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Index {
    /// Ids of all clients.
    Clients,
    /// Ids of all sessions.
    Sessions,
    /// Subjects of all people.
    People,
    /// Ids of the sessions of one person.
    SessionsOfPerson(String),
    /// Ids of the sessions of one client.
    SessionsOfClient(String),
    /// Ids of the consents of one person.
    ConsentsOfPerson(String),
}

impl fmt::Display for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => formatter.write_str("clients"),
            Self::Sessions => formatter.write_str("sessions"),
            Self::People => formatter.write_str("people"),
            Self::SessionsOfPerson(subject) => write!(formatter, "sessions-of-person:{subject}"),
            Self::SessionsOfClient(client) => write!(formatter, "sessions-of-client:{client}"),
            Self::ConsentsOfPerson(subject) => write!(formatter, "consents-of-person:{subject}"),
        }
    }
}
