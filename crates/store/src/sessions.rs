//! The verbs about sessions: from the code to the last refresh token.

use oauth::client::Client;
use oauth::session::{self, Lifetimes, Person, Redeemed, Refreshed, Revocation, Session};
use oauth::token::{DerivationKey, RefreshToken};
use oauth::{ClientId, Entropy, SessionId, Subject, Timestamp, TokenId};

use crate::Store;
use crate::backend::{Event, Index, Kind, StoreError};
use crate::people::PersonRecord;
use crate::records::{StoredRecord, Transition};

impl StoredRecord for Session {
    const KIND: Kind = Kind::Session;
    const VERSION: u32 = 1;
}

/// What became of a code.
#[derive(Debug)]
pub enum Redemption {
    /// Answer with tokens of this session.
    Granted(Session),
    /// The code was used before; what it gave is revoked now.
    Replayed(Session),
    /// The proofs were wrong. The code is not lost for its owner until the third time.
    Refused,
    /// There is no such code.
    Unknown,
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Refresh {
    /// Answer with the current tokens of this session.
    Granted(Session),
    /// A spent token came back; the session is revoked now.
    Replayed(Session),
    /// There is no such token.
    Unknown,
}

/// Whom an access token stands for.
#[derive(Debug)]
pub struct Living {
    /// Who.
    pub person: Person,
    /// From this instant on it must be asked again: the session ends, or the registration of its client, which goes on
    /// when the client is used.
    pub until: Option<Timestamp>,
}

fn changed(id: &SessionId) -> Event {
    Event::SessionChanged(id.to_string())
}

impl Store {
    /// Stores a session whose code is about to be sent.
    pub async fn issue_code(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        let id = session.id.clone();
        // Right after a person's sessions were voided the next one begins a little later than now; its code lives no longer.
        let end = session
            .expires_at(0)
            .min(oauth::after(now, session::CODE_LIFETIME));
        self.records()
            .update(id.as_str(), now, |_: Option<Session>| {
                Transition::put(session.clone(), Some(end), ())
            })
            .await
    }

    /// Stores a session that is open without a code, because an operator's client or a device asked: its tokens are about to be
    /// sent.
    pub async fn open_session(
        &self,
        session: Session,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, end) = (
            session.id.clone(),
            session.expires_at(access_token_lifetime),
        );
        self.records()
            .update(id.as_str(), now, |_: Option<Session>| {
                Transition::put(session.clone(), Some(end), ())
            })
            .await?;
        self.list_session(&session, access_token_lifetime, now)
            .await
    }

    /// Redeems a code in one atomic step: of racing redemptions one is the first, and the others see that.
    pub async fn redeem_code(
        &self,
        attempt: &session::Redemption<'_>,
        lifetimes: Lifetimes,
        access_token_lifetime: u64,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Redemption, StoreError> {
        let id = &attempt.code.session;
        let outcome = self
            .records()
            .update(id.as_str(), now, |stored: Option<Session>| {
                let Some(session) = stored else {
                    return Transition::keep(Redemption::Unknown);
                };
                let put = |session: &Session| {
                    (
                        session.clone(),
                        Some(session.expires_at(access_token_lifetime)),
                    )
                };
                match session.redeem(attempt, lifetimes, now, entropy) {
                    Redeemed::Fresh(session) => {
                        let (record, end) = put(&session);
                        Transition::put(record, end, Redemption::Granted(session))
                    }
                    Redeemed::Repeated(session) => Transition::keep(Redemption::Granted(session)),
                    Redeemed::Replayed(session) => {
                        let (record, end) = put(&session);
                        Transition::put(record, end, Redemption::Replayed(session))
                            .telling(changed(id))
                    }
                    Redeemed::Refused(session) => {
                        let (record, end) = put(&session);
                        Transition::put(record, end, Redemption::Refused)
                    }
                    Redeemed::Unknown => Transition::keep(Redemption::Unknown),
                }
            })
            .await?;
        if let Redemption::Granted(session) = &outcome {
            self.list_session(session, access_token_lifetime, now)
                .await?;
        }
        Ok(outcome)
    }

    /// The indexes are hints: an entry too many or one missing changes no decision.
    async fn list_session(
        &self,
        session: &Session,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let end = Some(
            session
                .ends_at()
                .unwrap_or_else(|| session.expires_at(access_token_lifetime)),
        );
        for index in [
            Index::Sessions,
            Index::SessionsOfPerson(session.person.subject.to_string()),
            Index::SessionsOfClient(session.client_id.to_string()),
        ] {
            self.backend()
                .index_insert(&index, session.id.as_str(), end, now)
                .await?;
        }
        Ok(())
    }

    /// The session that a refresh token names, whoever presents it: for the client id that some clients leave out.
    pub async fn session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        self.records().get(id.as_str(), now).await
    }

