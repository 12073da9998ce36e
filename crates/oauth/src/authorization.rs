//! A sign-in under way: from the client's request to the person's answer and the identity provider's.
//!
//! Each step is bound to the browser by a cookie, whose value is renewed at the step that grants something. A `state` for
//! the identity provider exists only after the person has approved, so that a captured link is worth nothing in another
//! browser.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authorize::AuthorizeRequest;
use crate::client_metadata::ClientMetadata;
use crate::entropy::Entropy;
use crate::id::{AuthorizationId, BrowserId, Subject};
use crate::secret::{BrowserCookie, FormToken, Hashed, Plain, State};

/// How long a sign-in may take, in seconds.
pub const LIFETIME: u64 = 600;

/// A sign-in under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authorization {
    /// Its identifier, which is not secret.
    pub id: AuthorizationId,
    /// What the client asked.
    pub request: AuthorizeRequest,
    /// What the client's metadata document said, for a client that is known by one. It is kept here, and becomes a stored
    /// client only when a person has signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<ClientMetadata>,
    /// When the person must have finished.
    pub expires_at: Timestamp,
    /// The person wants the consent remembered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub remember: bool,
    /// The person was not asked, because of what they agreed to before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<Recalled>,
    /// Nobody may be asked (`prompt=none`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_silent: bool,
    stage: Stage,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a person was not asked. Whoever is recognised in the end must be this person, or is asked after all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recalled {
    /// Who agreed before.
    pub subject: Subject,
    /// In which browser.
    pub browser: BrowserId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Stage {
    AwaitingConsent {
        cookie: Hashed<BrowserCookie>,
        form: Hashed<FormToken>,
    },
    AwaitingIdentity {
        cookie: Hashed<BrowserCookie>,
        state: Hashed<State>,
    },
}

/// What the browser gets to hold while it shows the consent page.
#[derive(Debug)]
pub struct ConsentSecrets {
    /// The cookie's value.
    pub cookie: Plain<BrowserCookie>,
    /// The hidden field of the form.
    pub form: Plain<FormToken>,
}

/// What the browser gets to hold while the identity provider has it.
#[derive(Debug)]
pub struct IdentitySecrets {
    /// The cookie's new value.
    pub cookie: Plain<BrowserCookie>,
    /// The `state` parameter, without the authorization's id.
    pub state: Plain<State>,
}

/// The answer does not come from the browser, or the stage, to which the question was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this sign-in was started in another browser, or is over")]
pub struct WrongBrowser;

impl Authorization {
    /// Starts a sign-in: the consent page is to be shown.
    pub fn start(
        request: AuthorizeRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, ConsentSecrets) {
        let secrets = ConsentSecrets {
            cookie: Plain::generate(entropy),
            form: Plain::generate(entropy),
        };
        let authorization = Self {
            id: AuthorizationId::generate(entropy),
            request,
            document: None,
            expires_at: crate::after(now, LIFETIME),
            remember: false,
            recalled: None,
            is_silent: false,
            stage: Stage::AwaitingConsent {
                cookie: secrets.cookie.hash(),
                form: secrets.form.hash(),
            },
        };
        (authorization, secrets)
    }

    /// Starts a sign-in for which nobody is asked: the identity provider comes next.
    pub fn recall(
        request: AuthorizeRequest,
        recalled: Recalled,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, IdentitySecrets) {
        let (authorization, _) = Self::start(request, now, entropy);
        let secrets = IdentitySecrets::generate(entropy);
        let authorization = Self {
            recalled: Some(recalled),
            stage: Stage::AwaitingIdentity {
                cookie: secrets.cookie.hash(),
                state: secrets.state.hash(),
            },
            ..authorization
        };
        (authorization, secrets)
    }

    /// Whether the answer comes from the browser and the form that were asked for consent.
    pub fn check_consent(
        &self,
        cookie: &Plain<BrowserCookie>,
        form: &Plain<FormToken>,
    ) -> Result<(), WrongBrowser> {
        match &self.stage {
            Stage::AwaitingConsent { cookie: c, form: f } => {
                let is_browser = c.matches(cookie);
                let is_form = f.matches(form);
                if is_browser && is_form {
                    Ok(())
                } else {
                    Err(WrongBrowser)
                }
            }
            Stage::AwaitingIdentity { .. } => Err(WrongBrowser),
        }
    }

    /// The person approved: from here on only the new cookie and the new state count.
    pub fn approve(
        mut self,
        cookie: &Plain<BrowserCookie>,
        form: &Plain<FormToken>,
        remember: bool,
        secrets: &IdentitySecrets,
    ) -> Result<Self, WrongBrowser> {
        self.check_consent(cookie, form)?;
        self.remember = remember;
        self.stage = Stage::AwaitingIdentity {
            cookie: secrets.cookie.hash(),
            state: secrets.state.hash(),
        };
        Ok(self)
    }

    /// Whether the identity provider sent back the browser that approved.
    pub fn check_identity(
        &self,
        cookie: &Plain<BrowserCookie>,
        state: &Plain<State>,
    ) -> Result<(), WrongBrowser> {
        match &self.stage {
            Stage::AwaitingIdentity {
                cookie: c,
                state: s,
            } => {
                let is_browser = c.matches(cookie);
                let is_state = s.matches(state);
                if is_browser && is_state {
                    Ok(())
                } else {
                    Err(WrongBrowser)
                }
            }
            Stage::AwaitingConsent { .. } => Err(WrongBrowser),
        }
    }
}

impl IdentitySecrets {
    /// Fresh ones.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            cookie: Plain::generate(entropy),
            state: Plain::generate(entropy),
        }
    }
}
