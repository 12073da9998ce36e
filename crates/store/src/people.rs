//! The verbs about people: who they are for ever, and since when their sessions count.

use oauth::session::Person;
use oauth::{Subject, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::backend::{Event, Index, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

/// What is kept of a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PersonRecord {
    /// Who.
    pub subject: Subject,
    /// The name at the last sign-in.
    pub login: String,
    /// When they first signed in.
    pub first_seen_at: Timestamp,
    /// Sessions up to this instant are void.
    pub sessions_count_from: Option<Timestamp>,
}

impl PersonRecord {
    /// Whether a session of that age counts.
    #[must_use]
    pub fn admits(&self, session_created_at: Timestamp) -> bool {
        self.sessions_count_from
            .is_none_or(|from| session_created_at > from)
    }
}

impl StoredRecord for PersonRecord {
    const KIND: Kind = Kind::Person;
    const VERSION: u32 = 1;
}

/// To whom an entry of the allow-list belongs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) subject: Subject,
}

impl StoredRecord for Pin {
    const KIND: Kind = Kind::Pin;
    const VERSION: u32 = 1;
}

/// Whether a name belongs to the person who shows up with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// It does, from now on or since before.
    ToThem,
    /// It belongs to somebody else: the name was given up and taken anew.
    ToAnother(Subject),
}

impl Store {
    /// Writes down that somebody signed in, and under which name.
    pub async fn note_sign_in(&self, person: &Person, now: Timestamp) -> Result<(), StoreError> {
        self.backend()
            .index_insert(&Index::People, person.subject.as_str(), None, now)
            .await?;
        self.records()
            .update(
                person.subject.as_str(),
                now,
                |stored: Option<PersonRecord>| match stored {
                    Some(stored) if stored.login == person.login => Transition::keep(()),
                    Some(mut stored) => {
                        stored.login.clone_from(&person.login);
                        Transition::put(stored, None, ())
                    }
                    None => {
                        let record = PersonRecord {
                            subject: person.subject.clone(),
                            login: person.login.clone(),
                            first_seen_at: now,
                            sessions_count_from: None,
                        };
                        Transition::put(record, None, ())
                    }
                },
            )
            .await
    }

    /// Binds an entry of the allow-list to the first who comes in by it, so that whoever takes the name later does not
    /// inherit the access. The owner is a person for a name, else the organisation, team or group.
    pub async fn pin(
        &self,
        entry: &str,
        owner: &Subject,
        now: Timestamp,
    ) -> Result<Pinned, StoreError> {
        let kind = owner.as_str().split(':').next().unwrap_or_default();
        let name = format!("{kind}:{entry}");
        self.records()
            .update(&name, now, |stored: Option<Pin>| match stored {
                None => {
                    let pin = Pin {
                        subject: owner.clone(),
                    };
                    Transition::put(pin, None, Pinned::ToThem)
                }
                Some(pin) if pin.subject == *owner => Transition::keep(Pinned::ToThem),
                Some(pin) => Transition::keep(Pinned::ToAnother(pin.subject)),
            })
            .await
    }

    /// Whether a session of that age counts for its person.
    pub async fn person_admits(
        &self,
        subject: &Subject,
        session_created_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let person: Option<PersonRecord> = self.records().get(subject.as_str(), now).await?;
        Ok(person.is_some_and(|person| person.admits(session_created_at)))
    }

    /// Voids every session of a person that exists now. `false` when nobody is known by that subject.
    pub async fn revoke_person(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.records()
            .update(subject.as_str(), now, |stored: Option<PersonRecord>| {
                let Some(mut person) = stored else {
                    return Transition::keep(false);
                };
                person.sessions_count_from = Some(now);
                Transition::put(person, None, true)
                    .telling(Event::PersonChanged(subject.to_string()))
            })
            .await
    }
}
