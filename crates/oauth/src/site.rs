//! The hosts of one installation: `auth.DOMAIN` and one `SERVICE.DOMAIN` per MCP server, and the URLs made of them.
//!
//! Every public URL in an answer is built here, from configuration. What a request says about its own host only selects
//! among these.

use std::collections::BTreeSet;

use crate::id::ServiceName;

/// The path of the MCP endpoint on a service's host.
pub const MCP_PATH: &str = "/mcp";

/// Which of our hosts a request was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// The authorization server's own host.
    Auth,
    /// The host of a service.
    Service(ServiceName),
}

/// The installation's hosts.
#[derive(Debug, Clone)]
pub struct Sites {
    scheme: &'static str,
    domain: String,
    port: Option<u16>,
    services: BTreeSet<ServiceName>,
}

/// Why the public address of the installation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSites {
    /// Not a host name in lower case.
    #[error(
        "{0:?} is not a domain: write a host name in lower case such as example.com, without scheme, port or final dot"
    )]
    Domain(String),
    /// Neither `http` nor `https`.
    #[error("{0:?} is not a scheme: use https, or http on localhost")]
    Scheme(String),
    /// Tokens would cross the network in the clear (RFC 8414 section 2).
    #[error(
        "http is allowed only for localhost, because tokens would cross the network in the clear; use https for {0}"
    )]
    PlainHttp(String),
}

impl Sites {
    /// The hosts below `domain`. A port equal to the scheme's own is dropped, as clients drop it.
    pub fn new(
        scheme: &str,
        domain: &str,
        port: Option<u16>,
        services: impl IntoIterator<Item = ServiceName>,
    ) -> Result<Self, InvalidSites> {
        let is_domain = !domain.is_empty()
            && domain.len() <= 189
            && domain
                .split('.')
                .all(|label| ServiceName::parse(label).is_ok());
        if !is_domain {
            return Err(InvalidSites::Domain(domain.to_owned()));
        }
        let (scheme, default_port) = match scheme {
            "https" => ("https", 443),
            "http" => ("http", 80),
            other => return Err(InvalidSites::Scheme(other.to_owned())),
        };
        let is_local = domain == "localhost" || domain.ends_with(".localhost");
        if scheme == "http" && !is_local {
            return Err(InvalidSites::PlainHttp(domain.to_owned()));
        }
        Ok(Self {
            scheme,
            domain: domain.to_owned(),
            port: port.filter(|port| *port != default_port),
            services: services.into_iter().collect(),
        })
    }

    /// The same address with these services.
    #[must_use]
    pub fn with_services(&self, services: impl IntoIterator<Item = ServiceName>) -> Self {
        Self {
            services: services.into_iter().collect(),
            ..self.clone()
        }
    }

    /// The services, in order of their names.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.iter()
    }

    /// The service of that name, if there is one.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceName> {
        self.services
            .iter()
            .find(|service| service.as_str() == name)
    }

    /// Whether there is this service.
    #[must_use]
    pub fn has(&self, service: &ServiceName) -> bool {
        self.services.contains(service)
    }

    /// Whether cookies and URLs go over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// The issuer identifier (RFC 8414 section 2): an origin without a final slash.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.origin("auth")
    }

    /// Where tokens are asked for: at the issuer, but over plain `http` at the loopback address. Clients refuse to send credentials
    /// unencrypted to any other machine, and not all of them know that what is below `localhost` is this one.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        let origin = match (self.is_https(), self.port) {
            (true, _) => self.issuer(),
            (false, Some(port)) => format!("http://127.0.0.1:{port}"),
            (false, None) => "http://127.0.0.1".to_owned(),
        };
        format!("{origin}/token")
    }

    /// The origin of a service, without a final slash.
    #[must_use]
    pub fn service_origin(&self, service: &ServiceName) -> String {
        self.origin(service.as_str())
    }

    /// The resource identifier of a service (RFC 8707 section 2), which is the URL that people type: its MCP endpoint.
    #[must_use]
    pub fn resource(&self, service: &ServiceName) -> String {
        format!("{}{MCP_PATH}", self.service_origin(service))
    }

    /// Where the metadata of a service's MCP endpoint is (RFC 9728 section 3.1).
    #[must_use]
    pub fn resource_metadata(&self, service: &ServiceName) -> String {
        format!(
            "{}/.well-known/oauth-protected-resource{MCP_PATH}",
            self.service_origin(service)
        )
    }

    /// Which host a `Host` or `X-Forwarded-Host` value names, if it is one of ours.
    #[must_use]
    pub fn site_of(&self, host: &str) -> Option<Site> {
        let name = canonical_host(host)?;
        let label = name.strip_suffix(&self.domain)?.strip_suffix('.')?;
        match label {
            "auth" => Some(Site::Auth),
            label => self.service(label).cloned().map(Site::Service),
        }
    }

    /// Which service a `resource` parameter names (RFC 8707 section 2). Clients write it with or without the path, with a
    /// final slash, in upper case: all of these are one resource.
    #[must_use]
    pub fn service_of_resource(&self, resource: &str) -> Option<&ServiceName> {
        if resource.contains('#') {
            return None;
        }
        let url = url::Url::parse(resource).ok()?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let path_fits = matches!(url.path(), "" | "/" | "/mcp" | "/mcp/");
        if has_user || !path_fits || url.query().is_some() {
            return None;
        }
        let origin = url.origin().ascii_serialization();
        self.services
            .iter()
            .find(|service| self.service_origin(service) == origin)
    }

    fn origin(&self, label: &str) -> String {
        let Self {
            scheme,
            domain,
            port,
            ..
        } = self;
        match port {
            Some(port) => format!("{scheme}://{label}.{domain}:{port}"),
            None => format!("{scheme}://{label}.{domain}"),
        }
    }
}

