//! A provider of OpenID Connect over HTTP that is strict with us, and does what a test tells it: also what no honest one does.
//! Whoever comes to its page is signed in already and sent back at once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use actix_web::web::{Data, Form, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oauth::{Clock as _, ManualClock};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

pub(crate) const CLIENT_ID: &str = "gateway/of+the test";
/// With characters that Basic authentication must encode first.
pub(crate) const CLIENT_SECRET: &str = "secret:with%reserved/characters+and spaces";
/// Nobody but an operator's log may see it.
pub(crate) const REMOTE_TEXT: &str = "remote-text-that-nobody-is-shown";

/// With what an ID token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    Right,
    /// `alg: none`, no signature.
    Unsigned,
    /// HS256 with the published key as secret.
    PublicKeyAsSecret,
    /// A key that is not published, under a name of its own.
    UnknownKey,
    /// A key that is not published, under the name of one that is.
    ForeignKey,
}

/// What an endpoint does in place of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Slow(Duration),
    Huge,
    Redirecting,
    Status(u16),
    NotJson,
}

pub(crate) struct State {
    /// Laid over the discovery document; `null` takes a member away.
    pub(crate) document: Value,
    /// What the ID token says about the person.
    pub(crate) person: Value,
    /// Laid over all claims of the ID token.
    pub(crate) claims: Value,
    pub(crate) signature: Signature,
    /// The answer of userinfo.
    pub(crate) userinfo: Value,
    /// Laid over the parameters with which the browser is sent back.
    pub(crate) way_back: Value,
    /// By path.
    pub(crate) trouble: BTreeMap<&'static str, Trouble>,
    pub(crate) calls: Vec<String>,
    /// What is wrong in what we sent.
    pub(crate) complaints: Vec<String>,
    clock: Arc<ManualClock>,
    callback: String,
    issuer: String,
    keys: Vec<Key>,
    grants: BTreeMap<String, Grant>,
    issued: u32,
}

struct Grant {
    nonce: String,
    challenge: String,
}

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn published(&self) -> Value {
        let (x, y) = self.point().split_first().unwrap().1.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }
}

impl State {
    fn complain(&mut self, text: impl Into<String>) {
        self.complaints.push(text.into());
    }

    /// From now on another key signs, and only it is published.
    pub(crate) fn rotate(&mut self) {
        self.issued += 1;
        self.keys = vec![Key::new(&format!("key-{}", self.issued))];
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.calls.iter().filter(|call| *call == path).count()
    }

    fn id_token(&self, nonce: &str, access_token: &str) -> String {
        let now = self.clock.now().as_second();
        let hash = Sha256::digest(access_token);
        let mut claims = json!({
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "at_hash": URL_SAFE_NO_PAD.encode(hash.first_chunk::<16>().unwrap()),
        });
        lay(&mut claims, &self.person);
        lay(&mut claims, &self.claims);
        let key = self.keys.first().unwrap();
        let (alg, kid) = match self.signature {
            Signature::Right | Signature::ForeignKey => ("ES256", key.id.as_str()),
            Signature::UnknownKey => ("ES256", "unknown"),
            Signature::Unsigned => ("none", key.id.as_str()),
            Signature::PublicKeyAsSecret => ("HS256", key.id.as_str()),
        };
        let encoded = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
        let text = format!("{}.{}", encoded(&header), encoded(&claims));
        let sign = |pair: &EcdsaKeyPair| {
            let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
            URL_SAFE_NO_PAD.encode(signature)
        };
        let signature = match self.signature {
            Signature::Right => sign(&key.pair),
            Signature::UnknownKey | Signature::ForeignKey => sign(&Key::new("").pair),
            Signature::Unsigned => String::new(),
            Signature::PublicKeyAsSecret => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, key.point());
                URL_SAFE_NO_PAD.encode(hmac::sign(&secret, text.as_bytes()))
            }
        };
        format!("{text}.{signature}")
    }
}

