//! A person's browser: cookies per host, redirects, forms, and the headers a browser adds by itself.
//!
//! It is as strict as the strictest browser in use: a `Secure` cookie is neither kept nor sent over plain HTTP, `__Host-` cookies
//! must keep their promise (RFC 6265bis section 4.1.3), a form's redirect chain must obey the page's `form-action`, a page with
//! `Referrer-Policy: no-referrer` sends `Origin: null` (Fetch standard, "append a request Origin header").

mod cookies;
mod page;
mod policy;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use reqwest::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, ORIGIN, SET_COOKIE,
};
use reqwest::{Method, StatusCode};
use url::Url;

pub use self::cookies::CookieRefused;
use self::cookies::Jar;
pub use self::page::{Form, Page};
use self::policy::Site;
use crate::network;

/// More redirects than any sign-in has.
const MAX_REDIRECTS: usize = 20;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// One step of a navigation: what was asked and how it was answered.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The address.
    pub url: Url,
    /// GET or POST.
    pub method: Method,
    /// The status of the answer.
    pub status: StatusCode,
    /// The headers of the answer.
    pub headers: HeaderMap,
}

/// Where a navigation ended.
#[derive(Debug)]
pub enum Arrival {
    /// At a page.
    Page(Page),
    /// At a program on this machine: the address belongs to the OAuth client, not to the browser.
    Client {
        /// The whole address, with `code` or `error`.
        url: Url,
        /// The steps that led there.
        chain: Vec<Hop>,
    },
}

impl Arrival {
    /// The page.
    ///
    /// # Errors
    ///
    /// If the browser was sent to the client instead.
    pub fn page(self) -> Result<Page> {
        match self {
            Self::Page(page) => Ok(page),
            Self::Client { url, .. } => bail!("expected a page, but the browser was sent to {url}"),
        }
    }

    /// The address at the client.
    ///
    /// # Errors
    ///
    /// If the browser stands at a page instead; its title and text are in the message.
    pub fn client(self) -> Result<Url> {
        match self {
            Self::Client { url, .. } => Ok(url),
            Self::Page(page) => bail!(
                "expected to be sent to the client, but stand at {} ({}): {}",
                page.url,
                page.status,
                page.text()
            ),
        }
    }

    /// The steps that led here.
    #[must_use]
    pub fn chain(&self) -> &[Hop] {
        match self {
            Self::Page(page) => &page.chain,
            Self::Client { chain, .. } => chain,
        }
    }
}

/// One browser profile. Two of them share nothing.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    jar: Mutex<Jar>,
    client: Mutex<Option<Url>>,
}

/// What makes a request of a navigation.
struct Request {
    method: Method,
    url: Url,
    body: Option<String>,
    /// Where the navigation was started from; `None` = typed by the person.
    from: Option<Url>,
    /// The page's wish not to say where it came from.
    no_referrer: bool,
}

