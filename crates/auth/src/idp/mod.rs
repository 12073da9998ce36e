//! Identity providers: who knows the people.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod directory;
pub(crate) mod github;
pub(crate) mod local;
mod password;

use std::time::Duration;

use oauth::secret::{Plain, State};
use oauth::token::DerivationKey;
use oauth::{AuthorizationId, Sites};

use crate::settings::ProviderSettings;

/// The configured provider.
#[derive(Debug)]
pub(crate) enum IdentityProvider {
    /// GitHub, or GitHub Enterprise.
    GitHub(github::GitHub),
    /// Names and hashes from the configuration.
    Local(local::Local),
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

impl IdentityProvider {
    pub(crate) fn new(settings: ProviderSettings, sites: &Sites) -> anyhow::Result<Self> {
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
                callback: format!("{}/callback", sites.issuer()),
            })?),
        })
    }

    /// Where the browser goes to be recognised. `wants_memberships`: the rules ask for organisations or teams.
    pub(crate) fn sign_in_url(
        &self,
        state: &SignInState,
        key: &DerivationKey,
        wants_memberships: bool,
    ) -> String {
        match self {
            Self::GitHub(github) => github.authorize_url(state, key, wants_memberships),
            Self::Local(_) => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("state", &state.expose())
                    .finish();
                format!("/login?{query}")
            }
        }
    }

    /// How long the provider is left alone because it is known to be away.
    pub(crate) fn outage(&self) -> Option<Duration> {
        match self {
            Self::GitHub(github) => github.outage(),
            Self::Local(_) => None,
        }
    }

    /// Whose page the browser goes to, if it leaves ours.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Self::GitHub(_) => Some("GitHub"),
            Self::Local(_) => None,
        }
    }
}
