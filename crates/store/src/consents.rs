//! The verbs about remembered consent, and the browsers in which it counts.

use oauth::consent::{Consent, ConsentTerms, RememberedBrowser};
use oauth::id::{BrowserId, ConsentId};
use oauth::{Subject, Timestamp};

use crate::Store;
use crate::administration::Listed;
use crate::backend::{Index, Key, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

impl StoredRecord for Consent {
    const KIND: Kind = Kind::Consent;
    const VERSION: u32 = 1;
}

impl StoredRecord for RememberedBrowser {
    const KIND: Kind = Kind::Browser;
    const VERSION: u32 = 1;
}

impl Store {
    /// Stores a browser in place of what was known of it.
    pub async fn put_browser(
        &self,
        browser: RememberedBrowser,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, end) = (browser.id.clone(), browser.expires_at);
        self.records()
            .update(id.as_str(), now, |_: Option<RememberedBrowser>| {
                Transition::put(browser.clone(), Some(end), ())
            })
            .await
    }

    /// The browser of this id.
    pub async fn browser(
        &self,
        id: &BrowserId,
        now: Timestamp,
    ) -> Result<Option<RememberedBrowser>, StoreError> {
        self.records().get(id.as_str(), now).await
    }

    /// Remembers that a person agreed to these terms in this browser, for `lifetime` seconds; see [`Consent::give`].
    pub async fn remember_consent(
        &self,
        subject: &Subject,
        terms: &ConsentTerms,
        browser: &BrowserId,
        lifetime: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = terms.id(subject);
        self.records()
            .update(id.as_str(), now, |stored: Option<Consent>| {
                let consent = Consent::give(stored, subject, terms, browser, lifetime, now);
                let end = consent.expires_at;
                Transition::put(consent, Some(end), ())
            })
            .await?;
        self.settle_consent(subject, &id, now).await
    }

    /// The consent of this id, while it lasts.
    pub async fn consent(
        &self,
        id: &ConsentId,
        now: Timestamp,
    ) -> Result<Option<Consent>, StoreError> {
        self.records().get(id.as_str(), now).await
    }

    /// Up to `limit` consents of a person in the order of their ids.
    pub async fn list_consents(
        &self,
        subject: &Subject,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Listed<Consent>, StoreError> {
        let index = Index::ConsentsOfPerson(subject.to_string());
        let (found, next) = self.records().list(&index, after, limit, now).await?;
        Ok((
            found.into_iter().map(|(_, consent)| consent).collect(),
            next,
        ))
    }

    /// Forgets a consent, if it is this person's. `false` when it was not there.
    pub async fn withdraw_consent(
        &self,
        subject: &Subject,
        id: &ConsentId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let was_there = self
            .records()
            .update(id.as_str(), now, |stored: Option<Consent>| match stored {
                Some(consent) if consent.subject == *subject => Transition::remove(true),
                _ => Transition::keep(false),
            })
            .await?;
        self.settle_consent(subject, id, now).await?;
        Ok(was_there)
    }

    /// Lists a consent that is there, and no other.
    async fn settle_consent(
        &self,
        subject: &Subject,
        id: &ConsentId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let index = Index::ConsentsOfPerson(subject.to_string());
        let key = Key::new(Kind::Consent, id.as_str());
        self.records().settle(&index, &key, now).await
    }
}
