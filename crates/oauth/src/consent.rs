//! Consent that a person asked to be remembered, so that they are not asked the same again.
//!
//! It is for one client as it described itself then, one of its redirect URIs, one service, and at most these scopes; and it counts
//! only in the browsers in which it was given (MCP Security Best Practices, "Confused Deputy Problem"). A browser is known by a
//! cookie, of which only the hash is stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authorize::AuthorizeRequest;
use crate::client_metadata::ClientMetadata;
use crate::entropy::Entropy;
use crate::id::{BrowserId, ClientId, ConsentId, ServiceName, Subject};
use crate::redirect::RedirectUri;
use crate::scope::ScopeSet;
use crate::secret::{Hashed, Plain, RememberedCookie};

/// In how many browsers one consent can be remembered; the oldest is forgotten first.
const MOST_BROWSERS: usize = 16;

/// SHA-256 of texts, each with its length before it, in base64url.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// What of a client a person sees and trusts: its name and the whole set of its redirect URIs. When it changes, what was
/// remembered is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFingerprint(String);

impl ClientFingerprint {
    /// Of a client as it describes itself now.
    #[must_use]
    pub fn of(metadata: &ClientMetadata) -> Self {
        let mut redirects: Vec<&str> = metadata
            .redirect_uris
            .iter()
            .map(RedirectUri::as_str)
            .collect();
        redirects.sort_unstable();
        Self(hash(
            std::iter::once(metadata.client_name.as_str()).chain(redirects),
        ))
    }
}

/// What a person agrees to, as far as it can be remembered.
#[derive(Debug, Clone)]
pub struct ConsentTerms {
    client_id: ClientId,
    service: ServiceName,
    /// As it is registered: the port of a loopback URI may differ each time.
    redirect_uri: RedirectUri,
    scope: ScopeSet,
    client: ClientFingerprint,
}

impl ConsentTerms {
    /// The terms of a request. `None` when this must be asked each time: for a device, and for a client that is known only by a
    /// metadata document and wants its answer on the person's own machine, where any program can say that it is that client.
    #[must_use]
    pub fn of(
        request: &AuthorizeRequest,
        metadata: &ClientMetadata,
        is_document: bool,
    ) -> Option<Self> {
        let is_impersonable =
            is_document && (request.redirect_uri.is_loopback() || !request.redirect_uri.is_web());
        if request.device.is_some() || is_impersonable {
            return None;
        }
        let requested = request.redirect_uri.as_str();
        let registered = metadata
            .redirect_uris
            .iter()
            .find(|registered| registered.admits(requested))?;
        Some(Self {
            client_id: request.client_id.clone(),
            service: request.service.clone(),
            redirect_uri: registered.clone(),
            scope: request.scope.clone(),
            client: ClientFingerprint::of(metadata),
        })
    }

    /// Under which id a person's consent to such terms is kept, whatever the scopes.
    #[must_use]
    pub fn id(&self, subject: &Subject) -> ConsentId {
        ConsentId::of_hash(hash([
            subject.as_str(),
            self.client_id.as_str(),
            self.service.as_str(),
            self.redirect_uri.as_str(),
        ]))
    }
}

/// A consent that is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Consent {
    /// Its identifier, which is not secret.
    pub id: ConsentId,
    /// Who agreed.
    pub subject: Subject,
    /// That this client
    pub client_id: ClientId,
    /// may use this service
    pub service: ServiceName,
    /// and be answered there (as it is registered),
    pub redirect_uri: RedirectUri,
    /// with these scopes or fewer.
    pub scope: ScopeSet,
    /// When they agreed.
    pub given_at: Timestamp,
    /// When they are asked again.
    pub expires_at: Timestamp,
    client: ClientFingerprint,
    /// The newest last.
    browsers: Vec<BrowserId>,
}

