//! Client-id metadata documents: a client whose `client_id` is the https URL of a document about itself
//! (draft-ietf-oauth-client-id-metadata-document, MCP authorization specification 2026-07-28 "Client ID Metadata Documents").
//!
//! Which URLs may be such an identifier, and what a fetched document must hold. The URL is compared as text everywhere.

use serde_json::{Map, Value};
use url::{Host, Url};

use crate::client_metadata::{ClientMetadata, ClientMetadataRequest, InvalidMetadata};
use crate::id::ClientId;
use crate::scope::ScopeSet;
use crate::site::{Sites, canonical_host};

/// The `token_endpoint_auth_method` of such a client: it can keep no secret that we know too.
const PUBLIC: &str = "none";

/// A `client_id` that names a document. Spelled as every URL parser spells it, so that text and meaning cannot differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentUrl {
    id: ClientId,
    url: Url,
    host: String,
}

/// Why a URL cannot be a client identifier. The texts are for the person who writes the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocumentUrl {
    /// A fragment.
    #[error("a client_id that is a URL must not have a fragment")]
    Fragment,
    /// A user name or password before the host.
    #[error("a client_id that is a URL must not name a user")]
    UserInfo,
    /// An IP address, a name without a dot, or one that is not a DNS name in lower case.
    #[error("a client_id that is a URL must name a public host by its DNS name in lower case")]
    Host,
    /// A port in the URL; only 443 is fetched from, and it is never written.
    #[error("a client_id that is a URL must not name a port")]
    Port,
    /// The gateway would ask itself.
    #[error("a client_id must not be a URL of this gateway")]
    Own,
    /// Nothing after the host.
    #[error("a client_id that is a URL must have a path")]
    NoPath,
    /// Dot segments, or another spelling that a URL parser would change.
    #[error("a client_id that is a URL must be written as browsers write it, without dot segments")]
    Spelling,
}

impl DocumentUrl {
    /// Whether a client identifier is meant as the URL of a document. Registered clients never have such a one.
    #[must_use]
    pub fn is_meant_by(id: &ClientId) -> bool {
        id.as_str().starts_with("https://")
    }

    /// Takes the identifier if a document may be fetched from there.
    pub fn parse(id: &ClientId, sites: &Sites) -> Result<Self, InvalidDocumentUrl> {
        use InvalidDocumentUrl as Refused;
        let text = id.as_str();
        if text.contains('#') {
            return Err(Refused::Fragment);
        }
        let url = Url::parse(text).map_err(|_| Refused::Host)?;
        let authority = text
            .strip_prefix("https://")
            .ok_or(Refused::Spelling)?
            .split(['/', '\\', '?'])
            .next()
            .unwrap_or_default();
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            _ => return Err(Refused::Host),
        };
        let is_name = host.contains('.') && canonical_host(&host).as_ref() == Some(&host);
        if !is_name {
            return Err(Refused::Host);
        }
        if url.port().is_some() {
            return Err(Refused::Port);
        }
        if sites.site_of(&host).is_some() {
            return Err(Refused::Own);
        }
        if url.path() == "/" {
            return Err(Refused::NoPath);
        }
        if url.as_str() != text {
            return Err(Refused::Spelling);
        }
        Ok(Self {
            id: id.clone(),
            url,
            host,
        })
    }

    /// The client identifier, as it was written.
    #[must_use]
    pub const fn id(&self) -> &ClientId {
        &self.id
    }

    /// Where the document is.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Who answers for the client: the host, for a person to read and for an allow-list.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the document at this URL says about the client. Whether the document *is* from there is the caller's matter.
    pub fn read(
        &self,
        document: &[u8],
        offered: &ScopeSet,
    ) -> Result<ClientMetadata, InvalidDocument> {
        let members: Map<String, Value> =
            serde_json::from_slice(document).map_err(|_| InvalidDocument::NotJson)?;
        if members.get("client_id").and_then(Value::as_str) != Some(self.id.as_str()) {
            return Err(InvalidDocument::ClientId);
        }
        if members.keys().any(|name| name.starts_with("client_secret")) {
            return Err(InvalidDocument::Secret);
        }
        match members.get("token_endpoint_auth_method") {
            None | Some(Value::Null) => {}
            Some(Value::String(method)) if method == PUBLIC => {}
            Some(_) => return Err(InvalidDocument::AuthMethod),
        }
        let is_named = members
            .get("client_name")
            .and_then(Value::as_str)
            .is_some_and(|name| !name.trim().is_empty());
        if !is_named {
            return Err(InvalidDocument::ClientName);
        }
        // Read anew from the text: a member that is there twice is refused here.
        let mut request: ClientMetadataRequest =
            serde_json::from_slice(document).map_err(|_| InvalidDocument::NotJson)?;
        request.token_endpoint_auth_method = Some(PUBLIC.to_owned());
        request.check(offered).map_err(InvalidDocument::Member)
    }
}

