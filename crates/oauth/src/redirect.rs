//! Redirect URIs: what may be registered, and when a requested one is a registered one.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Longest redirect URI that is accepted, in bytes.
pub const MAX_LENGTH: usize = 2048;

/// Schemes that make a browser or the system run, open or send something instead of telling a client.
const FORBIDDEN_SCHEMES: [&str; 28] = [
    // Of browsers.
    "javascript",
    "data",
    "file",
    "vbscript",
    "blob",
    "about",
    "ws",
    "wss",
    "ftp",
    "view-source",
    "filesystem",
    "chrome",
    "resource",
    "jar",
    "intent",
    // Of systems.
    "ms-officecmd",
    "ms-msdt",
    "search-ms",
    "search",
    "smb",
    "nfs",
    "ldap",
    "ldaps",
    "ssh",
    "sftp",
    "telnet",
    "mailto",
    "tel",
];

/// A redirect URI that a client may register. It is kept exactly as it was written, because it is compared so
/// (OAuth 2.1 section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

/// Why a redirect URI is refused. The texts are for the person who writes the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// Over [`MAX_LENGTH`].
    #[error("a redirect URI may have at most {MAX_LENGTH} bytes")]
    TooLong,
    /// Spaces, control characters, wildcards, backslashes or characters outside ASCII.
    #[error("a redirect URI must be visible ASCII without wildcards and backslashes")]
    Characters,
    /// Not an absolute URI.
    #[error("a redirect URI must be absolute")]
    NotAbsolute,
    /// A fragment (RFC 6749 section 3.1.2).
    #[error("a redirect URI must not have a fragment")]
    Fragment,
    /// A user name or password before the host.
    #[error("a redirect URI must not name a user")]
    UserInfo,
    /// Plain http to another machine.
    #[error("http is allowed only for 127.0.0.1, [::1] and localhost; use https")]
    PlainHttp,
    /// A scheme that could run something in the browser, or a private one that no application can own.
    #[error(
        "the scheme of a redirect URI must be https, loopback http, or an application's own (reverse domain name, or with a host)"
    )]
    Scheme,
    /// An http(s) URI whose host is missing, or whose spelling a browser would change (`0x7f.1`, `%2e`, upper case).
    #[error("the host of a redirect URI must be written as a browser would write it")]
    Host,
}

/// Stands where no browser is sent back: a device asks us itself (RFC 8628). A client that registers it is shown the same page.
const DEVICE: &str = "device.invalid:/done";

impl RedirectUri {
    /// Takes the text if it may be registered (RFC 8252 sections 7 and 8.3, RFC 9700 section 2.1).
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        use InvalidRedirectUri as Refused;
        if text.len() > MAX_LENGTH {
            return Err(Refused::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['*', '\\', '"', '<', '>'])
        {
            return Err(Refused::Characters);
        }
        if text.contains('#') {
            return Err(Refused::Fragment);
        }
        let url = Url::parse(text).map_err(|_| Refused::NotAbsolute)?;
        // In upper case, http would not be recognised as loopback, and the person would not be warned.
        if !text.starts_with(url.scheme()) {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
            return Err(Refused::UserInfo);
        }
        match url.scheme() {
            "https" => require_plain_host(text, &url)?,
            "http" => {
                require_plain_host(text, &url)?;
                if !is_loopback(&url) {
                    return Err(Refused::PlainHttp);
                }
                if url.port() == Some(0) {
                    return Err(Refused::Host);
                }
            }
            scheme => {
                let is_reverse_domain = scheme.contains('.');
                let has_host = url.host_str().is_some_and(|host| !host.is_empty());
                let is_owned = is_reverse_domain || has_host;
                if FORBIDDEN_SCHEMES.contains(&scheme) || !is_owned {
                    return Err(Refused::Scheme);
                }
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a request's redirect URI is this registered one: byte for byte, only that the port of an http loopback
    /// URI is free (RFC 8252 section 7.3; `localhost` included because clients in use need it).
    #[must_use]
    pub fn admits(&self, requested: &str) -> bool {
        if self.0 == requested {
            return true;
        }
        let (Some(registered), Some(requested)) = (Loopback::of(&self.0), Loopback::of(requested))
        else {
            return false;
        };
        registered == requested
    }

    /// The URI as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it leads to a program on the person's own machine, reached over loopback http.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Loopback::of(&self.0).is_some()
    }

    /// Whether a browser can follow it by itself; other schemes want a click.
    #[must_use]
    pub fn is_web(&self) -> bool {
        self.0.starts_with("https://") || self.0.starts_with("http://")
    }

    /// The address of a device, which no browser goes to.
    #[must_use]
    pub(crate) fn of_device() -> Self {
        Self(DEVICE.to_owned())
    }

    /// Whether it is a device that waits, and no browser goes anywhere.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.0 == DEVICE
    }

    /// Where the browser will be sent, for a person to read: the host, or the scheme of an application.
    #[must_use]
    pub fn destination(&self) -> String {
        let authority = authority(&self.0);
        if self.is_web() {
            authority.to_owned()
        } else {
            let scheme = self.0.split(':').next().unwrap_or_default();
            format!("{scheme}://{authority}")
        }
    }

    /// This URI with parameters added to its query, the existing query kept (RFC 6749 section 4.1.2).
    #[must_use]
    pub fn with_query(&self, parameters: &[(&str, &str)]) -> String {
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let separator = match self.0.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{separator}{encoded}", self.0)
    }
}

/// The authority as written: between `//` and the next `/` or `?`. Empty when there is none.
fn authority(text: &str) -> &str {
    text.split_once("://")
        .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default())
        .unwrap_or_default()
}

/// Refuses hosts that the URL standard would rewrite: two spellings of one host are two different strings to us.
fn require_plain_host(text: &str, url: &Url) -> Result<(), InvalidRedirectUri> {
    let written = authority(text);
    let host = url.host_str().unwrap_or_default();
    let without_port = match written.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => written,
    };
    if host.is_empty() || host.ends_with('.') || without_port != host {
        return Err(InvalidRedirectUri::Host);
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        None => false,
    }
}

/// An http loopback URI without its port. Built from the text as written, never from a normalised form.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    rest: &'a str,
}

impl<'a> Loopback<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let after_scheme = text.strip_prefix("http://")?;
        let end = after_scheme
            .find(['/', '?', '#'])
            .unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme.split_at(end);
        let host = ["127.0.0.1", "[::1]", "localhost"]
            .into_iter()
            .find_map(|host| {
                authority
                    .starts_with(host)
                    .then(|| authority.split_at(host.len()))
            })
            .filter(|(_, port)| port.is_empty() || is_port(port))
            .map(|(host, _)| host)?;
        (!rest.contains('#') && rest.bytes().all(|b| b.is_ascii_graphic()))
            .then_some(Self { host, rest })
    }
}

/// `:1` to `:65535`, without leading zeros.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        !digits.starts_with(['0', '+']) && digits.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

impl TryFrom<String> for RedirectUri {
    type Error = InvalidRedirectUri;
    fn try_from(text: String) -> Result<Self, InvalidRedirectUri> {
        Self::parse(&text)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> String {
        uri.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