fn lay(over: &mut Value, changes: &Value) {
    let (Some(members), Some(changes)) = (over.as_object_mut(), changes.as_object()) else {
        return;
    };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running provider; it stops when it is dropped.
pub(crate) struct OpenId {
    pub(crate) issuer: String,
    address: SocketAddr,
    shared: Shared,
    server: Option<ServerHandle>,
}

impl OpenId {
    /// Starts it with one person, `ann` with the subject 1.
    pub(crate) fn start(callback: &Url, clock: Arc<ManualClock>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}/realms/test");
        let shared = Arc::new(Mutex::new(State {
            document: json!({}),
            person: json!({
                "sub": "1",
                "preferred_username": "ann",
                "email": "ann@example.com",
                "email_verified": true,
            }),
            claims: json!({}),
            signature: Signature::Right,
            userinfo: json!({"sub": "1"}),
            way_back: json!({}),
            trouble: BTreeMap::new(),
            calls: Vec::new(),
            complaints: Vec::new(),
            clock,
            callback: callback.to_string(),
            issuer: issuer.clone(),
            keys: vec![Key::new("key-0")],
            grants: BTreeMap::new(),
            issued: 0,
        }));
        let server = Some(serve(listener, Arc::clone(&shared)));
        Self {
            issuer,
            address,
            shared,
            server,
        }
    }

    /// How it behaves, to be changed.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    /// Closes the port.
    pub(crate) async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Opens it again.
    pub(crate) fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.server = Some(serve(listener, Arc::clone(&self.shared)));
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            drop(server.stop(false));
        }
    }
}

