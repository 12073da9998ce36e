//! The cookie jar: RFC 6265 by the library, the promises of RFC 6265bis and `SameSite` on top.

use anyhow::Result;
use cookie_store::{CookieStore, RawCookie};
use reqwest::Method;
use url::Url;

/// A cookie that a browser would not keep: the server relies on one that will never come back.
#[derive(Debug)]
pub struct CookieRefused {
    /// Name of the cookie.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl std::fmt::Display for CookieRefused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "a browser refuses the cookie {}: {}",
            self.name, self.reason
        )
    }
}

impl std::error::Error for CookieRefused {}

#[derive(Debug, Default)]
pub(super) struct Jar {
    store: CookieStore,
}

impl Jar {
    /// Keeps a cookie, or says why no browser would.
    pub(super) fn store(&mut self, header: &str, url: &Url) -> Result<()> {
        let cookie = RawCookie::parse(header.to_owned())?;
        if let Some(reason) = refusal(&cookie, url) {
            return Err(CookieRefused {
                name: cookie.name().to_owned(),
                reason,
            }
            .into());
        }
        // An expired cookie removes the old one; the library reports that as an error of its own kind.
        match self.store.insert_raw(&cookie, url) {
            Ok(_) | Err(cookie_store::CookieError::Expired) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The `Cookie` header of a top-level navigation. `same_site` = started on the same site or by the person.
    pub(super) fn header(&self, url: &Url, same_site: bool, method: &Method) -> String {
        let sent = self.store.matches(url).into_iter().filter(|cookie| {
            // No attribute means Lax; Lax goes with foreign navigations if they only read.
            let strict = cookie.same_site().is_some_and(|rule| rule.is_strict());
            let none = cookie.same_site().is_some_and(|rule| rule.is_none());
            same_site || none || (!strict && *method == Method::GET)
        });
        sent.map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub(super) fn names(&self, url: &Url) -> Vec<String> {
        let cookies = self.store.matches(url).into_iter();
        cookies.map(|cookie| cookie.name().to_owned()).collect()
    }

    pub(super) fn values(&self) -> Vec<String> {
        let cookies = self.store.iter_any();
        cookies.map(|cookie| cookie.value().to_owned()).collect()
    }
}

fn refusal(cookie: &RawCookie<'_>, url: &Url) -> Option<&'static str> {
    let secure = cookie.secure().unwrap_or(false);
    if secure && url.scheme() != "https" {
        return Some("it is Secure, the page is not https");
    }
    if cookie.name().starts_with("__Secure-") && !secure {
        return Some("__Secure- without Secure");
    }
    if cookie.name().starts_with("__Host-") {
        if !secure {
            return Some("__Host- without Secure");
        }
        if cookie.domain().is_some() {
            return Some("__Host- with Domain");
        }
        if cookie.path() != Some("/") {
            return Some("__Host- without Path=/");
        }
    }
    if cookie
        .domain()
        .is_some_and(|domain| !domain.trim_start_matches('.').contains('.'))
    {
        return Some("Domain is a whole top-level domain");
    }
    if cookie.same_site().is_some_and(|rule| rule.is_none()) && !secure {
        return Some("SameSite=None without Secure");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn cookies_that_browsers_refuse_are_errors() {
        let https = url("https://auth.example.com/login");
        let http = url("http://auth.localhost:8080/login");
        for (cookie, page) in [
            ("__Host-a=1; Path=/; HttpOnly", &https),
            ("__Host-a=1; Path=/login; Secure", &https),
            ("__Host-a=1; Path=/; Secure; Domain=example.com", &https),
            ("__Host-a=1; Path=/; Secure", &http),
            ("a=1; Secure", &http),
            ("a=1; SameSite=None", &http),
            ("a=1; Domain=localhost", &http),
        ] {
            let error = Jar::default().store(cookie, page).unwrap_err();
            assert!(error.is::<CookieRefused>(), "{cookie}: {error}");
        }
        Jar::default()
            .store("__Host-a=1; Path=/; Secure", &https)
            .unwrap();
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_only_and_ends_when_told() {
        let mut jar = Jar::default();
        let page = url("http://auth.localhost:8080/login");
        jar.store("a=1; Path=/; HttpOnly; SameSite=Lax", &page)
            .unwrap();
        assert_eq!(jar.header(&page, true, &Method::GET), "a=1");
        assert_eq!(
            jar.header(&url("http://mcp-fetch.localhost:8080/"), true, &Method::GET),
            ""
        );
        jar.store("a=; Path=/; Max-Age=0", &page).unwrap();
        assert_eq!(jar.header(&page, true, &Method::GET), "");
    }

    #[test]
    fn lax_comes_along_on_foreign_links_but_not_on_foreign_forms() {
        let mut jar = Jar::default();
        let page = url("http://auth.localhost:8080/callback");
        jar.store("lax=1; Path=/; SameSite=Lax", &page).unwrap();
        jar.store("strict=1; Path=/; SameSite=Strict", &page)
            .unwrap();
        assert_eq!(jar.header(&page, false, &Method::GET), "lax=1");
        assert_eq!(jar.header(&page, false, &Method::POST), "");
    }
}
