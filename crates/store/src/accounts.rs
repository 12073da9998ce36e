//! The verbs about people at `/account`.

use oauth::account::AccountSession;
use oauth::secret::{BrowserCookie, Plain, State};
use oauth::{AuthorizationId, Timestamp};

use crate::Store;
use crate::backend::{Kind, StoreError};
use crate::records::{StoredRecord, Transition};

impl StoredRecord for AccountSession {
    const KIND: Kind = Kind::Account;
    const VERSION: u32 = 1;
}

impl Store {
    /// Stores a session, or a sign-in, that is new.
    pub async fn put_account(
        &self,
        session: AccountSession,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, end) = (session.id.clone(), session.expires_at);
        self.records()
            .update(id.as_str(), now, |_: Option<AccountSession>| {
                Transition::put(session.clone(), Some(end), ())
            })
            .await
    }

    /// The session, or the sign-in, of this id.
    pub async fn account(
        &self,
        id: &AuthorizationId,
        now: Timestamp,
    ) -> Result<Option<AccountSession>, StoreError> {
        self.records().get(id.as_str(), now).await
    }

    /// The identity provider has answered: the sign-in is taken, once. `false` when it is not this browser's.
    pub async fn take_account_sign_in(
        &self,
        id: &AuthorizationId,
        cookie: &Plain<BrowserCookie>,
        state: &Plain<State>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.records()
            .update(id.as_str(), now, |stored: Option<AccountSession>| {
                let is_theirs = stored.is_some_and(|session| session.is_returning(cookie, state));
                if is_theirs {
                    Transition::remove(true)
                } else {
                    Transition::keep(false)
                }
            })
            .await
    }

    /// Signs a browser out.
    pub async fn end_account(
        &self,
        id: &AuthorizationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.records()
            .update(id.as_str(), now, |_: Option<AccountSession>| {
                Transition::remove(())
            })
            .await
    }
}