impl Consent {
    /// A person agreed in this browser and wants it remembered for `lifetime` seconds. What was agreed to in other browsers
    /// stays so only if it was the same.
    #[must_use]
    pub fn give(
        before: Option<Self>,
        subject: &Subject,
        terms: &ConsentTerms,
        browser: &BrowserId,
        lifetime: u64,
        now: Timestamp,
    ) -> Self {
        let same = before
            .filter(|before| before.scope == terms.scope && before.client == terms.client)
            .filter(|before| now < before.expires_at);
        let mut browsers = same.map_or_else(Vec::new, |before| before.browsers);
        browsers.retain(|known| known != browser);
        browsers.push(browser.clone());
        let surplus = browsers.len().saturating_sub(MOST_BROWSERS);
        browsers.drain(..surplus);
        Self {
            id: terms.id(subject),
            subject: subject.clone(),
            client_id: terms.client_id.clone(),
            service: terms.service.clone(),
            redirect_uri: terms.redirect_uri.clone(),
            scope: terms.scope.clone(),
            client: terms.client.clone(),
            given_at: now,
            expires_at: crate::after(now, lifetime),
            browsers,
        }
    }

    /// Whether the person need not be asked about these terms in this browser.
    #[must_use]
    pub fn covers(&self, terms: &ConsentTerms, browser: &BrowserId, now: Timestamp) -> bool {
        let is_same = self.client_id == terms.client_id
            && self.service == terms.service
            && self.redirect_uri == terms.redirect_uri
            && self.client == terms.client;
        is_same
            && terms.scope.is_subset(&self.scope)
            && self.browsers.contains(browser)
            && now < self.expires_at
    }
}

/// A browser in which a person had consent remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RememberedBrowser {
    /// Its identifier, which is not secret.
    pub id: BrowserId,
    /// Whose it is.
    pub subject: Subject,
    /// When nothing is remembered in it any more.
    pub expires_at: Timestamp,
    cookie: Hashed<RememberedCookie>,
}

impl RememberedBrowser {
    /// The browser from now on, with a fresh value for its cookie: that of `before`, if that is the same person's, or a new one.
    pub fn remember(
        before: Option<Self>,
        subject: &Subject,
        lifetime: u64,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, Plain<RememberedCookie>) {
        let cookie = Plain::generate(entropy);
        let same = before.filter(|before| before.subject == *subject);
        let browser = Self {
            id: same.map_or_else(|| BrowserId::generate(entropy), |before| before.id),
            subject: subject.clone(),
            expires_at: crate::after(now, lifetime),
            cookie: cookie.hash(),
        };
        (browser, cookie)
    }

