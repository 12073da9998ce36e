//! The whole service at its public address, a client of it, and people with browsers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use auth::testing::Network;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::{Clock, ManualClock, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::github::{CLIENT_ID, CLIENT_SECRET, GitHub, User};
use testkit::network;
use testkit::person::{Credentials, Person};
use url::Url;

use crate::openid::{self, OpenId};

const PASSWORD: &str = "correct horse battery staple";
const SECRET: &str = "0123456789-abcdefghijklmnopqrstuvwxyz";
const VERIFIER: &str = "verifier-0123456789-verifier-0123456789-verifier";

/// A running service.
pub(crate) struct Gateway {
    pub(crate) issuer: Url,
    pub(crate) clock: Arc<ManualClock>,
    private: SocketAddr,
    http: reqwest::Client,
}

/// What a program was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn text(&self, member: &str) -> &str {
        let found = self.body.get(member).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no {member} in {self:?}"))
    }

    /// `STATUS error`
    pub(crate) fn refusal(&self) -> String {
        format!("{} {}", self.status, self.text("error"))
    }
}

/// A client, as it knows itself.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) redirect_uri: Url,
}

/// The tokens of a client.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) expires_in: i64,
}

/// Nothing is fetched.
struct Nowhere;

#[async_trait]
impl Network for Nowhere {
    async fn resolve(&self, _host: &str) -> std::io::Result<Vec<IpAddr>> {
        Err(std::io::Error::other("there is no network here"))
    }
}

/// A port for the service, so that its public address is known before it starts.
pub(crate) fn address() -> (u16, Url) {
    let port = network::free_port().unwrap();
    let issuer = Url::parse(&format!("http://auth.localhost:{port}")).unwrap();
    (port, issuer)
}

fn metadata(name: &str, redirect_uris: &[&str]) -> Value {
    json!({
        "redirect_uris": redirect_uris,
        "token_endpoint_auth_method": "none",
        "client_name": name,
    })
}

fn clock() -> Arc<ManualClock> {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    Arc::new(ManualClock::at(start))
}

impl Gateway {
    /// Ada and Bob, known by their passwords.
    pub(crate) async fn local(changes: &[(&str, &str)]) -> Self {
        let (port, issuer) = address();
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(PASSWORD.as_bytes())
            .unwrap()
            .to_string();
        let users = format!("ada:{hash} bob:{hash}");
        let provider = [
            ("IDENTITY_PROVIDER", "local"),
            ("LOCAL_USERS", users.as_str()),
        ];
        Self::start(port, issuer, &[&provider, changes].concat()).await
    }

    /// A fake GitHub with octocat, who is in the team acme/robots, and mona.
    pub(crate) async fn github(changes: &[(&str, &str)]) -> (Self, GitHub) {
        let (port, issuer) = address();
        let people = [
            User::new(583_231, "octocat").in_team("acme", "robots"),
            User::new(9919, "mona"),
        ];
        let github = GitHub::start(&issuer.join("/callback").unwrap(), people).unwrap();
        let (url, api_url) = (github.url(), github.api_url());
        let provider = [
            ("GITHUB_CLIENT_ID", CLIENT_ID),
            ("GITHUB_CLIENT_SECRET", CLIENT_SECRET),
            ("GITHUB_URL", url.as_str()),
            ("GITHUB_API_URL", api_url.as_str()),
        ];
        let gateway = Self::start(port, issuer, &[&provider, changes].concat()).await;
        (gateway, github)
    }

