//! `/account`: what a person granted, and its end.

use oauth::account::{AccountSession, Holder};
use oauth::client_document::DocumentUrl;
use oauth::consent::Consent;
use oauth::identity::Identity;
use oauth::secret::{BrowserCookie, Plain};
use oauth::session::{Revocation, Session};
use oauth::{AuthorizationId, ClientId, SessionId};
use store::{Event, SessionFilter, StoreError};
use subtle::ConstantTimeEq as _;

use super::remembered;
use super::sign_in::Returning;
use crate::app::AppState;
use crate::idp::SignInState;

/// How many sessions are asked for in one round trip.
const PAGE: usize = 100;
/// How many sessions are looked at in all.
const MOST: usize = 1000;

/// What a browser holds that is signed in: the id of its session and the secret of its cookie.
#[derive(Debug, Clone)]
pub(crate) struct AccountCookie {
    pub(crate) id: AuthorizationId,
    pub(crate) secret: Plain<BrowserCookie>,
}

impl AccountCookie {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (secret, id) = text.split_once('.')?;
        Some(Self {
            id: AuthorizationId::parse(id).ok()?,
            secret: Plain::parse(secret)?,
        })
    }

    pub(crate) fn expose(&self) -> String {
        format!("{}.{}", self.secret.expose(), self.id)
    }

    /// The anti-forgery token of the forms that this browser is shown.
    pub(crate) fn form_token(&self, state: &AppState) -> String {
        let key = state.keys.derivation();
        key.derive("account form", &self.expose()).to_string()
    }

    /// Whether a form of this browser's was sent.
    pub(crate) fn admits(&self, state: &AppState, token: &str) -> bool {
        self.form_token(state)
            .as_bytes()
            .ct_eq(token.as_bytes())
            .into()
    }
}

/// A browser that goes to the identity provider.
pub(crate) struct Leaving {
    pub(crate) id: AuthorizationId,
    pub(crate) cookie: Plain<BrowserCookie>,
    pub(crate) location: String,
}

/// Sends the browser to the identity provider.
pub(crate) async fn start(state: &AppState) -> Result<Leaving, StoreError> {
    let now = state.clock.now();
    let (session, secrets) = AccountSession::start(now, state.entropy.as_ref());
    let id = session.id.clone();
    state.store.put_account(session, now).await?;
    let sign_in = SignInState {
        id: id.clone(),
        secret: secrets.state,
    };
    let needs_memberships = state.policy.rules().needs_memberships();
    let location = state
        .provider
        .sign_in_url(&sign_in, state.keys.derivation(), needs_memberships);
    Ok(Leaving {
        id,
        cookie: secrets.cookie,
        location,
    })
}

/// Whether a browser comes back to its account, and not to a client's sign-in.
pub(crate) async fn is_returning(
    state: &AppState,
    returning: &Returning,
) -> Result<bool, StoreError> {
    let found = state
        .store
        .account(&returning.state.id, state.clock.now())
        .await?;
    Ok(found
        .is_some_and(|session| session.is_returning(&returning.cookie, &returning.state.secret)))
}

/// Somebody is recognised. `None`: the sign-in is over, or nobody of that name has ever been here.
pub(crate) async fn arrive(
    state: &AppState,
    returning: &Returning,
    identity: &Identity,
) -> Result<Option<AccountCookie>, StoreError> {
    let now = state.clock.now();
    let is_first = state
        .store
        .take_account_sign_in(
            &returning.state.id,
            &returning.cookie,
            &returning.state.secret,
            now,
        )
        .await?;
    let known = state.store.person(&identity.subject, now).await?;
    let Some(person) = known.filter(|_| is_first) else {
        return Ok(None);
    };
    let (session, secret) = AccountSession::sign_in(
        identity.subject.clone(),
        identity.login.clone(),
        person.session_from(now),
        state.entropy.as_ref(),
    );
    let id = session.id.clone();
    state.store.put_account(session, now).await?;
    tracing::info!(target: "audit", event = "account_opened", subject = %identity.subject, "signed in at the account page");
    Ok(Some(AccountCookie { id, secret }))
}