    /// Whether this is the cookie of the browser.
    #[must_use]
    pub fn is_shown_by(&self, cookie: &Plain<RememberedCookie>) -> bool {
        self.cookie.matches(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;
    use crate::client_metadata::ClientMetadataRequest;
    use crate::pkce::CodeChallenge;

    const DAY: u64 = 24 * 3600;

    fn metadata(name: &str, redirects: &[&str]) -> ClientMetadata {
        let request = ClientMetadataRequest {
            client_name: Some(name.to_owned()),
            redirect_uris: Some(redirects.iter().map(|&uri| uri.to_owned()).collect()),
            ..ClientMetadataRequest::default()
        };
        request.check(&ScopeSet::default()).unwrap()
    }

    fn request(redirect: &str, service: &str, scope: &str) -> AuthorizeRequest {
        AuthorizeRequest {
            client_id: ClientId::parse("client").unwrap(),
            redirect_uri: RedirectUri::parse(redirect).unwrap(),
            state: None,
            scope: ScopeSet::parse(scope).unwrap(),
            code_challenge: CodeChallenge::of_nothing(&SystemEntropy),
            service: ServiceName::parse(service).unwrap(),
            device: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const WEB: &str = "https://notes.example/cb";
    const LOOPBACK: &str = "http://localhost/cb";

    #[test]
    fn it_covers_the_same_terms_in_the_same_browser_for_its_time() {
        let ann = Subject::parse("local:ann").unwrap();
        let client = metadata("Notes", &[WEB, LOOPBACK]);
        let terms = |redirect, service, scope, client: &ClientMetadata| {
            ConsentTerms::of(&request(redirect, service, scope), client, false).unwrap()
        };
        let agreed = terms(WEB, "mcp-fetch", "mcp extra", &client);
        let (browser, _) = RememberedBrowser::remember(None, &ann, DAY, at(0), &SystemEntropy);
        let consent = Consent::give(None, &ann, &agreed, &browser.id, DAY, at(0));
        let covers = |terms: &ConsentTerms| consent.covers(terms, &browser.id, at(1));
        assert!(covers(&agreed));
        assert!(covers(&terms(WEB, "mcp-fetch", "mcp", &client)));
        for other in [
            terms(WEB, "mcp-fetch", "mcp extra more", &client),
            terms(WEB, "mcp-echo", "mcp", &client),
            terms(LOOPBACK, "mcp-fetch", "mcp", &client),
            terms(
                WEB,
                "mcp-fetch",
                "mcp",
                &metadata("Notes!", &[WEB, LOOPBACK]),
            ),
            terms(WEB, "mcp-fetch", "mcp", &metadata("Notes", &[WEB])),
        ] {
            assert!(!covers(&other), "{other:?}");
        }
        assert!(covers(&terms(
            WEB,
            "mcp-fetch",
            "mcp",
            &metadata("Notes", &[LOOPBACK, WEB])
        )));
        let elsewhere = BrowserId::generate(&SystemEntropy);
        assert!(!consent.covers(&agreed, &elsewhere, at(1)));
        let end = i64::try_from(DAY).unwrap();
        assert!(consent.covers(&agreed, &browser.id, at(end - 1)));
        assert!(!consent.covers(&agreed, &browser.id, at(end)));
    }

    #[test]
    fn agreeing_to_something_else_voids_it_in_other_browsers() {
        let ann = Subject::parse("local:ann").unwrap();
        let client = metadata("Notes", &[WEB]);
        let terms =
            |scope| ConsentTerms::of(&request(WEB, "mcp-fetch", scope), &client, false).unwrap();
        let browsers = [(); 20].map(|()| BrowserId::generate(&SystemEntropy));
        let narrow = terms("mcp");
        let mut consent = None;
        for browser in &browsers {
            consent = Some(Consent::give(consent, &ann, &narrow, browser, DAY, at(0)));
        }
        let consent = consent.unwrap();
        let covered = browsers
            .iter()
            .filter(|browser| consent.covers(&narrow, browser, at(1)));
        assert_eq!(covered.count(), MOST_BROWSERS);
        assert!(consent.covers(&narrow, &browsers[19], at(1)));
        let wide = terms("mcp extra");
        let consent = Consent::give(Some(consent), &ann, &wide, &browsers[19], DAY, at(1));
        assert!(consent.covers(&wide, &browsers[19], at(1)));
        assert!(!consent.covers(&narrow, &browsers[18], at(1)));
    }

    #[test]
    fn what_anybody_on_the_machine_could_pretend_to_be_is_asked_each_time() {
        let redirects = [WEB, LOOPBACK, "com.example.app:/cb"];
        let client = metadata("Notes", &redirects);
        let of = |redirect, is_document| {
            ConsentTerms::of(&request(redirect, "mcp-fetch", "mcp"), &client, is_document)
        };
        for redirect in redirects {
            assert!(of(redirect, false).is_some(), "{redirect}");
            assert_eq!(of(redirect, true).is_some(), redirect == WEB, "{redirect}");
        }
        // Another port is the same program.
        let port = of("http://localhost:4711/cb", false).unwrap();
        let ann = Subject::parse("local:ann").unwrap();
        assert_eq!(port.id(&ann), of(LOOPBACK, false).unwrap().id(&ann));
        assert!(of("https://other.example/cb", false).is_none());
    }

    #[test]
    fn a_browser_is_one_persons_and_its_cookie_is_renewed() {
        let (ann, bob) = (
            Subject::parse("local:ann").unwrap(),
            Subject::parse("local:bob").unwrap(),
        );
        let (first, old) = RememberedBrowser::remember(None, &ann, DAY, at(0), &SystemEntropy);
        let (again, new) =
            RememberedBrowser::remember(Some(first.clone()), &ann, DAY, at(1), &SystemEntropy);
        assert_eq!(again.id, first.id);
        assert!(again.is_shown_by(&new) && !again.is_shown_by(&old));
        let (bobs, _) = RememberedBrowser::remember(Some(again), &bob, DAY, at(2), &SystemEntropy);
        assert_ne!(bobs.id, first.id);
    }
}
