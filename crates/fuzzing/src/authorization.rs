//! The parsers of `mcp-auth`, by way of the rules in `oauth`.

use std::sync::LazyLock;

use oauth::authorize::AuthorizeParams;
use oauth::claims::AccessClaims;
use oauth::client_document::DocumentUrl;
use oauth::client_metadata::{ClientMetadata, ClientMetadataRequest};
use oauth::identity::AccessPolicy;
use oauth::rules::{Rules, TokenLifetimes};
use oauth::session::Lifetimes;
use oauth::site::{Site, canonical_host};
use oauth::token::{AuthorizationCode, RefreshToken};
use oauth::{ClientId, RedirectUri, ScopeSet, ServiceName, Sites, Timestamp};

const DOCUMENT: &str = "https://client.example/metadata.json";
const REGISTERED: &str = "https://client.example/callback";

static SITES: LazyLock<Sites> = LazyLock::new(|| {
    let services = ["mcp-fetch", "mcp-echo"].map(|name| ServiceName::parse(name).expect("a name"));
    Sites::new("https", "example.com", None, services).expect("sites")
});

static METADATA: LazyLock<ClientMetadata> = LazyLock::new(|| {
    let request = ClientMetadataRequest {
        redirect_uris: Some(vec![
            REGISTERED.to_owned(),
            "http://127.0.0.1/cb".to_owned(),
        ]),
        token_endpoint_auth_method: Some("none".to_owned()),
        ..ClientMetadataRequest::default()
    };
    request.check(&scopes()).expect("metadata")
});

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let session = Lifetimes {
        idle: 3600,
        absolute: 7200,
        grace: 0,
    };
    let lifetimes = TokenLifetimes {
        access_token: 600,
        session,
    };
    Rules::new(
        SITES.clone(),
        AccessPolicy::new(&["*"], &[], &[]),
        lifetimes,
    )
});

fn scopes() -> ScopeSet {
    ScopeSet::parse("mcp").expect("a scope")
}

fn pairs(data: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    url::form_urlencoded::parse(data).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// Nobody is sent anywhere that the client has not registered, and a request that passes names a service of ours and a challenge.
pub fn authorize_query(data: &[u8]) {
    let params = AuthorizeParams::from_pairs(pairs(data));
    let Ok(id) = params.client_id() else {
        return;
    };
    let Ok(redirect) = params.redirect_uri(&METADATA) else {
        return;
    };
    assert!(
        METADATA.admits_redirect(redirect.as_str()),
        "a person is sent to {redirect}"
    );
    match params.check(id, &redirect, &METADATA, &RULES) {
        Ok(request) => assert_eq!(request.redirect_uri, redirect),
        Err(refusal) => {
            let location = refusal.location(&SITES.issuer());
            let before_query = location.split('?').next().unwrap_or_default();
            assert!(redirect.as_str().starts_with(before_query), "{location}");
            assert!(
                location.bytes().all(|byte| byte.is_ascii_graphic()),
                "{location:?}"
            );
        }
    }
}

/// What is taken for a code or a refresh token is written back as it was; a redirect URI of the form obeys [`redirect`].
pub fn token_form(data: &[u8]) {
    for (name, value) in pairs(data) {
        match name.as_str() {
            "code" => {
                if let Some(code) = AuthorizationCode::parse(&value) {
                    assert_eq!(*code.expose(), value);
                }
            }
            "refresh_token" => {
                if let Some(token) = RefreshToken::parse(&value) {
                    assert_eq!(*token.expose(), value);
                }
            }
            "redirect_uri" => redirect(value.as_bytes()),
            "resource" => {
                if let Some(service) = SITES.service_of_resource(&value) {
                    assert!(SITES.service(service.as_str()).is_some());
                }
            }
            "scope" => {
                if let Ok(scopes) = ScopeSet::parse(&value) {
                    let again = ScopeSet::parse(&scopes.to_string());
                    assert_eq!(again.ok().as_ref(), Some(&scopes));
                }
            }
            "client_id" => {
                if let Ok(id) = ClientId::parse(&value) {
                    assert_eq!(id.as_str(), value);
                }
            }
            _ => {}
        }
    }
}

/// A client that is registered can only be sent to addresses that parse by themselves.
pub fn registration(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<ClientMetadataRequest>(data) else {
        return;
    };
    if let Ok(metadata) = request.check(&scopes()) {
        for uri in &metadata.redirect_uris {
            redirect(uri.as_str().as_bytes());
            assert!(metadata.admits_redirect(uri.as_str()));
        }
    }
}

/// Claims that pass are for this issuer and this service and have not run out.
pub fn jwt_claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<AccessClaims>(data) else {
        return;
    };
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let (issuer, resource) = (
        "https://auth.example.com",
        "https://mcp-fetch.example.com/mcp",
    );
    if claims.check(issuer, resource, now).is_ok() {
        let value: serde_json::Value = serde_json::from_slice(data).expect("claims are JSON");
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
        assert_eq!(text("iss"), Some(issuer));
        assert_eq!(text("aud"), Some(resource));
        let expires = value.get("exp").and_then(serde_json::Value::as_i64);
        assert!(expires.is_some_and(|expires| expires > now.as_second()));
    }
}