/// Who is signed in in this browser.
pub(crate) async fn holder(
    state: &AppState,
    cookie: &AccountCookie,
) -> Result<Option<Holder>, StoreError> {
    let now = state.clock.now();
    let session = state.store.account(&cookie.id, now).await?;
    let Some(holder) = session.and_then(|session| session.holder(&cookie.secret)) else {
        return Ok(None);
    };
    let counts = state
        .store
        .person_admits(&holder.subject, holder.since, now)
        .await?;
    Ok(counts.then_some(holder))
}

/// What somebody granted or had remembered, as far as it still counts, with what its client calls itself.
pub(crate) struct Known<T> {
    pub(crate) what: T,
    pub(crate) client_name: String,
    pub(crate) client_host: Option<String>,
}

async fn known<T>(state: &AppState, what: T, id: &ClientId) -> Result<Known<T>, StoreError> {
    let now = state.clock.now();
    let client = state.policy.client(&state.store, id, now).await?;
    let document = DocumentUrl::parse(id, &state.sites()).ok();
    Ok(Known {
        what,
        client_name: client.map_or_else(String::new, |client| client.metadata.client_name),
        client_host: document.map(|document| document.host().to_owned()),
    })
}

/// What somebody need not agree to again, the newest first.
pub(crate) async fn consents(
    state: &AppState,
    holder: &Holder,
) -> Result<Vec<Known<Consent>>, StoreError> {
    let mut consents = Vec::new();
    for consent in remembered::list(state, &holder.subject).await? {
        let id = consent.client_id.clone();
        consents.push(known(state, consent, &id).await?);
    }
    Ok(consents)
}

/// What somebody granted and what still counts, the newest first. At most 1000 sessions are looked at.
pub(crate) async fn grants(
    state: &AppState,
    holder: &Holder,
) -> Result<Vec<Known<Session>>, StoreError> {
    let now = state.clock.now();
    let filter = SessionFilter::Person(holder.subject.clone());
    let (mut grants, mut after, mut seen) = (Vec::new(), None, 0);
    loop {
        let (page, next) = state
            .store
            .list_sessions(&filter, after.as_deref(), PAGE, now)
            .await?;
        seen += PAGE;
        for listed in page {
            let session = listed.session;
            if !listed.counts || session.person.subject != holder.subject {
                continue;
            }
            let id = session.client_id.clone();
            grants.push(known(state, session, &id).await?);
        }
        match next {
            Some(next) if seen < MOST => after = Some(next),
            _ => break,
        }
    }
    grants.sort_by_key(|grant| std::cmp::Reverse(grant.what.created_at));
    Ok(grants)
}

/// Ends one grant, if it is theirs, and what was remembered for it: its client asks anew, and so does the page. What is not theirs
/// changes nothing.
pub(crate) async fn revoke(
    state: &AppState,
    holder: &Holder,
    id: &SessionId,
) -> Result<(), StoreError> {
    let now = state.clock.now();
    let session = state.store.session(id, now).await?;
    let Some(session) = session.filter(|session| session.person.subject == holder.subject) else {
        return Ok(());
    };
    let of_grant = (&session.client_id, &session.service);
    remembered::withdraw_all(state, &holder.subject, Some(of_grant)).await?;
    let lifetime = state.policy.rules().longest_access_token();
    state
        .store
        .revoke_session(id, Revocation::Requested, lifetime, now)
        .await?;
    state.decisions.learn(Event::SessionChanged(id.to_string()));
    tracing::info!(target: "audit", event = "session_revoked", session = %id, subject = %holder.subject,
        "session revoked by its person");
    Ok(())
}

/// Ends everything somebody granted, and signs them out in every browser.
pub(crate) async fn revoke_all(state: &AppState, holder: &Holder) -> Result<(), StoreError> {
    let subject = &holder.subject;
    state
        .store
        .revoke_person(subject, state.clock.now())
        .await?;
    state
        .decisions
        .learn(Event::PersonChanged(subject.to_string()));
    tracing::info!(target: "audit", event = "person_revoked", subject = %subject, "all sessions revoked by their person");
    Ok(())
}
