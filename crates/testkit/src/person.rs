//! A person with a browser who wants to sign in: reads the pages, presses the buttons, types the password.

use anyhow::{Result, bail};
use url::Url;

use crate::browser::{Arrival, Browser, Page};

/// More pages than any sign-in shows.
const MAX_PAGES: usize = 6;

/// How a person proves who they are.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// To the provider `local`.
    Local {
        /// Name in the configuration.
        username: String,
        /// Password in the clear.
        password: String,
    },
    /// To (the fake) GitHub.
    GitHub {
        /// The login there.
        login: String,
    },
    /// To a provider of OpenID Connect, which takes any password.
    OpenId {
        /// The login there.
        login: String,
    },
}

/// A person at a browser.
#[derive(Debug)]
pub struct Person {
    /// The browser, for looking more closely.
    pub browser: Browser,
    credentials: Credentials,
}

impl Person {
    /// A person with a fresh browser.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn new(credentials: Credentials) -> Result<Self> {
        Ok(Self {
            browser: Browser::new()?,
            credentials,
        })
    }

    /// Opens the authorization URL, approves what our consent page shows, signs in where asked, and returns the address at the
    /// client (`redirect_uri`) to which the browser is sent in the end: with `code`, or with `error`.
    ///
    /// # Errors
    ///
    /// If a page has no form that a person could use: its text is in the message.
    pub async fn approve(&self, authorization: &Url, redirect_uri: &Url) -> Result<Url> {
        self.browser.stop_at(redirect_uri);
        let consent = self.consent_page(authorization).await?;
        let form = consent.form("decision")?.press("decision", "approve")?;
        let mut arrival = self.browser.submit(&consent, &form).await?;
        for _ in 0..MAX_PAGES {
            match arrival {
                Arrival::Client { url, .. } => return Ok(url),
                Arrival::Page(page) => arrival = self.sign_in(&page).await?,
            }
        }
        bail!("{MAX_PAGES} pages and still not at the client")
    }

    /// Opens the authorization URL and presses *deny* on our consent page.
    ///
    /// # Errors
    ///
    /// As [`Self::approve`].
    pub async fn deny(&self, authorization: &Url, redirect_uri: &Url) -> Result<Url> {
        self.browser.stop_at(redirect_uri);
        let consent = self.consent_page(authorization).await?;
        let form = consent.form("decision")?.press("decision", "deny")?;
        self.browser.submit(&consent, &form).await?.client()
    }

    /// The consent page that an authorization URL leads to.
    ///
    /// # Errors
    ///
    /// If the browser is sent elsewhere.
    pub async fn consent_page(&self, authorization: &Url) -> Result<Page> {
        self.browser.open(authorization).await?.page()
    }

    /// Fills the sign-in form of a page, whichever it is, and sends it.
    ///
    /// # Errors
    ///
    /// If the page has no such form.
    pub async fn sign_in(&self, page: &Page) -> Result<Arrival> {
        let form = match &self.credentials {
            Credentials::Local { username, password } => page
                .form("password")?
                .fill("username", username)
                .fill("password", password),
            Credentials::GitHub { login } => page
                .form("login")?
                .fill("login", login)
                .press("authorize", "1")?,
            // First it asks who, then whether.
            Credentials::OpenId { login } => match page.form("login") {
                Ok(form) => form.fill("login", login).fill("password", "any"),
                Err(_) => page.form("prompt")?,
            },
        };
        self.browser.submit(page, &form).await
    }
}
