//! The verbs about sign-ins under way.

use oauth::authorization::{Authorization, IdentitySecrets, WrongBrowser};
use oauth::secret::{BrowserCookie, FormToken, Plain, State};
use oauth::{AuthorizationId, Timestamp};

use crate::Store;
use crate::backend::{Kind, StoreError};
use crate::records::{StoredRecord, Transition};

impl StoredRecord for Authorization {
    const KIND: Kind = Kind::Authorization;
    const VERSION: u32 = 1;
}

impl Store {
    /// Remembers a sign-in whose consent page is about to be shown.
    pub async fn begin_sign_in(
        &self,
        authorization: Authorization,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, end) = (authorization.id.clone(), authorization.expires_at);
        self.records()
            .update(id.as_str(), now, |_: Option<Authorization>| {
                Transition::put(authorization.clone(), Some(end), ())
            })
            .await
    }

    /// The person approved, and perhaps wants that remembered, in the browser that holds `cookie` and `form`; from now on only `secrets` count. One approval
    /// wins, a second one is [`WrongBrowser`].
    pub async fn approve_sign_in(
        &self,
        id: &AuthorizationId,
        cookie: &Plain<BrowserCookie>,
        form: &Plain<FormToken>,
        remember: bool,
        secrets: &IdentitySecrets,
        now: Timestamp,
    ) -> Result<Result<Authorization, WrongBrowser>, StoreError> {
        self.records()
            .update(id.as_str(), now, |stored: Option<Authorization>| {
                let approved = stored.ok_or(WrongBrowser).and_then(|authorization| {
                    authorization.approve(cookie, form, remember, secrets)
                });
                match approved {
                    Ok(approved) => {
                        let end = approved.expires_at;
                        Transition::put(approved.clone(), Some(end), Ok(approved))
                    }
                    Err(wrong) => Transition::keep(Err(wrong)),
                }
            })
            .await
    }

    /// The person denied: the sign-in is over.
    pub async fn deny_sign_in(
        &self,
        id: &AuthorizationId,
        cookie: &Plain<BrowserCookie>,
        form: &Plain<FormToken>,
        now: Timestamp,
    ) -> Result<Result<Authorization, WrongBrowser>, StoreError> {
        self.take(id, now, |authorization| {
            authorization.check_consent(cookie, form)
        })
        .await
    }

    /// The sign-in to which the identity provider's answer belongs, without ending it: the person may try again.
    pub async fn sign_in(
        &self,
        id: &AuthorizationId,
        cookie: &Plain<BrowserCookie>,
        state: &Plain<State>,
        now: Timestamp,
    ) -> Result<Result<Authorization, WrongBrowser>, StoreError> {
        let stored: Option<Authorization> = self.records().get(id.as_str(), now).await?;
        Ok(stored.ok_or(WrongBrowser).and_then(|authorization| {
            authorization.check_identity(cookie, state)?;
            Ok(authorization)
        }))
    }

    /// The identity provider has answered: the sign-in is taken, once.
    pub async fn finish_sign_in(
        &self,
        id: &AuthorizationId,
        cookie: &Plain<BrowserCookie>,
        state: &Plain<State>,
        now: Timestamp,
    ) -> Result<Result<Authorization, WrongBrowser>, StoreError> {
        self.take(id, now, |authorization| {
            authorization.check_identity(cookie, state)
        })
        .await
    }

    async fn take(
        &self,
        id: &AuthorizationId,
        now: Timestamp,
        check: impl Fn(&Authorization) -> Result<(), WrongBrowser>,
    ) -> Result<Result<Authorization, WrongBrowser>, StoreError> {
        self.records()
            .update(id.as_str(), now, |stored: Option<Authorization>| {
                let Some(authorization) = stored else {
                    return Transition::keep(Err(WrongBrowser));
                };
                match check(&authorization) {
                    Ok(()) => Transition::remove(Ok(authorization)),
                    Err(wrong) => Transition::keep(Err(wrong)),
                }
            })
            .await
    }
}