/// A host has one spelling, and only ours lead to a site.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(name) = canonical_host(text) {
        assert_eq!(canonical_host(&name), Some(name.clone()));
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b".-".contains(&byte)),
            "{name:?}"
        );
        match SITES.site_of(text) {
            Some(Site::Auth) => assert_eq!(name, "auth.example.com"),
            Some(Site::Service(service)) => assert_eq!(name, format!("{service}.example.com")),
            None => {}
        }
    } else {
        assert_eq!(SITES.site_of(text), None);
    }
}

/// A redirect URI stays as it was written, is met by itself, and a registered one admits another only on the same machine.
pub fn redirect(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, REGISTERED));
    let Ok(registered) = RedirectUri::parse(first) else {
        return;
    };
    assert_eq!(registered.as_str(), first);
    assert!(registered.admits(first));
    let url = url::Url::parse(first).expect("a redirect URI that is not a URL");
    assert!(url.fragment().is_none() && url.password().is_none() && url.username().is_empty());
    let sent = registered.with_query(&[("code", "a&b=c"), ("state", "x#y")]);
    let sent = url::Url::parse(&sent).expect("an address nobody can be sent to");
    assert_eq!(sent.host_str(), url.host_str(), "sent elsewhere");
    assert_eq!(sent.scheme(), url.scheme());
    if first != second && registered.admits(second) {
        assert!(registered.is_loopback(), "{first} admits {second}");
        let second = url::Url::parse(second).expect("an admitted address is a URL");
        assert_eq!(second.host_str(), url.host_str());
        assert_eq!(second.path(), url.path());
    }
}

/// A document describes the client at its own URL, and only addresses that parse.
pub fn client_document(data: &[u8]) {
    let id = ClientId::parse(DOCUMENT).expect("an id");
    let url = DocumentUrl::parse(&id, &SITES).expect("a document's URL");
    if let Ok(metadata) = url.read(data, &scopes()) {
        let value: serde_json::Value = serde_json::from_slice(data).expect("a document is JSON");
        assert_eq!(
            value.get("client_id").and_then(serde_json::Value::as_str),
            Some(DOCUMENT)
        );
        for uri in &metadata.redirect_uris {
            redirect(uri.as_str().as_bytes());
        }
    }
    // As an id of its own, too.
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = ClientId::parse(text)
        && let Ok(url) = DocumentUrl::parse(&id, &SITES)
    {
        assert_eq!(url.url().scheme(), "https");
        assert_eq!(url.url().host_str(), Some(url.host()));
    }
}