    /// A provider of OpenID Connect, with the same clock.
    pub(crate) async fn openid(changes: &[(&str, &str)]) -> (Self, OpenId) {
        let (port, issuer) = address();
        let clock = clock();
        let openid = OpenId::start(&issuer.join("/callback").unwrap(), Arc::clone(&clock));
        let provider = [
            ("IDENTITY_PROVIDER", "oidc"),
            ("OIDC_ISSUER", openid.issuer.as_str()),
            ("OIDC_CLIENT_ID", openid::CLIENT_ID),
            ("OIDC_CLIENT_SECRET", openid::CLIENT_SECRET),
            // Each sign-in is that of a client of its own.
            ("LIMIT_REGISTER", "0"),
        ];
        let settings = [&provider, changes].concat();
        let gateway = Self::start_at(port, issuer, &settings, clock).await;
        (gateway, openid)
    }

    pub(crate) async fn start(port: u16, issuer: Url, provider: &[(&str, &str)]) -> Self {
        Self::start_at(port, issuer, provider, clock()).await
    }

    async fn start_at(
        port: u16,
        issuer: Url,
        provider: &[(&str, &str)],
        clock: Arc<ManualClock>,
    ) -> Self {
        let port = port.to_string();
        let mut settings = vec![
            ("DOMAIN", "localhost"),
            ("PUBLIC_SCHEME", "http"),
            ("PUBLIC_PORT", port.as_str()),
            ("MCP_SERVICES", "mcp-fetch,mcp-echo"),
            ("PORT", port.as_str()),
            ("PRIVATE_PORT", "0"),
            ("STORE", "memory"),
            ("GATEWAY_JWT_SECRET", SECRET),
        ];
        for (name, value) in provider {
            settings.retain(|(known, _)| known != name);
            settings.push((name, value));
        }
        let network = Arc::new(Nowhere);
        let service =
            auth::testing::start(&settings, network, Arc::clone(&clock) as Arc<dyn Clock>)
                .await
                .unwrap();
        Self {
            private: service.private,
            issuer,
            clock,
            http: network::http_client().unwrap(),
        }
    }

