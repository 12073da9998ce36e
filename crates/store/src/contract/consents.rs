//! Remembered consent.

use oauth::authorize::AuthorizeRequest;
use oauth::client_metadata::{ClientMetadata, ClientMetadataRequest};
use oauth::consent::{ConsentTerms, RememberedBrowser};
use oauth::device::{DeviceAuthorization, DeviceCode};
use oauth::id::BrowserId;
use oauth::{ClientId, RedirectUri, ScopeSet, ServiceName, SystemEntropy, Timestamp};

use super::world::{all, ann};
use super::{Fixture, at};
use crate::Store;

const REDIRECT: &str = "https://notes.example/cb";
const LIFETIME: u64 = 100;

fn metadata() -> ClientMetadata {
    let request = ClientMetadataRequest {
        redirect_uris: Some(vec![REDIRECT.to_owned()]),
        ..ClientMetadataRequest::default()
    };
    request.check(&ScopeSet::default()).unwrap()
}

fn terms(service: &str) -> ConsentTerms {
    let code = DeviceCode::generate(&SystemEntropy);
    let service = ServiceName::parse(service).unwrap();
    let scope = ScopeSet::parse("mcp").unwrap();
    let client = ClientId::parse("notes").unwrap();
    let device = DeviceAuthorization::start(&code, client, service, scope, at(0));
    let request = AuthorizeRequest {
        redirect_uri: RedirectUri::parse(REDIRECT).unwrap(),
        device: None,
        ..AuthorizeRequest::of_device(code.user_code, &device, &SystemEntropy)
    };
    ConsentTerms::of(&request, &metadata(), false).unwrap()
}

/// A consent of Ann's, and the browser in which it is remembered.
pub(super) async fn remembered(store: &Store, lifetime: u64, now: Timestamp) -> BrowserId {
    let subject = ann().subject;
    let (browser, _) = RememberedBrowser::remember(None, &subject, lifetime, now, &SystemEntropy);
    let id = browser.id.clone();
    store.put_browser(browser, now).await.unwrap();
    store
        .remember_consent(&subject, &terms("mcp-fetch"), &id, lifetime, now)
        .await
        .unwrap();
    id
}

/// What is remembered in several browsers at once is remembered in each, ends in time, and can be withdrawn.
pub async fn a_consent_is_remembered_in_each_browser_until_it_ends_or_is_withdrawn(
    fixture: impl Fixture,
) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let (ann, terms, other) = (ann().subject, terms("mcp-fetch"), terms("mcp-echo"));
    let browsers: Vec<BrowserId> = (0..8)
        .map(|_| BrowserId::generate(&SystemEntropy))
        .collect();
    let ticks = browsers
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, browser)| {
            let (store, ann, terms) = (stores[number % 2].clone(), ann.clone(), terms.clone());
            tokio::spawn(async move {
                store
                    .remember_consent(&ann, &terms, &browser, LIFETIME, at(0))
                    .await
                    .unwrap();
            })
        });
    all(ticks).await;
    let id = terms.id(&ann);
    let consent = stores[1].consent(&id, at(99)).await.unwrap().unwrap();
    for browser in &browsers {
        assert!(consent.covers(&terms, browser, at(99)));
    }
    assert!(stores[0].consent(&id, at(100)).await.unwrap().is_none());
    stores[0]
        .remember_consent(&ann, &other, &browsers[0], LIFETIME, at(0))
        .await
        .unwrap();
    let listed = |now| {
        let (store, ann) = (stores[1].clone(), ann.clone());
        async move {
            store
                .list_consents(&ann, None, 10, now)
                .await
                .unwrap()
                .0
                .len()
        }
    };
    assert_eq!(listed(at(1)).await, 2);
    // Only by whom it belongs to, and once.
    let stranger = oauth::Subject::parse("local:stranger").unwrap();
    let withdraw = |subject| {
        let (store, id) = (stores[1].clone(), id.clone());
        async move { store.withdraw_consent(subject, &id, at(2)).await.unwrap() }
    };
    assert!(!withdraw(&stranger).await);
    assert_eq!(listed(at(2)).await, 2);
    assert!(withdraw(&ann).await);
    assert!(!withdraw(&ann).await);
    assert!(stores[0].consent(&id, at(2)).await.unwrap().is_none());
    assert_eq!(listed(at(2)).await, 1);
    assert_eq!(listed(at(100)).await, 0);
}

/// The cookie of a browser is known by its hash.
pub async fn a_browser_is_known_by_its_latest_cookie_until_it_ends(fixture: impl Fixture) {
    let store = Store::new(fixture.backend());
    let ann = ann().subject;
    let remember =
        |before| RememberedBrowser::remember(before, &ann, LIFETIME, at(0), &SystemEntropy);
    let (browser, old) = remember(None);
    let id = browser.id.clone();
    store.put_browser(browser.clone(), at(0)).await.unwrap();
    let (renewed, new) = remember(Some(browser));
    store.put_browser(renewed, at(0)).await.unwrap();
    let found = store.browser(&id, at(99)).await.unwrap().unwrap();
    assert!(found.is_shown_by(&new) && !found.is_shown_by(&old));
    assert!(store.browser(&id, at(100)).await.unwrap().is_none());
}