    /// Rotates a refresh token in one atomic step.
    pub async fn rotate_refresh(
        &self,
        token: &RefreshToken,
        client_id: &ClientId,
        key: &DerivationKey,
        lifetimes: Lifetimes,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<Refresh, StoreError> {
        let id = &token.session;
        self.records()
            .update(id.as_str(), now, |stored: Option<Session>| {
                let Some(session) = stored else {
                    return Transition::keep(Refresh::Unknown);
                };
                match session.refresh(token, client_id, key, lifetimes, now) {
                    Refreshed::Rotated(session) => {
                        let end = Some(session.expires_at(access_token_lifetime));
                        Transition::put(session.clone(), end, Refresh::Granted(session))
                    }
                    Refreshed::Repeated(session) => Transition::keep(Refresh::Granted(session)),
                    Refreshed::Replayed(session) => {
                        let end = Some(session.expires_at(access_token_lifetime));
                        Transition::put(session.clone(), end, Refresh::Replayed(session))
                            .telling(changed(id))
                    }
                    Refreshed::Unknown => Transition::keep(Refresh::Unknown),
                }
            })
            .await
    }

    /// Ends a session with all its tokens. `false` when there was none.
    pub async fn revoke_session(
        &self,
        id: &SessionId,
        why: Revocation,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change_session(id, access_token_lifetime, now, |session| {
            session.revoke(why, now)
        })
        .await
    }

    /// Writes down that the person's memberships were confirmed just now.
    pub async fn confirm_membership(
        &self,
        id: &SessionId,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.records()
            .update(id.as_str(), now, |stored: Option<Session>| {
                let Some(session) = stored else {
                    return Transition::keep(false);
                };
                let session = session.confirm(now);
                let end = Some(session.expires_at(access_token_lifetime));
                Transition::put(session, end, true)
            })
            .await
    }

    /// Ends one access token. `false` when its session was gone already.
    pub async fn revoke_access_token(
        &self,
        id: &SessionId,
        token: &TokenId,
        expires_at: Timestamp,
        access_token_lifetime: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change_session(id, access_token_lifetime, now, |session| {
            session.revoke_token(token.clone(), expires_at, now)
        })
        .await
    }

    async fn change_session(
        &self,
        id: &SessionId,
        access_token_lifetime: u64,
        now: Timestamp,
        step: impl Fn(Session) -> Session,
    ) -> Result<bool, StoreError> {
        self.records()
            .update(id.as_str(), now, |stored: Option<Session>| {
                let Some(session) = stored else {
                    return Transition::keep(false);
                };
                let session = step(session);
                let end = Some(session.expires_at(access_token_lifetime));
                Transition::put(session, end, true).telling(changed(id))
            })
            .await
    }

    /// The person behind an access token, if its session is found alive together with its client and its person. What is not found is
    /// dead: a lost store logs people out, it never revives anything. What is found may still be ended by an event.
    pub async fn living_person(
        &self,
        id: &SessionId,
        token: &TokenId,
        client_id: &ClientId,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Option<Living>, StoreError> {
        let (session, client, person) = self
            .records()
            .get3::<Session, Client, PersonRecord>(
                [id.as_str(), client_id.as_str(), subject.as_str()],
                now,
            )
            .await?;
        let (Some(session), Some(client), Some(person)) = (session, client, person) else {
            return Ok(None);
        };
        let ends = [
            session.record.ends_at(),
            session.expires_at,
            client.expires_at,
        ];
        let until = ends.into_iter().flatten().min();
        let (session, client, person) = (session.record, client.record, person.record);
        let is_theirs = session.client_id == client.id && session.person.subject == person.subject;
        let is_after_registration = session.created_at >= client.issued_at;
        let stands = session.admits_token(token, now) && person.admits(session.created_at);
        let is_alive = is_theirs && is_after_registration && stands;
        Ok(is_alive.then_some(Living {
            person: session.person,
            until,
        }))
    }
}
