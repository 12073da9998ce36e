//! Sites, and the part of Content-Security-Policy that concerns forms.

use anyhow::{Result, bail};
use reqwest::header::HeaderValue;
use url::{Host, Url};

/// How two addresses relate, from near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    Same,
    Sibling,
    Foreign,
}

impl Site {
    pub(super) fn worse(self, other: Self) -> Self {
        self.max(other)
    }

    /// The value of `Sec-Fetch-Site`.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Same => "same-origin",
            Self::Sibling => "same-site",
            Self::Foreign => "cross-site",
        }
    }
}

pub(super) fn relation(from: &Url, to: &Url) -> Site {
    if from.origin() == to.origin() {
        Site::Same
    } else if from.scheme() == to.scheme() && site(from) == site(to) {
        Site::Sibling
    } else {
        Site::Foreign
    }
}

/// The registrable domain, good enough for the names of a test: the last two labels (`auth.localhost`, `example.com`).
fn site(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => {
            let mut labels: Vec<&str> = name.rsplit('.').take(2).collect();
            labels.reverse();
            Some(labels.join("."))
        }
        address => Some(address.to_string()),
    }
}

/// The `form-action` of a page.
#[derive(Debug)]
pub(super) struct FormAction {
    page: Url,
    sources: Vec<String>,
}

/// Reads the directive. Chrome and Safari apply it to every redirect that follows the form, and so do we.
pub(super) fn form_action<'a>(
    page: &Url,
    headers: impl IntoIterator<Item = &'a HeaderValue>,
) -> Option<FormAction> {
    let headers = headers.into_iter().filter_map(|value| value.to_str().ok());
    let mut directives = headers.flat_map(|value| value.split(';')).map(str::trim);
    let sources = directives.find_map(|directive| directive.strip_prefix("form-action"))?;
    Some(FormAction {
        page: page.clone(),
        sources: sources
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}

impl FormAction {
    pub(super) fn allows(&self, url: &Url) -> Result<()> {
        let allowed = self.sources.iter().any(|source| match source.as_str() {
            "'self'" => url.origin() == self.page.origin(),
            "*" => matches!(url.scheme(), "http" | "https"),
            scheme if scheme.ends_with(':') => url.scheme() == scheme.trim_end_matches(':'),
            origin => Url::parse(origin).is_ok_and(|origin| origin.origin() == url.origin()),
        });
        if allowed {
            return Ok(());
        }
        bail!(
            "the form-action of {} ({}) forbids its form to lead to {url}",
            self.page,
            self.sources.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn services_of_localhost_are_strangers_to_each_other_as_in_browsers() {
        let auth = url("http://auth.localhost:8080/login");
        assert_eq!(
            relation(&auth, &url("http://auth.localhost:8080/")),
            Site::Same
        );
        assert_eq!(
            relation(&auth, &url("http://auth.localhost:9090/")),
            Site::Sibling
        );
        assert_eq!(
            relation(&auth, &url("http://mcp-fetch.localhost:8080/")),
            Site::Foreign
        );
        assert_eq!(
            relation(
                &url("https://auth.example.com/"),
                &url("https://mcp.example.com/")
            ),
            Site::Sibling
        );
    }

    #[test]
    fn form_action_binds_the_whole_chain() {
        let page = url("http://auth.localhost:8080/consent");
        let header =
            HeaderValue::from_static("default-src 'none'; form-action 'self'; base-uri 'none'");
        let policy = form_action(&page, [&header]).unwrap();
        policy
            .allows(&url("http://auth.localhost:8080/login"))
            .unwrap();
        assert!(
            policy
                .allows(&url("http://127.0.0.1:9999/login/oauth/authorize"))
                .is_err()
        );
        assert!(form_action(&page, [&HeaderValue::from_static("default-src 'none'")]).is_none());
    }
}
