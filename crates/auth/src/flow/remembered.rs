//! Remembered consent: when the page need not be shown, and what a person has remembered.
//!
//! The page comes before the sign-in, so who sits there is not known yet. What is known is the browser, by a cookie that it got
//! when its person wanted consent remembered. The page is left out for that person; who then signs in must be that person, or
//! the page is shown after all (decision 0020).

use oauth::authorization::{Authorization, Recalled};
use oauth::authorize::AuthorizeRequest;
use oauth::client_document::DocumentUrl;
use oauth::client_metadata::ClientMetadata;
use oauth::consent::{Consent, ConsentTerms, RememberedBrowser};
use oauth::id::{BrowserId, ConsentId};
use oauth::secret::{Plain, RememberedCookie};
use oauth::{ClientId, ServiceName, Subject, Timestamp};
use store::StoreError;

use crate::app::AppState;
use crate::audit;

/// How many consents of a person are shown.
const MOST: usize = 500;
/// How many are asked for in one round trip where all are looked at.
const PAGE: usize = 100;

/// What a browser holds in which a person had consent remembered.
#[derive(Debug, Clone)]
pub(crate) struct BrowserMemory {
    pub(crate) id: BrowserId,
    pub(crate) secret: Plain<RememberedCookie>,
}

impl BrowserMemory {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (secret, id) = text.split_once('.')?;
        Some(Self {
            id: BrowserId::parse(id).ok()?,
            secret: Plain::parse(secret)?,
        })
    }

    pub(crate) fn expose(&self) -> String {
        format!("{}.{}", self.secret.expose(), self.id)
    }
}

/// The terms of a request, if they can be remembered at all.
pub(crate) fn terms(
    state: &AppState,
    request: &AuthorizeRequest,
    metadata: &ClientMetadata,
) -> Option<ConsentTerms> {
    let is_on = state.people.consent_lifetime > 0;
    let is_document = DocumentUrl::is_meant_by(&request.client_id);
    ConsentTerms::of(request, metadata, is_document).filter(|_| is_on)
}

/// Whether the page may be left out in this browser, and for whom.
pub(crate) async fn recall(
    state: &AppState,
    memory: &BrowserMemory,
    request: &AuthorizeRequest,
    metadata: &ClientMetadata,
) -> Result<Option<Recalled>, StoreError> {
    let Some(browser) = browser(state, memory).await? else {
        return Ok(None);
    };
    let recalled = Recalled {
        subject: browser.subject,
        browser: browser.id,
    };
    let counts = counts(state, &recalled, request, metadata).await?;
    Ok(counts.then_some(recalled))
}

/// Whether leaving the page out was right, now that somebody was recognised: it was for them, and nothing has changed since.
pub(crate) async fn was_for(
    state: &AppState,
    recalled: &Recalled,
    subject: &Subject,
    authorization: &Authorization,
) -> Result<bool, StoreError> {
    if recalled.subject != *subject {
        return Ok(false);
    }
    let Some(metadata) = metadata(state, authorization).await? else {
        return Ok(false);
    };
    counts(state, recalled, &authorization.request, &metadata).await
}

async fn counts(
    state: &AppState,
    recalled: &Recalled,
    request: &AuthorizeRequest,
    metadata: &ClientMetadata,
) -> Result<bool, StoreError> {
    let Some(terms) = terms(state, request, metadata) else {
        return Ok(false);
    };
    let now = state.clock.now();
    let id = terms.id(&recalled.subject);
    let Some(consent) = state.store.consent(&id, now).await? else {
        return Ok(false);
    };
    Ok(consent.covers(&terms, &recalled.browser, now) && stands(state, &consent, now).await?)
}

/// Whether neither its person has ended everything since, nor its client was removed.
async fn stands(state: &AppState, consent: &Consent, now: Timestamp) -> Result<bool, StoreError> {
    let client = state.store.client(&consent.client_id, now).await?;
    let is_client = client.is_some_and(|client| client.issued_at <= consent.given_at);
    let person = &consent.subject;
    Ok(is_client
        && state
            .store
            .person_admits(person, consent.given_at, now)
            .await?)
}