    /// The MCP address of a service.
    pub(crate) fn resource(&self, service: &str) -> String {
        let port = self.issuer.port().unwrap();
        format!("http://{service}.localhost:{port}/mcp")
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            body: response.json().await.unwrap_or(Value::Null),
        }
    }

    /// Registers a public client.
    pub(crate) async fn register(&self, name: &str, redirect_uri: &str) -> Client {
        self.register_with(name, &[redirect_uri]).await
    }

    /// The same with several redirect URIs; the first is the client's own choice.
    pub(crate) async fn register_with(&self, name: &str, redirect_uris: &[&str]) -> Client {
        self.register_managed(name, redirect_uris).await.0
    }

    /// The same with the token by which the client manages its registration.
    pub(crate) async fn register_managed(
        &self,
        name: &str,
        redirect_uris: &[&str],
    ) -> (Client, String) {
        let url = self.issuer.join("/register").unwrap();
        let metadata = metadata(name, redirect_uris);
        let answer = self.send(self.http.post(url).json(&metadata)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let client = Client {
            id: answer.text("client_id").to_owned(),
            redirect_uri: redirect_uris.first().unwrap().parse().unwrap(),
        };
        (client, answer.text("registration_access_token").to_owned())
    }

    /// Replaces what a client says about itself.
    pub(crate) async fn change(
        &self,
        client: &Client,
        token: &str,
        name: &str,
        redirect_uris: &[&str],
    ) {
        let mut metadata = metadata(name, redirect_uris);
        let members = metadata.as_object_mut().unwrap();
        members.insert("client_id".to_owned(), Value::from(client.id.as_str()));
        let url = self
            .issuer
            .join(&format!("/register/{}", client.id))
            .unwrap();
        let request = self.http.put(url).bearer_auth(token).json(&metadata);
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Removes a client.
    pub(crate) async fn remove(&self, client: &Client, token: &str) {
        let url = self
            .issuer
            .join(&format!("/register/{}", client.id))
            .unwrap();
        let answer = self.send(self.http.delete(url).bearer_auth(token)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// The status and the `Location` that a browser with these cookies is answered, which opens the address in such a place.
    pub(crate) async fn open_with(
        &self,
        url: &Url,
        cookies: &str,
        destination: &str,
    ) -> (u16, Option<String>) {
        let request = self
            .http
            .get(url.clone())
            .header("Cookie", cookies)
            .header("Sec-Fetch-Dest", destination);
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        (
            response.status().as_u16(),
            location.map(|value| value.to_str().unwrap().to_owned()),
        )
    }

    /// Asks the administration API.
    pub(crate) async fn admin(&self, method: &str, path: &[&str]) -> Answer {
        let mut url = Url::parse(&format!("http://{}/admin", self.private)).unwrap();
        url.path_segments_mut().unwrap().extend(path);
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let token = auth::testing::admin_token(SECRET);
        self.send(self.http.request(method, url).bearer_auth(token))
            .await
    }

    /// A client on the web.
    pub(crate) async fn web_client(&self) -> Client {
        self.register("Notes", "https://notes.example/oauth/callback")
            .await
    }

    /// The address at which a client asks, for `mcp-fetch` unless the changes say otherwise.
    pub(crate) fn authorization(&self, client: &Client, changes: &[(&str, &str)]) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let resource = self.resource("mcp-fetch");
        let mut parameters = vec![
            ("client_id", client.id.as_str()),
            ("redirect_uri", client.redirect_uri.as_str()),
            ("response_type", "code"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "the-state-of-the-client"),
            ("resource", &resource),
        ];
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        let url = self.issuer.join("/authorize").unwrap();
        Url::parse_with_params(url.as_str(), parameters).unwrap()
    }

    /// The whole way to tokens, through our consent page.
    pub(crate) async fn connect(&self, person: &Person, client: &Client) -> Tokens {
        let authorization = self.authorization(client, &[]);
        let back = person
            .approve(&authorization, &client.redirect_uri)
            .await
            .unwrap();
        self.redeem(client, &back).await
    }

    /// Redeems the code with which the browser came back to the client.
    pub(crate) async fn redeem(&self, client: &Client, back: &Url) -> Tokens {
        let code = parameter(back, "code").unwrap_or_else(|| panic!("no code in {back}"));
        let answer = self
            .token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("code_verifier", VERIFIER),
                ("client_id", &client.id),
            ])
            .await;
        tokens(&answer)
    }

    pub(crate) async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        self.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &client.id),
        ])
        .await
    }

    async fn token(&self, form: &[(&str, &str)]) -> Answer {
        let url = self.issuer.join("/token").unwrap();
        self.send(self.http.post(url).form(form)).await
    }

    /// The status of `/verify` for `mcp-fetch`.
    pub(crate) async fn verify(&self, access_token: &str) -> u16 {
        let mut url = self.issuer.join("/verify").unwrap();
        url.set_query(Some("resource=mcp-fetch"));
        let host = format!("mcp-fetch.localhost:{}", self.issuer.port().unwrap());
        let request = self.http.get(url).header("X-Forwarded-Host", host);
        self.send(request.bearer_auth(access_token)).await.status
    }
}

/// The tokens of an answer.
pub(crate) fn tokens(answer: &Answer) -> Tokens {
    assert_eq!(answer.status, 200, "{answer:?}");
    Tokens {
        access: answer.text("access_token").to_owned(),
        refresh: answer.text("refresh_token").to_owned(),
        expires_in: answer
            .body
            .get("expires_in")
            .and_then(Value::as_i64)
            .unwrap(),
    }
}

/// A parameter of an address.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Somebody with a fresh browser who knows a local password.
pub(crate) fn person(username: &str) -> Person {
    Person::new(Credentials::Local {
        username: username.to_owned(),
        password: PASSWORD.to_owned(),
    })
    .unwrap()
}

/// Somebody with a fresh browser and a GitHub account.
pub(crate) fn github_person(login: &str) -> Person {
    Person::new(Credentials::GitHub {
        login: login.to_owned(),
    })
    .unwrap()
}
