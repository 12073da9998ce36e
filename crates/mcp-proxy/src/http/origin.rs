//! Who may call from a browser: `Origin` and `Host` (MCP 2026-07-28, streamable HTTP, "Security & Endpoint").
//!
//! A page that a person visits can make their browser send requests to any address, this one included, and with DNS
//! rebinding even read the answers. Its origin, or the host name it uses, gives it away.

use std::net::IpAddr;

use actix_web::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use actix_web::http::uri::Authority;
use url::{Host, Url};

/// The names this service is called by.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is refused. The answer is 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// `Host` is missing, repeated, or not a name of this service.
    #[error(
        "the Host header does not name this service: add the name to ALLOWED_HOSTS if it should"
    )]
    Host,
    /// `Origin` is repeated, or not allowed.
    #[error(
        "requests from this Origin are not allowed: add it to ALLOWED_ORIGINS if they should be"
    )]
    Origin,
}

impl Allowed {
    /// `hosts`: names besides loopback ones; `*.name` for everything below a name, `*` for any. `origins`: serialised origins
    /// (RFC 6454, section 6.2) besides loopback ones.
    #[must_use]
    pub fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |values: &[String]| {
            values
                .iter()
                .map(|value| value.trim_end_matches('/').to_ascii_lowercase())
                .collect()
        };
        Self {
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Checks both headers. `target`: the authority of an absolute request target, which counts more than `Host`
    /// (RFC 9112, section 3.2.2).
    pub fn check(&self, headers: &HeaderMap, target: Option<&Authority>) -> Result<(), Forbidden> {
        if target.is_some_and(|target| !self.host(target.as_str())) {
            return Err(Forbidden::Host);
        }
        let host = single(headers, &HOST)
            .ok()
            .flatten()
            .ok_or(Forbidden::Host)?;
        if !self.host(host) {
            return Err(Forbidden::Host);
        }
        match single(headers, &ORIGIN) {
            Ok(None) => Ok(()),
            Ok(Some(origin)) if self.origin(origin) => Ok(()),
            Ok(Some(_)) | Err(Repeated) => Err(Forbidden::Origin),
        }
    }

    fn host(&self, value: &str) -> bool {
        let name = without_port(value);
        // One final dot names the same host (RFC 1034 section 3.1); Traefik routes it and the authorization server takes it.
        let name = name.strip_suffix('.').unwrap_or(name);
        if is_loopback_name(name) || self.hosts.iter().any(|host| host == "*") {
            return true;
        }
        let name = name.to_ascii_lowercase();
        self.hosts.iter().any(|host| match host.strip_prefix('*') {
            Some(suffix) => {
                suffix.starts_with('.') && name.len() > suffix.len() && name.ends_with(suffix)
            }
            None => *host == name || *host == value.to_ascii_lowercase(),
        })
    }

    fn origin(&self, value: &str) -> bool {
        // `null` and anything else that is not an origin has no parse or an opaque origin.
        let Ok(url) = Url::parse(value) else {
            return false;
        };
        let origin = url.origin();
        if !origin.is_tuple() || !url.username().is_empty() || url.password().is_some() {
            return false;
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => is_loopback_name(name),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let serialised = origin.ascii_serialization();
        loopback || self.origins.contains(&serialised)
    }
}

/// A header came more than once, or is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The value of a header that may be there at most once.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Repeated> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(|text| Some(text.trim()))
            .map_err(|_| Repeated),
        (Some(_), Some(_)) => Err(Repeated),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let allowed = Allowed::new(
            &["mcp-fetch.example.com".to_owned(), "*.localhost".to_owned()],
            &[],
        );
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.9.9.9:80",
            "[::1]:3000",
            "[::1]",
            "mcp-fetch.example.com",
            "MCP-Fetch.example.com:443",
            "mcp-echo.localhost:8080",
            "mcp-fetch.example.com.",
            "mcp-fetch.example.com.:443",
        ] {
            assert!(allowed.host(host), "{host}");
        }
        for host in [
            "",
            "evil.example.com",
            "localhost.evil.com",
            "evil-localhost",
            "127.0.0.1.nip.io",
            "example.com",
            "a.mcp-fetch.example.com",
            ".localhost",
            "localhost:3000:1",
            "10.0.0.1",
            "[::2]",
            "localhost@evil.com",
            "mcp-fetch.example.com..",
            ".",
        ] {
            assert!(!allowed.host(host), "{host}");
        }
        assert!(Allowed::new(&["*".to_owned()], &[]).host("evil.example.com"));
    }

    #[test]
    fn origins() {
        let allowed = Allowed::new(&[], &["https://app.example.com/".to_owned()]);
        for origin in [
            "http://localhost:6274",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "https://app.example.com",
            "https://app.example.com:443",
            "HTTPS://APP.example.com",
        ] {
            assert!(allowed.origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "http://localhost.evil.com",
            "file:///",
            "http://localhost@evil.com",
            "data:text/html,x",
        ] {
            assert!(!allowed.origin(origin), "{origin}");
        }
    }
}