impl Browser {
    /// A fresh profile.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn new() -> Result<Self> {
        Ok(Self {
            http: network::http_client()?,
            jar: Mutex::new(Jar::default()),
            client: Mutex::new(None),
        })
    }

    /// Says which address belongs to the OAuth client: a redirect there is captured, whatever its query, not followed.
    /// Private schemes (`cursor://…`) never are followed.
    pub fn stop_at(&self, redirect_uri: &Url) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        *client = Some(redirect_uri.clone());
    }

    /// Goes to an address that the person typed or clicked in another program.
    ///
    /// # Errors
    ///
    /// If a server does not answer, a redirect is broken, or a cookie breaks a promise.
    pub async fn open(&self, url: &Url) -> Result<Arrival> {
        self.navigate(
            Request {
                method: Method::GET,
                url: url.clone(),
                body: None,
                from: None,
                no_referrer: false,
            },
            None,
        )
        .await
    }

    /// Follows a link of a page.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn follow(&self, page: &Page, href: &str) -> Result<Arrival> {
        let url = page.url.join(href).context("a link of the page")?;
        self.navigate(
            Request {
                method: Method::GET,
                url,
                body: None,
                from: Some(page.url.clone()),
                no_referrer: page.no_referrer(),
            },
            None,
        )
        .await
    }

    /// Sends a form of `page`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and if the page's policy forbids a step.
    pub async fn submit(&self, page: &Page, form: &Form) -> Result<Arrival> {
        let mut url = page.url.join(&form.action).context("action of the form")?;
        let fields = form.encoded()?;
        let body = if form.method == Method::POST {
            Some(fields)
        } else {
            url.set_query(Some(&fields));
            None
        };
        let request = Request {
            method: form.method.clone(),
            url,
            body,
            from: Some(page.url.clone()),
            no_referrer: page.no_referrer(),
        };
        let policy = policy::form_action(&page.url, page.headers.get_all(CONTENT_SECURITY_POLICY));
        self.navigate(request, policy.as_ref()).await
    }

    /// The names of the cookies that a GET of `url` would carry.
    #[must_use]
    pub fn cookie_names(&self, url: &Url) -> Vec<String> {
        self.jar().names(url)
    }

    /// The values of all cookies: secrets that a log must not contain.
    #[must_use]
    pub fn cookie_values(&self) -> Vec<String> {
        self.jar().values()
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, Jar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn belongs_to_client(&self, url: &Url) -> bool {
        if !matches!(url.scheme(), "http" | "https") {
            return true;
        }
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client
            .as_ref()
            .is_some_and(|client| client.origin() == url.origin() && client.path() == url.path())
    }

    async fn navigate(
        &self,
        mut request: Request,
        policy: Option<&policy::FormAction>,
    ) -> Result<Arrival> {
        let mut chain = Vec::new();
        // Over a chain of redirects the relation only gets worse: once foreign, always foreign.
        let mut relation = Site::Same;
        while chain.len() <= MAX_REDIRECTS {
            if let Some(policy) = policy {
                policy.allows(&request.url)?;
            }
            if self.belongs_to_client(&request.url) {
                return Ok(Arrival::Client {
                    url: request.url,
                    chain,
                });
            }
            if let Some(from) = &request.from {
                relation = relation.worse(policy::relation(from, &request.url));
            }
            let response = self.send(&request, relation).await?;
            let hop = Hop {
                url: request.url.clone(),
                method: request.method.clone(),
                status: response.status(),
                headers: response.headers().clone(),
            };
            let location = hop
                .status
                .is_redirection()
                .then(|| hop.headers.get(LOCATION))
                .flatten();
            let Some(location) = location else {
                chain.push(hop.clone());
                let body = response.text().await.context("body of the page")?;
                return Ok(Arrival::Page(Page {
                    url: hop.url,
                    status: hop.status,
                    headers: hop.headers,
                    body,
                    chain,
                }));
            };
            let target = request
                .url
                .join(location.to_str()?)
                .with_context(|| format!("redirect of {} leads nowhere", request.url))?;
            let keeps_method = matches!(hop.status.as_u16(), 307 | 308);
            request = Request {
                method: if keeps_method {
                    request.method
                } else {
                    Method::GET
                },
                body: if keeps_method { request.body } else { None },
                // A navigation that the person began has no initiator, through all its redirects.
                from: request.from.map(|_| request.url),
                url: target,
                no_referrer: request.no_referrer,
            };
            chain.push(hop);
        }
        bail!("more than {MAX_REDIRECTS} redirects: {chain:?}")
    }

    async fn send(&self, request: &Request, relation: Site) -> Result<reqwest::Response> {
        let typed = request.from.is_none();
        let site = if typed { "none" } else { relation.header() };
        let mut headers = HeaderMap::from_iter([
            (
                ACCEPT,
                HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"),
            ),
            (SEC_FETCH_SITE, HeaderValue::from_str(site)?),
            (SEC_FETCH_MODE, HeaderValue::from_static("navigate")),
            (SEC_FETCH_DEST, HeaderValue::from_static("document")),
        ]);
        let same_site = typed || relation != Site::Foreign;
        let cookies = self.jar().header(&request.url, same_site, &request.method);
        if !cookies.is_empty() {
            headers.insert(COOKIE, HeaderValue::from_str(&cookies)?);
        }
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone());
        if let Some(body) = &request.body {
            let origin = match &request.from {
                Some(from) if !request.no_referrer => from.origin().ascii_serialization(),
                _ => "null".to_owned(),
            };
            headers.insert(ORIGIN, HeaderValue::from_str(&origin)?);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
            builder = builder
                .header(
                    reqwest::header::CONTENT_TYPE,
                    "application/x-www-form-urlencoded",
                )
                .body(body.clone());
        }
        let response = builder
            .headers(headers)
            .send()
            .await
            .with_context(|| format!("{} {}", request.method, request.url))?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            self.jar().store(cookie.to_str()?, &request.url)?;
        }
        Ok(response)
    }
}
