//! The verbs of administration: lists, page by page, and what may be thrown away. No decision of the service rests on them.

use oauth::client::Client;
use oauth::session::Session;
use oauth::{ClientId, SessionId, Subject, Timestamp};

use crate::Store;
use crate::backend::{Index, Kind, Scan, StoreError};
use crate::people::{PersonRecord, Pin};
use crate::records::{StoredRecord, Transition};

/// How many records are looked at in one round trip.
const BITE: usize = 200;

/// A page of a list, and the id to go on after; `None`: that was all.
pub type Listed<T> = (Vec<T>, Option<String>);

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionFilter {
    /// All.
    All,
    /// Of one person.
    Person(Subject),
    /// Of one client.
    Client(ClientId),
}

impl SessionFilter {
    fn index(&self) -> Index {
        match self {
            Self::All => Index::Sessions,
            Self::Person(subject) => Index::SessionsOfPerson(subject.to_string()),
            Self::Client(client) => Index::SessionsOfClient(client.to_string()),
        }
    }
}

/// A session, and whether anything still comes of it.
#[derive(Debug, Clone)]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// Whether its access tokens are honoured: it is alive itself, and so are its client and its person.
    pub counts: bool,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Clients.
    pub clients: u64,
    /// Sessions, those included that are revoked and not yet forgotten.
    pub sessions: u64,
    /// People who have ever signed in.
    pub people: u64,
}

impl Store {
    /// Up to `limit` clients in the order of their ids.
    pub async fn list_clients(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Listed<Client>, StoreError> {
        self.listed(&Index::Clients, after, limit, now).await
    }

    /// Up to `limit` people in the order of their subjects.
    pub async fn list_people(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Listed<PersonRecord>, StoreError> {
        self.listed(&Index::People, after, limit, now).await
    }

    /// Up to `limit` sessions in the order of their ids. Sign-ins whose code was never redeemed are none.
    pub async fn list_sessions(
        &self,
        filter: &SessionFilter,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Listed<ListedSession>, StoreError> {
        let (sessions, next) = self.listed(&filter.index(), after, limit, now).await?;
        let mut listed = Vec::with_capacity(sessions.len());
        for session in sessions {
            listed.push(self.with_standing(session, now).await?);
        }
        Ok((listed, next))
    }

    /// One session, whoever asks.
    pub async fn show_session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<ListedSession>, StoreError> {
        match self.session(id, now).await? {
            Some(session) => Ok(Some(self.with_standing(session, now).await?)),
            None => Ok(None),
        }
    }

    /// What is kept of a person.
    pub async fn person(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Option<PersonRecord>, StoreError> {
        self.records().get(subject.as_str(), now).await
    }

    /// The names on the allow-list that belong to a person, as `provider:name`. Looks at every pinned name.
    pub async fn pins_of(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let mut pins = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let scan = Scan {
                kind: Kind::Pin,
                prefix: "",
                cursor: cursor.as_deref(),
                limit: BITE,
            };
            let page = self.backend().scan(scan, now).await?;
            for (key, _) in page.records {
                let pin: Option<Pin> = self.records().get(key.id(), now).await?;
                if pin.is_some_and(|pin| pin.subject == *subject) {
                    pins.push(key.id().to_owned());
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                // A page may bring a record again.
                pins.sort();
                pins.dedup();
                return Ok(pins);
            }
        }
    }

    /// Frees the names of a person: whoever comes in by one of them next has it. Answers with the names.
    pub async fn forget_pins(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let mut freed = Vec::new();
        for name in self.pins_of(subject, now).await? {
            let is_freed = self
                .records()
                .update(&name, now, |stored: Option<Pin>| match stored {
                    Some(pin) if pin.subject == *subject => Transition::remove(true),
                    _ => Transition::keep(false),
                })
                .await?;
            if is_freed {
                freed.push(name);
            }
        }
        Ok(freed)
    }

    /// How many there are.
    pub async fn totals(&self, now: Timestamp) -> Result<Totals, StoreError> {
        let backend = self.backend();
        Ok(Totals {
            clients: backend.index_len(&Index::Clients, now).await?,
            sessions: backend.index_len(&Index::Sessions, now).await?,
            people: backend.index_len(&Index::People, now).await?,
        })
    }

    /// Removes a session of which nothing comes any more, out of the lists too. `false` when it counts, or is gone.
    pub async fn remove_dead_session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(ListedSession {
            session,
            counts: false,
        }) = self.show_session(id, now).await?
        else {
            return Ok(false);
        };
        let was_there = self
            .records()
            .update(id.as_str(), now, |stored: Option<Session>| match stored {
                Some(_) => Transition::remove(true),
                None => Transition::keep(false),
            })
            .await?;
        for index in [
            Index::Sessions,
            Index::SessionsOfPerson(session.person.subject.to_string()),
            Index::SessionsOfClient(session.client_id.to_string()),
        ] {
            self.backend().index_remove(&index, id.as_str()).await?;
        }
        Ok(was_there)
    }

    async fn with_standing(
        &self,
        session: Session,
        now: Timestamp,
    ) -> Result<ListedSession, StoreError> {
        if session.is_machine() {
            // It has no person, its client may stand in the configuration, and it ends with its one access token.
            let counts = session.is_alive(now);
            return Ok(ListedSession { session, counts });
        }
        let (client, person) = (
            self.client(&session.client_id, now).await?,
            self.person(&session.person.subject, now).await?,
        );
        let is_after_registration =
            client.is_some_and(|client| session.created_at >= client.issued_at);
        let is_admitted = person.is_some_and(|person| person.admits(session.created_at));
        let counts = session.is_alive(now) && is_after_registration && is_admitted;
        Ok(ListedSession { session, counts })
    }

    async fn listed<T: StoredRecord>(
        &self,
        index: &Index,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Listed<T>, StoreError> {
        let (records, next) = self.records().list(index, after, limit, now).await?;
        Ok((
            records.into_iter().map(|(_, record)| record).collect(),
            next,
        ))
    }
}
