//! The whole service on a test's network, and the steps of a sign-in.

use std::net::SocketAddr;
use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use auth::testing::Network;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::{Clock, ManualClock, Timestamp};
use reqwest::header::{COOKIE, HOST, SET_COOKIE};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use testkit::network::http_client;
use url::Url;

use crate::remote::{CLIENT, TestNetwork};

const AUTH: &str = "auth.localhost:8080";
const ISSUER: &str = "http://auth.localhost:8080";
const RESOURCE: &str = "http://mcp-fetch.localhost:8080/mcp";
const PASSWORD: &str = "correct horse battery staple";
const JWT_SECRET: &str = "0123456789-abcdefghijklmnopqrstuvwxyz";
const VERIFIER: &str = "verifier-0123456789-verifier-0123456789-verifier";

/// A redirect URI of the document, with the port of this time.
pub(crate) const REDIRECT: &str = "http://localhost:4711/callback";

/// A running service.
pub(crate) struct Service {
    pub(crate) clock: Arc<ManualClock>,
    address: SocketAddr,
    private: SocketAddr,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) location: Option<Url>,
    pub(crate) body: String,
    cookie: String,
}

impl Answer {
    /// A text member of the JSON body.
    pub(crate) fn text(&self, member: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body.get(member)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned()
    }

    /// A parameter of the redirect.
    fn parameter(&self, name: &str) -> String {
        let location = self.location.as_ref().unwrap_or_else(|| panic!("{self:?}"));
        let mut pairs = location.query_pairs();
        let found = pairs.find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("{self:?}")).1.into_owned()
    }

    /// A hidden field of the page.
    fn hidden(&self, name: &str) -> String {
        let (_, after) = self
            .body
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap_or_else(|| panic!("{self:?}"));
        after.split('"').next().unwrap().to_owned()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let cookie = header(SET_COOKIE.as_str()).unwrap_or_default();
    Answer {
        status: response.status().as_u16(),
        retry_after: header("retry-after"),
        location: header("location").map(|url| Url::parse(ISSUER).unwrap().join(&url).unwrap()),
        cookie: cookie.split(';').next().unwrap().to_owned(),
        body: response.text().await.unwrap(),
    }
}

impl Service {
    pub(crate) async fn start(network: &Arc<TestNetwork>, changes: &[(&str, &str)]) -> Self {
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(PASSWORD.as_bytes())
            .unwrap()
            .to_string();
        let users = format!("ada:{hash}");
        let mut settings = vec![
            ("DOMAIN", "localhost"),
            ("PUBLIC_SCHEME", "http"),
            ("PUBLIC_PORT", "8080"),
            ("MCP_SERVICES", "mcp-fetch"),
            ("PORT", "0"),
            ("PRIVATE_PORT", "0"),
            ("STORE", "memory"),
            ("IDENTITY_PROVIDER", "local"),
            ("LOCAL_USERS", &users),
            ("GATEWAY_JWT_SECRET", JWT_SECRET),
            // The clock of the test stands still.
            ("LIMIT_AUTHORIZE", "0"),
            ("LIMIT_DOCUMENTS", "0"),
        ];
        settings.extend(changes);
        let clock = Arc::new(ManualClock::at(
            Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let service = auth::testing::start(
            &settings,
            Arc::clone(network) as Arc<dyn Network>,
            Arc::clone(&clock) as Arc<dyn Clock>,
        )
        .await
        .unwrap();
        Self {
            clock,
            address: service.address,
            private: service.private,
            http: http_client().unwrap(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("http://{}{path}", self.address))
            .header(HOST, AUTH)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path)).await
    }

    /// Sends a request of the test's own.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        answer(request).await
    }

    /// Opens `/authorize` for a client.
    pub(crate) async fn ask(&self, client_id: &str, redirect_uri: &str) -> Answer {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", client_id),
                ("redirect_uri", redirect_uri),
                ("response_type", "code"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("resource", RESOURCE),
            ])
            .finish();
        self.get(&format!("/authorize?{query}")).await
    }

    async fn form(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self
            .request("POST", path)
            .header("Sec-Fetch-Site", "same-origin")
            .header(COOKIE, cookie)
            .form(fields);
        answer(request).await
    }

    /// Approves what a consent page asks, signs in, and returns the code.
    pub(crate) async fn sign_in(&self, page: &Answer) -> String {
        assert_eq!(page.status, 200, "{page:?}");
        let fields = [
            ("transaction", page.hidden("transaction")),
            ("csrf", page.hidden("csrf")),
            ("decision", "approve".to_owned()),
        ];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let approved = self.form("/consent", &page.cookie, &fields).await;
        let state = approved.parameter("state");
        let fields = [
            ("state", state.as_str()),
            ("username", "ada"),
            ("password", PASSWORD),
        ];
        let signed_in = self.form("/login", &approved.cookie, &fields).await;
        signed_in.parameter("code")
    }

    /// Asks `/token` in the name of the client.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        let fields = [&[("client_id", CLIENT)], fields].concat();
        answer(self.request("POST", "/token").form(&fields)).await
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    /// The operator removes the client.
    pub(crate) async fn remove_client(&self) {
        let id: String = url::form_urlencoded::byte_serialize(CLIENT.as_bytes()).collect();
        let url = format!("http://{}/admin/clients/{id}", self.private);
        let token = auth::testing::admin_token(JWT_SECRET);
        let removed = answer(self.http.delete(url).bearer_auth(token)).await;
        assert_eq!(removed.status, 200, "{removed:?}");
    }

    /// The status of `/verify` for an access token.
    pub(crate) async fn verify(&self, access_token: &str) -> u16 {
        let request = self
            .request("GET", "/verify?resource=mcp-fetch")
            .header("X-Forwarded-Host", "mcp-fetch.localhost:8080")
            .bearer_auth(access_token);
        answer(request).await.status
    }
}
