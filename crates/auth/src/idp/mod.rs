//! Identity providers: who knows the people.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod directory;
pub(crate) mod github;
pub(crate) mod local;
pub(crate) mod oidc;
mod password;

use std::sync::Arc;
use std::time::Duration;

use oauth::identity::Identity;
use oauth::secret::{Plain, State};
use oauth::token::DerivationKey;
use oauth::{AuthorizationId, Clock, Sites};

use crate::settings::ProviderSettings;

/// The configured provider.
#[derive(Debug)]
pub(crate) enum IdentityProvider {
    /// GitHub, or GitHub Enterprise.
    GitHub(github::GitHub),
    /// Names and hashes from the configuration.
    Local(local::Local),
    /// Any issuer of OpenID Connect.
    Oidc(Box<oidc::Oidc>),
}

/// Why a provider did not tell who somebody is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// It does not answer, or answers 5xx or 429.
    #[error("it does not answer: {why}")]
    Unavailable {
        why: String,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// It refused the code: too old, used, or not ours.
    #[error("it refused the sign-in: {0}")]
    Refused(String),
    /// It answered something that cannot be understood, or must not be believed.
    #[error("it answered something unexpected: {0}")]
    Unexpected(String),
}

impl ProviderError {
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable {
            why: why.into(),
            retry_after: None,
        }
    }
}

/// What travels through the identity provider: which sign-in, and the secret that proves the way back.
#[derive(Debug)]
pub(crate) struct SignInState {
    pub(crate) id: AuthorizationId,
    pub(crate) secret: Plain<State>,
}

impl SignInState {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (secret, id) = text.split_once('.')?;
        Some(Self {
            id: AuthorizationId::parse(id).ok()?,
            secret: Plain::parse(secret)?,
        })
    }

    pub(crate) fn expose(&self) -> String {
        format!("{}.{}", self.secret.expose(), self.id)
    }
}

/// With what the provider sent the browser back, besides the `state`.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The code, or why there is none (RFC 6749 section 4.1.2.1).
    pub(crate) outcome: Result<String, Option<String>>,
    /// Who says so (RFC 9207).
    pub(crate) issuer: Option<String>,
}

impl IdentityProvider {
    pub(crate) fn new(
        settings: ProviderSettings,
        sites: &Sites,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let callback = format!("{}/callback", sites.issuer());
        Ok(match settings {
            ProviderSettings::Local(users) => Self::Local(local::Local::new(users)),
            ProviderSettings::GitHub {
                client_id,
                client_secret,
                url,
                api_url,
            } => Self::GitHub(github::GitHub::new(github::Options {
                client_id,
                client_secret,
                url,
                api_url,
                callback,
            })?),
            ProviderSettings::Oidc(settings) => {
                Self::Oidc(Box::new(oidc::Oidc::new(settings, callback, clock)?))
            }
        })
    }

    /// Where the browser goes to be recognised. `wants_memberships`: the rules ask for organisations or teams.
    ///
    /// With `local` that is our own page. With `oidc` it is our own address too, from which the browser is sent on once it is
    /// known where the provider is: see [`oidc::Oidc::authorize_url`].
    pub(crate) fn sign_in_url(
        &self,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> String {
        match self {
            Self::GitHub(github) => github.authorize_url(state, key, wants_memberships),
            Self::Local(_) | Self::Oidc(_) => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("state", &state.expose())
                    .finish();
                format!("/login?{query}")
            }
        }
    }

    /// Who somebody is with whom a provider elsewhere sent the browser back, in a few seconds at most.
    pub(crate) async fn identify(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> Result<Identity, ProviderError> {
        match self {
            Self::GitHub(github) => github.identify(code, state, key, wants_memberships).await,
            Self::Oidc(oidc) => oidc.identify(code, state, key, wants_memberships).await,
            Self::Local(_) => Err(ProviderError::Refused("it sends nobody back".to_owned())),
        }
    }

    /// Whether what a browser came back with is this provider's word, so that it may be acted on (RFC 9207 section 2.4).
    pub(crate) async fn check_sender(&self, issuer: Option<&str>) -> Result<(), ProviderError> {
        match self {
            Self::Oidc(oidc) => oidc.check_sender(issuer).await,
            Self::GitHub(_) | Self::Local(_) => Ok(()),
        }
    }

    /// How long the provider is left alone because it is known to be away.
    pub(crate) fn outage(&self) -> Option<Duration> {
        match self {
            Self::GitHub(github) => github.outage(),
            Self::Oidc(oidc) => oidc.outage(),
            Self::Local(_) => None,
        }
    }

    /// Whose page the browser goes to, if it leaves ours.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::GitHub(_) => Some("GitHub"),
            Self::Oidc(oidc) => Some(oidc.name()),
            Self::Local(_) => None,
        }
    }

    /// The same for texts, whichever it is.
    pub(crate) fn shown_name(&self) -> &str {
        self.name().unwrap_or("the identity provider")
    }

    /// Its value in `IDENTITY_PROVIDER`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::GitHub(_) => "github",
            Self::Oidc(_) => "oidc",
            Self::Local(_) => "local",
        }
    }
}

/// Asks providers: no redirect is followed, and nothing waits for ever.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("mcp-oauth-gateway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(5))
        .build()
}
