//! Any issuer of OpenID Connect as identity provider: discovery, the code flow with PKCE and nonce, an ID token that is
//! verified here.
//!
//! The access token that the provider gives is used for one question at most (userinfo) and dropped; neither it nor the ID
//! token is stored, logged or handed on.

mod cached;
mod claims;
mod discovery;
mod id_token;
mod keys;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::config::Secret;
use oauth::Clock;
use oauth::identity::Identity;
use oauth::pkce::CodeVerifier;
use oauth::token::DerivationKey;
use reqwest::header;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use self::cached::Cached;
use self::claims::Wanted;
use self::discovery::{Metadata, SecretBy};
use self::keys::KeySet;
use super::breaker::Breaker;
use super::{ProviderError, SignInState, answer};

/// How long the questions of one sign-in may take together.
const TIME_LIMIT: Duration = Duration::from_secs(6);
/// Most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What the operator says about the provider.
#[derive(Debug, Clone)]
pub(crate) struct OidcSettings {
    /// The issuer identifier, as the provider itself writes it.
    pub(crate) issuer: String,
    /// The same, parsed.
    pub(crate) url: Url,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    /// With spaces between.
    pub(crate) scopes: String,
    pub(crate) login_claim: String,
    pub(crate) groups_claim: String,
}

/// The provider.
pub(crate) struct Oidc {
    settings: OidcSettings,
    callback: String,
    http: reqwest::Client,
    breaker: Breaker,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
    clock: Arc<dyn Clock>,
    name: String,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Oidc({})", self.settings.issuer)
    }
}

/// OpenID Connect Core section 3.1.3.3.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    id_token: String,
    token_type: String,
}

