//! The verbs about people: who they are for ever, and since when their sessions count.

use jiff::SignedDuration;
use oauth::session::Person;
use oauth::{Subject, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::backend::{Event, Index, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

/// By how many seconds the clocks of two instances may differ: farther apart they are not ready.
const CLOCKS: u64 = 30;

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

    /// The creation of a session that begins now, so that it counts.
    #[must_use]
    pub fn session_from(&self, now: Timestamp) -> Timestamp {
        let after = |from: Timestamp| from.saturating_add(SignedDuration::from_nanos(1));
        self.sessions_count_from
            .map_or(now, |from| now.max(after(from).unwrap_or(Timestamp::MAX)))
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
    /// Writes down that somebody signed in, and under which name. Answers with the creation of their session: now, or a
    /// little later right after their sessions were voided.
    pub async fn note_sign_in(
        &self,
        person: &Person,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        self.backend()
            .index_insert(&Index::People, person.subject.as_str(), None, now)
            .await?;
        self.records()
            .update(
                person.subject.as_str(),
                now,
                |stored: Option<PersonRecord>| match stored {
                    Some(stored) if stored.login == person.login => {
                        Transition::keep(stored.session_from(now))
                    }
                    Some(mut stored) => {
                        stored.login.clone_from(&person.login);
                        let from = stored.session_from(now);
                        Transition::put(stored, None, from)
                    }
                    None => {
                        let record = PersonRecord {
                            subject: person.subject.clone(),
                            login: person.login.clone(),
                            first_seen_at: now,
                            sessions_count_from: None,
                        };
                        Transition::put(record, None, now)
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

    /// Voids every session of a person that exists now, those included that an instance has made whose clock is ahead of
    /// ours. `false` when nobody is known by that subject.
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
                // What an instance has ended whose clock is ahead stays ended, too.
                let up_to = oauth::after(now, CLOCKS);
                person.sessions_count_from = person.sessions_count_from.max(Some(up_to));
                Transition::put(person, None, true)
                    .telling(Event::PersonChanged(subject.to_string()))
            })
            .await
    }
}