fn serve(listener: TcpListener, shared: Shared) -> ServerHandle {
    let server = HttpServer::new(move || {
        App::new().app_data(Data::new(Arc::clone(&shared))).service(
            web::scope("/realms/test")
                .route(
                    "/.well-known/openid-configuration",
                    web::get().to(discovery),
                )
                .route("/authorize", web::get().to(authorize))
                .route("/token", web::post().to(token))
                .route("/jwks", web::get().to(jwks))
                .route("/userinfo", web::get().to(userinfo)),
        )
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    handle
}

/// Notes the call, and what it is answered instead of what it should be.
async fn trouble(shared: &Shared, path: &'static str) -> Option<HttpResponse> {
    let trouble = {
        let mut state = lock(shared);
        state.calls.push(path.to_owned());
        state.trouble.get(path).copied()?
    };
    Some(match trouble {
        Trouble::Slow(delay) => {
            tokio::time::sleep(delay).await;
            HttpResponse::InternalServerError().finish()
        }
        Trouble::Huge => HttpResponse::Ok().json(json!({REMOTE_TEXT: "x".repeat(100_000)})),
        Trouble::Redirecting => HttpResponse::Found()
            .insert_header((LOCATION, "http://127.0.0.1:1/elsewhere"))
            .finish(),
        Trouble::Status(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap())
            .insert_header((RETRY_AFTER, "7"))
            .json(json!({"error": "invalid_client", "error_description": REMOTE_TEXT})),
        Trouble::NotJson => HttpResponse::Ok().body(format!("<h1>{REMOTE_TEXT}</h1>")),
    })
}

async fn discovery(shared: Data<Shared>) -> HttpResponse {
    if let Some(answer) = trouble(&shared, "discovery").await {
        return answer;
    }
    let state = lock(&shared);
    let at = |path: &str| format!("{}/{path}", state.issuer);
    let mut document = json!({
        "issuer": state.issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "jwks_uri": at("jwks"),
        "userinfo_endpoint": at("userinfo"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": true,
    });
    lay(&mut document, &state.document);
    HttpResponse::Ok().json(document)
}

async fn authorize(
    shared: Data<Shared>,
    parameters: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    let mut state = lock(&shared);
    let prompt = parameters.get("prompt");
    let call = prompt.map_or("authorize".to_owned(), |prompt| {
        format!("authorize prompt={prompt}")
    });
    state.calls.push(call);
    let mut need = |name: &str, right: &dyn Fn(&str) -> bool| {
        let value = parameters.get(name).cloned().unwrap_or_default();
        if !right(&value) {
            state.complain(format!("authorize: {name} is {value:?}"));
        }
        value
    };
    need("response_type", &|value| value == "code");
    need("client_id", &|value| value == CLIENT_ID);
    need("scope", &|value| {
        value.split(' ').any(|scope| scope == "openid")
    });
    need("code_challenge_method", &|value| value == "S256");
    let redirect = need("redirect_uri", &|_| true);
    let sent_state = need("state", &|value| value.len() >= 16);
    let nonce = need("nonce", &|value| value.len() >= 16);
    let challenge = need("code_challenge", &|value| value.len() == 43);
    if redirect != state.callback {
        state.complain(format!("authorize: redirect_uri is {redirect:?}"));
        return HttpResponse::BadRequest().finish();
    }
    state.issued += 1;
    let code = format!("code-{}", state.issued);
    let mut back = json!({"code": code, "state": sent_state, "iss": state.issuer});
    lay(&mut back, &state.way_back);
    let back: Map<String, Value> = back.as_object().unwrap().clone();
    let back = back
        .iter()
        .map(|(name, value)| (name, value.as_str().unwrap()));
    let url = Url::parse_with_params(&redirect, back).unwrap();
    state.grants.insert(code, Grant { nonce, challenge });
    HttpResponse::SeeOther()
        .insert_header((LOCATION, url.as_str()))
        .finish()
}

async fn token(
    shared: Data<Shared>,
    request: HttpRequest,
    form: Form<BTreeMap<String, String>>,
) -> HttpResponse {
    if let Some(answer) = trouble(&shared, "token").await {
        return answer;
    }
    let mut state = lock(&shared);
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let header = request.headers().get(AUTHORIZATION);
    let by_post = state
        .document
        .get("token_endpoint_auth_methods_supported")
        .is_some();
    let is_client = match header {
        Some(header) if !by_post => header.to_str().unwrap() == basic(),
        None if by_post => {
            field("client_id") == CLIENT_ID && field("client_secret") == CLIENT_SECRET
        }
        _ => false,
    };
    if !is_client {
        state.complain("token: the client did not prove who it is");
        return refused("invalid_client");
    }
    let Some(grant) = state.grants.remove(field("code")) else {
        state.complain("token: unknown code");
        return refused("invalid_grant");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    if grant.challenge != challenge || field("redirect_uri") != state.callback {
        state.complain("token: wrong verifier or redirect_uri");
        return refused("invalid_grant");
    }
    let access_token = format!("access-{}", state.issued);
    let id_token = state.id_token(&grant.nonce, &access_token);
    HttpResponse::Ok().json(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": 300,
        "id_token": id_token,
    }))
}

/// RFC 6749 section 2.3.1, spelled out.
fn basic() -> String {
    let pair = "gateway%2Fof%2Bthe+test:secret%3Awith%25reserved%2Fcharacters%2Band+spaces";
    format!("Basic {}", STANDARD.encode(pair))
}

fn refused(error: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": error}))
}

async fn jwks(shared: Data<Shared>) -> HttpResponse {
    if let Some(answer) = trouble(&shared, "jwks").await {
        return answer;
    }
    let state = lock(&shared);
    let mut keys: Vec<Value> = state.keys.iter().map(Key::published).collect();
    // What is not known must not hide what is.
    keys.push(json!({"kty": "lattice", "kid": "new", "x": 1}));
    keys.push(json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}));
    HttpResponse::Ok().json(json!({"keys": keys}))
}

async fn userinfo(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    if let Some(answer) = trouble(&shared, "userinfo").await {
        return answer;
    }
    let mut state = lock(&shared);
    let header = request.headers().get(AUTHORIZATION);
    if !header.is_some_and(|header| header.as_bytes().starts_with(b"Bearer access-")) {
        state.complain("userinfo: no access token");
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok().json(&state.userinfo)
}