/// Why a document does not make a client. The texts hold nothing that the document said, because they are shown to a person
/// who did not choose its host; the details of [`InvalidDocument::Member`] are for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// No JSON object, a member of a wrong type, or one that is there twice.
    #[error("it is not a JSON object with the members of RFC 7591")]
    NotJson,
    /// `client_id` is missing or another one.
    #[error("its client_id is not the address at which it stands")]
    ClientId,
    /// `client_secret` or `client_secret_expires_at`: the document is public.
    #[error("it must not hold a client_secret")]
    Secret,
    /// A shared secret, or a method that is not offered.
    #[error("its token_endpoint_auth_method must be none")]
    AuthMethod,
    /// `client_name` is missing.
    #[error("its client_name is missing")]
    ClientName,
    /// Refused as it would be at registration.
    #[error("its redirect_uris or another of its members cannot be used")]
    Member(InvalidMetadata),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::id::ServiceName;

    const URL: &str = "https://client.example/oauth/client.json";

    fn sites() -> Sites {
        let services = [ServiceName::parse("mcp-fetch").unwrap()];
        Sites::new("https", "gateway.example", None, services).unwrap()
    }

    fn parse(text: &str) -> Result<DocumentUrl, InvalidDocumentUrl> {
        DocumentUrl::parse(&ClientId::parse(text).unwrap(), &sites())
    }

    fn document() -> Value {
        json!({"client_id": URL, "client_name": "Example", "redirect_uris": ["http://localhost/cb"]})
    }

    fn read(document: &Value) -> Result<ClientMetadata, InvalidDocument> {
        let offered = ScopeSet::parse("mcp offline_access").unwrap();
        parse(URL)
            .unwrap()
            .read(document.to_string().as_bytes(), &offered)
    }

    #[test]
    fn an_https_url_with_a_path_is_taken_as_it_is() {
        for good in [
            URL,
            "https://claude.ai/oauth/claude-code-client-metadata",
            "https://chatgpt.com/oauth/abc/client.json",
            "https://xn--bcher-kva.example/c",
            "https://client.example/c?version=1",
            "https://client.example/a%20b/..c",
        ] {
            let url = parse(good).unwrap();
            assert_eq!((url.id().as_str(), url.url().as_str()), (good, good));
        }
        assert_eq!(parse(URL).unwrap().host(), "client.example");
    }

    #[test]
    fn other_urls_are_refused() {
        use InvalidDocumentUrl as Refused;
        for (text, expected) in [
            ("https://client.example/c#x", Refused::Fragment),
            ("https://client.example/c#", Refused::Fragment),
            ("https://ada@client.example/c", Refused::UserInfo),
            ("https://ada:x@client.example/c", Refused::UserInfo),
            ("https://@client.example/c", Refused::UserInfo),
            ("https://127.0.0.1/c", Refused::Host),
            ("https://0x7f.1/c", Refused::Host),
            ("https://2130706433/c", Refused::Host),
            ("https://8.8.8.8/c", Refused::Host),
            ("https://[::1]/c", Refused::Host),
            ("https://[2606:4700::1111]/c", Refused::Host),
            ("https://localhost/c", Refused::Host),
            ("https://redis/c", Refused::Host),
            ("https://client.example./c", Refused::Host),
            ("https://client..example/c", Refused::Host),
            ("https://a_b.example/c", Refused::Host),
            ("https:///c", Refused::Host),
            ("https://", Refused::Host),
            ("https://client.example:8443/c", Refused::Port),
            ("https://client.example:6379/c", Refused::Port),
            ("https://client.example:443/c", Refused::Spelling),
            ("https://auth.gateway.example/c", Refused::Own),
            ("https://mcp-fetch.gateway.example/c", Refused::Own),
            ("https://AUTH.gateway.example/c", Refused::Own),
            ("https://client.example", Refused::NoPath),
            ("https://client.example/", Refused::NoPath),
            ("https://client.example/?x", Refused::NoPath),
            ("https://CLIENT.example/c", Refused::Spelling),
            ("https://client.example/a/../c", Refused::Spelling),
            ("https://client.example/./c", Refused::Spelling),
            ("https://client.example/a/%2e%2E/c", Refused::Spelling),
            ("https://client.example/a/%2e/c", Refused::Spelling),
            ("https://client.example/a\\c", Refused::Spelling),
            ("https:/client.example/c", Refused::Spelling),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn only_https_is_meant_as_a_document_and_at_most_512_bytes_are_a_client_id() {
        for other in [
            "http://client.example/c",
            "mcp-abc",
            "HTTPS://client.example/c",
        ] {
            assert!(!DocumentUrl::is_meant_by(&ClientId::parse(other).unwrap()));
        }
        let long = format!("https://client.example/{}", "x".repeat(512 - 23));
        assert!(parse(&long).is_ok());
        assert!(ClientId::parse(&format!("{long}x")).is_err());
    }

    #[test]
    fn a_document_becomes_a_public_client() {
        for method in [json!("none"), Value::Null] {
            let mut document = document();
            document["token_endpoint_auth_method"] = method;
            let metadata = read(&document).unwrap();
            assert_eq!(metadata.client_name, "Example");
            assert!(metadata.may_refresh());
            assert!(metadata.admits_redirect("http://localhost:4711/cb"));
        }
        assert!(read(&document()).is_ok());
    }

    #[test]
    fn a_document_that_is_not_the_urls_own_or_holds_a_secret_is_refused() {
        let with = |name: &str, value: Value| {
            let mut document = document();
            document[name] = value;
            read(&document).unwrap_err()
        };
        for id in [
            json!("https://client.example/oauth/client.json/"),
            json!("https://CLIENT.example/oauth/client.json"),
            json!("https://other.example/oauth/client.json"),
            json!(""),
            Value::Null,
            json!([URL]),
        ] {
            assert_eq!(with("client_id", id), InvalidDocument::ClientId);
        }
        for (member, value) in [
            ("client_secret", json!("x")),
            ("client_secret", Value::Null),
            ("client_secret_expires_at", json!(0)),
        ] {
            assert_eq!(with(member, value), InvalidDocument::Secret);
        }
        for method in [
            json!("client_secret_basic"),
            json!("client_secret_post"),
            json!("client_secret_jwt"),
            json!("private_key_jwt"),
            json!(""),
            json!(1),
        ] {
            assert_eq!(
                with("token_endpoint_auth_method", method),
                InvalidDocument::AuthMethod
            );
        }
        for name in [Value::Null, json!(" "), json!(7)] {
            assert_eq!(with("client_name", name), InvalidDocument::ClientName);
        }
        for redirects in [
            json!([]),
            Value::Null,
            json!(["javascript:alert(1)"]),
            json!(["http://client.example/cb"]),
        ] {
            assert!(matches!(
                with("redirect_uris", redirects),
                InvalidDocument::Member(_)
            ));
        }
        assert_eq!(
            with("redirect_uris", json!("http://localhost/cb")),
            InvalidDocument::NotJson
        );
    }

    #[test]
    fn what_is_no_json_object_or_says_a_thing_twice_is_refused() {
        let offered = ScopeSet::default();
        let url = parse(URL).unwrap();
        for text in ["", "null", "[]", "\"x\"", "{", "<html>", "{}x"] {
            assert_eq!(
                url.read(text.as_bytes(), &offered).unwrap_err(),
                InvalidDocument::NotJson,
                "{text}"
            );
        }
        let twice = format!(
            r#"{{"client_id":"{URL}","client_name":"a","client_name":"b","redirect_uris":["http://localhost/cb"]}}"#
        );
        assert_eq!(
            url.read(twice.as_bytes(), &offered).unwrap_err(),
            InvalidDocument::NotJson
        );
    }

    #[test]
    fn no_refusal_repeats_the_document() {
        let mut document = document();
        document["redirect_uris"] = json!(["http://internal.example/secret-of-the-remote"]);
        let error = read(&document).unwrap_err();
        assert!(
            !error.to_string().contains("secret-of-the-remote"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_is_fetched_as_it_is_compared(text in "https://[a-z0-9.%:@/\\\\?#\\[\\]-]{0,40}") {
            if let Ok(url) = parse(&text) {
                prop_assert_eq!(url.url().as_str(), text.as_str());
                prop_assert_eq!(url.url().port_or_known_default(), Some(443));
                prop_assert_eq!(url.url().host_str(), Some(url.host()));
            }
        }
    }
}