async fn browser(
    state: &AppState,
    memory: &BrowserMemory,
) -> Result<Option<RememberedBrowser>, StoreError> {
    let found = state.store.browser(&memory.id, state.clock.now()).await?;
    Ok(found.filter(|browser| browser.is_shown_by(&memory.secret)))
}

/// What the client says about itself, as it counts for this sign-in.
async fn metadata(
    state: &AppState,
    authorization: &Authorization,
) -> Result<Option<ClientMetadata>, StoreError> {
    if let Some(document) = &authorization.document {
        return Ok(Some(document.clone()));
    }
    let id = &authorization.request.client_id;
    let client = state.store.client(id, state.clock.now()).await?;
    Ok(client.map(|client| client.metadata))
}

/// Remembers what a person agreed to, in this browser; answers with the value of its cookie from now on. A failure is not the
/// person's concern: they are asked again the next time.
pub(crate) async fn remember(
    state: &AppState,
    subject: &Subject,
    authorization: &Authorization,
    memory: Option<&BrowserMemory>,
) -> Option<BrowserMemory> {
    match try_to_remember(state, subject, authorization, memory).await {
        Ok(memory) => memory,
        Err(error) => {
            tracing::warn!(%error, "a consent could not be remembered");
            None
        }
    }
}

async fn try_to_remember(
    state: &AppState,
    subject: &Subject,
    authorization: &Authorization,
    memory: Option<&BrowserMemory>,
) -> Result<Option<BrowserMemory>, StoreError> {
    let request = &authorization.request;
    let metadata = metadata(state, authorization).await?;
    let Some(terms) = metadata.and_then(|metadata| terms(state, request, &metadata)) else {
        return Ok(None);
    };
    let before = match memory {
        Some(memory) => browser(state, memory).await?,
        None => None,
    };
    let (now, lifetime) = (state.clock.now(), state.people.consent_lifetime);
    let (browser, secret) =
        RememberedBrowser::remember(before, subject, lifetime, now, state.entropy.as_ref());
    let id = browser.id.clone();
    state.store.put_browser(browser, now).await?;
    state
        .store
        .remember_consent(subject, &terms, &id, lifetime, now)
        .await?;
    tracing::info!(target: "audit", event = "consent_remembered", %subject, client = %audit::client(&request.client_id),
        service = %request.service, "consent remembered");
    Ok(Some(BrowserMemory { id, secret }))
}

/// What of a person is remembered and counts, the newest first. At most 500 are looked at; [`withdraw_all`] ends the others, too.
pub(crate) async fn list(state: &AppState, subject: &Subject) -> Result<Vec<Consent>, StoreError> {
    let now = state.clock.now();
    let mut found = Vec::new();
    let (all, _) = state.store.list_consents(subject, None, MOST, now).await?;
    for consent in all {
        if consent.subject == *subject && stands(state, &consent, now).await? {
            found.push(consent);
        }
    }
    found.sort_by_key(|consent| std::cmp::Reverse(consent.given_at));
    Ok(found)
}

/// Forgets one consent of a person. `false` when it was not there.
pub(crate) async fn withdraw(
    state: &AppState,
    subject: &Subject,
    id: &ConsentId,
) -> Result<bool, StoreError> {
    let now = state.clock.now();
    let was_there = state.store.withdraw_consent(subject, id, now).await?;
    if was_there {
        tracing::info!(target: "audit", event = "consent_withdrawn", %subject, consent = %id, "remembered consent withdrawn");
    }
    Ok(was_there)
}

/// Forgets all consents of a person, or those for one client and service, however many there are. Answers with their ids.
pub(crate) async fn withdraw_all(
    state: &AppState,
    subject: &Subject,
    only: Option<(&ClientId, &ServiceName)>,
) -> Result<Vec<ConsentId>, StoreError> {
    let now = state.clock.now();
    let (mut withdrawn, mut after) = (Vec::new(), None::<String>);
    loop {
        let (page, next) = state
            .store
            .list_consents(subject, after.as_deref(), PAGE, now)
            .await?;
        for consent in page {
            let is_meant = only.is_none_or(|(client, service)| {
                consent.client_id == *client && consent.service == *service
            });
            if is_meant && withdraw(state, subject, &consent.id).await? {
                withdrawn.push(consent.id);
            }
        }
        after = next;
        if after.is_none() {
            return Ok(withdrawn);
        }
    }
}