impl Oidc {
    pub(crate) fn new(
        settings: OidcSettings,
        callback: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            name: settings.url.host_str().unwrap_or("OpenID").to_owned(),
            settings,
            callback,
            http: super::http_client()?,
            breaker: Breaker::default(),
            metadata: Cached::default(),
            keys: Cached::default(),
            clock,
        })
    }

    /// The host of the issuer.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long it is left alone because it is known to be away.
    pub(crate) fn outage(&self) -> Option<Duration> {
        self.breaker.outage(Instant::now())
    }

    /// Where the browser goes (OpenID Connect Core section 3.1.2.1). The PKCE verifier and the nonce are derived from the state,
    /// so they need not be stored. `is_silent`: the person must not be asked there either.
    pub(crate) async fn authorize_url(
        &self,
        state: &SignInState,
        key: &DerivationKey,
        is_silent: bool,
    ) -> Result<String, ProviderError> {
        let metadata = self.known_metadata().await?;
        let state = state.expose();
        let mut url = metadata.authorization_endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.settings.client_id)
                .append_pair("redirect_uri", &self.callback)
                .append_pair("scope", &self.settings.scopes)
                .append_pair("state", &state)
                .append_pair("nonce", &nonce(&state, key));
            if is_silent {
                query.append_pair("prompt", "none");
            }
            if let Some(verifier) = verifier(&state, key) {
                query
                    .append_pair("code_challenge", &String::from(verifier.challenge()))
                    .append_pair("code_challenge_method", "S256");
            }
        }
        Ok(url.into())
    }

    /// A provider that says that it names itself must do so, and whoever is named must be this one.
    pub(crate) async fn check_sender(&self, issuer: Option<&str>) -> Result<(), ProviderError> {
        let metadata = self.known_metadata().await?;
        match issuer {
            Some(issuer) if issuer == self.settings.issuer => Ok(()),
            Some(_) => Err(ProviderError::Unexpected(
                "the browser came back from another issuer".to_owned(),
            )),
            None if metadata.names_itself => Err(ProviderError::Unexpected(
                "the browser came back without the name of the issuer".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Exchanges the code of the callback for the person behind it, in at most six seconds; at once while the provider is known
    /// to be away.
    pub(crate) async fn identify(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
        wants_groups: bool,
    ) -> Result<Identity, ProviderError> {
        self.breaker
            .ask(TIME_LIMIT, self.ask_who(code, state, key, wants_groups))
            .await
    }

    async fn ask_who(
        &self,
        code: &str,
        state: &SignInState,
        key: &DerivationKey,
        wants_groups: bool,
    ) -> Result<Identity, ProviderError> {
        let metadata = self.metadata().await?;
        let state = state.expose();
        let tokens = self.exchange(&metadata, code, &state, key).await?;
        let expected = id_token::Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &nonce(&state, key),
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let header = id_token::header(&tokens.id_token, &metadata.algorithms)?;
        let signing_key = self.signing_key(&metadata, &header).await?;
        let mut claims = id_token::verify(&tokens.id_token, &header, &signing_key, &expected)?;
        let wanted = Wanted {
            login: &self.settings.login_claim,
            groups: wants_groups.then_some(self.settings.groups_claim.as_str()),
            email: self.settings.scopes.split(' ').any(|name| name == "email"),
        };
        if wanted.is_missing_in(&claims)
            && let Some(endpoint) = &metadata.userinfo_endpoint
        {
            let more = self.userinfo(endpoint, &tokens.access_token).await?;
            claims::complete(&mut claims, more)?;
        }
        claims::identity(&self.settings.issuer, &claims, &wanted)
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        state: &str,
        key: &DerivationKey,
    ) -> Result<TokenAnswer, ProviderError> {
        let verifier = verifier(state, key);
        let (id, secret) = (
            self.settings.client_id.as_str(),
            self.settings.client_secret.expose(),
        );
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.callback.as_str()),
        ];
        if let Some(verifier) = &verifier {
            form.push(("code_verifier", verifier.expose()));
        }
        let mut request = self
            .http
            .post(metadata.token_endpoint.clone())
            .header(header::ACCEPT, "application/json");
        match metadata.secret_by {
            // Both are form-encoded first (RFC 6749 section 2.3.1).
            SecretBy::Basic => request = request.basic_auth(encoded(id), Some(encoded(secret))),
            SecretBy::Post => form.extend([("client_id", id), ("client_secret", secret)]),
        }
        let answer: TokenAnswer = answer::ask(request.form(&form), ANSWER_LIMIT).await?;
        if answer.token_type.eq_ignore_ascii_case("bearer") {
            Ok(answer)
        } else {
            Err(ProviderError::Unexpected(
                "an access token that is no bearer token".to_owned(),
            ))
        }
    }

    async fn userinfo(
        &self,
        endpoint: &Url,
        access_token: &str,
    ) -> Result<Map<String, Value>, ProviderError> {
        let request = self
            .http
            .get(endpoint.clone())
            .header(header::ACCEPT, "application/json")
            .bearer_auth(access_token);
        answer::ask(request, ANSWER_LIMIT).await
    }

    /// What was discovered, for those who ask nothing else of the provider: that it is known already says nothing about how the
    /// provider is.
    async fn known_metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        match self.metadata.fresh(self.clock.now()) {
            Some(metadata) => Ok(metadata),
            None => self.breaker.ask(TIME_LIMIT, self.metadata()).await,
        }
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        let fetch = || discovery::discover(&self.http, &self.settings);
        self.metadata.get(self.clock.now(), fetch).await
    }

    /// The key that an ID token names. One that is not known may be new: then the keys are read again.
    async fn signing_key(
        &self,
        metadata: &Metadata,
        header: &id_token::Header,
    ) -> Result<jsonwebtoken::DecodingKey, ProviderError> {
        let fetch = || keys::fetch(&self.http, &metadata.jwks_uri);
        let known = self.keys.get(self.clock.now(), fetch).await?;
        if let Some(key) = known.find(header) {
            return Ok(key);
        }
        let reloaded = self.keys.get_newer(self.clock.now(), fetch).await?;
        reloaded.find(header).ok_or_else(|| {
            ProviderError::Unexpected(
                "an ID token signed with a key that it does not publish".to_owned(),
            )
        })
    }
}

/// What a doctor looks at: the provider is what the settings say, and has keys. Answers with their number.
pub(crate) async fn examine(settings: &OidcSettings) -> Result<usize, ProviderError> {
    let http =
        super::http_client().map_err(|error| ProviderError::unavailable(error.to_string()))?;
    let metadata = discovery::discover(&http, settings).await?;
    let keys = keys::fetch(&http, &metadata.jwks_uri).await?;
    Ok(keys.len())
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Binds the ID token to the sign-in (OpenID Connect Core section 15.5.2).
fn nonce(state: &str, key: &DerivationKey) -> String {
    key.derive("oidc nonce", state).to_string()
}

/// 43 characters of base64url are a verifier (RFC 7636 section 4.1).
fn verifier(state: &str, key: &DerivationKey) -> Option<CodeVerifier> {
    CodeVerifier::parse(&key.derive("oidc code verifier", state))
}