/// One spelling for a host: ASCII lower case, without port and without one final dot. `None` if it is not a plain host
/// name: then nothing of ours has that name.
#[must_use]
pub fn canonical_host(raw: &str) -> Option<String> {
    let name = match raw.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) => return None,
        None => raw,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_plain = !name.is_empty()
        && name.len() <= 253
        && name
            .split('.')
            .all(|label| ServiceName::parse(label).is_ok());
    is_plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sites() -> Sites {
        let services = ["mcp-fetch", "mcp-echo"].map(|name| ServiceName::parse(name).unwrap());
        Sites::new("http", "localhost", Some(8080), services).unwrap()
    }

    #[test]
    fn without_tls_tokens_are_to_be_had_at_the_loopback_address() {
        for (scheme, domain, port, expected) in [
            (
                "http",
                "localhost",
                Some(8080),
                "http://127.0.0.1:8080/token",
            ),
            ("http", "mine.localhost", None, "http://127.0.0.1/token"),
            (
                "https",
                "localhost",
                Some(8443),
                "https://auth.localhost:8443/token",
            ),
            (
                "https",
                "example.com",
                None,
                "https://auth.example.com/token",
            ),
        ] {
            let sites = Sites::new(scheme, domain, port, []).unwrap();
            assert_eq!(sites.token_endpoint(), expected);
        }
    }

    #[test]
    fn urls_come_from_configuration() {
        let sites = sites();
        let fetch = sites.service("mcp-fetch").unwrap();
        assert_eq!(sites.issuer(), "http://auth.localhost:8080");
        assert_eq!(sites.resource(fetch), "http://mcp-fetch.localhost:8080/mcp");
        assert_eq!(
            sites.resource_metadata(fetch),
            "http://mcp-fetch.localhost:8080/.well-known/oauth-protected-resource/mcp"
        );
        let production = Sites::new("https", "example.com", Some(443), []).unwrap();
        assert_eq!(production.issuer(), "https://auth.example.com");
    }

    #[test]
    fn plain_http_is_for_localhost_only() {
        assert!(matches!(
            Sites::new("http", "example.com", None, []),
            Err(InvalidSites::PlainHttp(_))
        ));
        assert!(Sites::new("https", "example.com", None, []).is_ok());
        for bad in [
            "",
            "Example.com",
            "https://example.com",
            "example.com.",
            "a..b",
            "example.com:80",
        ] {
            assert!(
                matches!(
                    Sites::new("https", bad, None, []),
                    Err(InvalidSites::Domain(_))
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn spellings_of_our_hosts_are_one() {
        for host in [
            "mcp-fetch.localhost",
            "MCP-Fetch.LOCALHOST",
            "mcp-fetch.localhost:18080",
            "mcp-fetch.localhost.",
            "mcp-fetch.localhost.:80",
            "mcp-fetch.localhost:",
        ] {
            assert_eq!(
                sites().site_of(host),
                Some(Site::Service(ServiceName::parse("mcp-fetch").unwrap())),
                "{host}"
            );
        }
        assert_eq!(sites().site_of("auth.localhost:8080"), Some(Site::Auth));
        for host in [
            "",
            "localhost",
            ".localhost",
            "mcp-other.localhost",
            "mcp-fetch.localhost..",
            "x.mcp-fetch.localhost",
            "mcp-fetch.localhost, evil",
            "a@mcp-fetch.localhost",
            "mcp-fetch.localhost:80x",
            "mcp-fetchlocalhost",
        ] {
            assert_eq!(sites().site_of(host), None, "{host}");
        }
    }

    #[test]
    fn spellings_of_a_resource_are_one() {
        let sites = sites();
        for resource in [
            "http://mcp-fetch.localhost:8080/mcp",
            "http://mcp-fetch.localhost:8080",
            "http://mcp-fetch.localhost:8080/",
            "http://mcp-fetch.localhost:8080/mcp/",
            "HTTP://MCP-FETCH.localhost:8080/mcp",
        ] {
            assert_eq!(
                sites.service_of_resource(resource).map(ServiceName::as_str),
                Some("mcp-fetch"),
                "{resource}"
            );
        }
        for resource in [
            "",
            "mcp-fetch",
            "http://mcp-fetch.localhost/mcp",
            "https://mcp-fetch.localhost:8080/mcp",
            "http://mcp-fetch.localhost:8080/other",
            "http://mcp-fetch.localhost:8080/mcp#x",
            "http://mcp-fetch.localhost:8080/mcp?x",
            "http://u@mcp-fetch.localhost:8080/mcp",
            "http://auth.localhost:8080",
        ] {
            assert_eq!(sites.service_of_resource(resource), None, "{resource}");
        }
    }

    /// The text with some letters in upper case.
    fn in_any_case(text: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<bool>(), text.len()).prop_map(|upper| {
            let letters = text.chars().zip(upper);
            letters
                .map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c })
                .collect()
        })
    }

    const RESOURCE: &str = "http://mcp-fetch.localhost:8080/mcp";

    proptest! {
        #[test]
        fn every_spelling_of_a_host_is_its_service(
            host in in_any_case("mcp-fetch.localhost"), dot in "\\.?", port in "(:[0-9]{0,5})?",
        ) {
            let spelling = format!("{host}{dot}{port}");
            let expected = Site::Service(ServiceName::parse("mcp-fetch").unwrap());
            prop_assert_eq!(sites().site_of(&spelling), Some(expected), "{}", spelling);
        }

        #[test]
        fn a_host_with_anything_more_in_it_is_none_of_ours(at in 0usize..=19, more in "[^a-zA-Z0-9.:-]{1,3}") {
            let (before, after) = "mcp-fetch.localhost".split_at(at);
            let text = format!("{before}{more}{after}");
            prop_assert_eq!(sites().site_of(&text), None, "{}", text);
        }

        #[test]
        fn every_spelling_of_a_resource_is_its_service(
            scheme in in_any_case("http"), host in in_any_case("mcp-fetch.localhost"), path in "(/|/mcp|/mcp/)?",
        ) {
            let resource = format!("{scheme}://{host}:8080{path}");
            let sites = sites();
            let service = sites.service_of_resource(&resource).map(ServiceName::as_str);
            prop_assert_eq!(service, Some("mcp-fetch"), "{}", resource);
        }

        /// Whatever is changed in a resource: what is still taken means this very endpoint to every URL parser.
        #[test]
        fn no_other_text_is_taken_for_a_resource(
            from in prop_oneof![0usize..=35, 28usize..=35], length in 0usize..4,
            more in "[?#@:/%\\\\]?[a-zA-Z0-9.:@/?#%\\\\_ -]{0,3}",
        ) {
            let to = (from + length).min(RESOURCE.len());
            let text = format!("{}{more}{}", &RESOURCE[..from], &RESOURCE[to..]);
            if let Some(service) = sites().service_of_resource(&text) {
                let url = url::Url::parse(&text).unwrap();
                prop_assert_eq!(url.scheme(), "http");
                let host = format!("{service}.localhost");
                prop_assert_eq!(url.host_str(), Some(host.as_str()));
                prop_assert_eq!(url.port(), Some(8080));
                prop_assert!(["/", "/mcp", "/mcp/"].contains(&url.path()), "{}", text);
                let rest = (url.username(), url.password(), url.query(), url.fragment());
                prop_assert_eq!(rest, ("", None, None, None), "{}", text);
            }
        }

        #[test]
        fn no_other_text_is_taken_for_a_service(text in "\\PC{0,40}") {
            if let Some(Site::Service(name)) = sites().site_of(&text) {
                let canonical = canonical_host(&text).unwrap();
                prop_assert_eq!(canonical, format!("{name}.localhost"));
            }
        }

        #[test]
        fn canonical_host_is_idempotent(text in "[a-zA-Z0-9.:-]{0,40}") {
            if let Some(once) = canonical_host(&text) {
                prop_assert_eq!(canonical_host(&once), Some(once));
            }
        }
    }
}
