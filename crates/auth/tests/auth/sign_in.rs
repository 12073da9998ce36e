//! The steps of a sign-in, one by one, so that a test can get each of them wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, ISSUER, PASSWORD, RESOURCE, USERNAME};

/// Where the clients of the tests want to be called back.
pub(crate) const REDIRECT: &str = "http://localhost:7777/callback";
/// A PKCE verifier.
pub(crate) const VERIFIER: &str = "verifier-0123456789-verifier-0123456789-verifier";
/// A client's state, with characters that must survive.
pub(crate) const STATE: &str = "s&t=a/t+e ä%";

/// The S256 challenge of a verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// A registered client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    pub(crate) registration_token: String,
}

/// Sends a registration.
pub(crate) async fn registration(auth: &Auth, metadata: &Value) -> Answer {
    answer(auth.request("POST", AUTH, "/register").json(metadata)).await
}

/// Registers with this metadata.
pub(crate) async fn register_with(auth: &Auth, metadata: &Value) -> Client {
    let answer = registration(auth, metadata).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Client {
        id: answer.text("client_id"),
        secret: answer
            .json()
            .get("client_secret")
            .map(|secret| secret.as_str().unwrap().to_owned()),
        registration_token: answer.text("registration_access_token"),
    }
}

/// Registers a client without a secret.
pub(crate) async fn public_client(auth: &Auth) -> Client {
    register_with(auth, &json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "client_name": "Test"})).await
}

/// Registers a client with a secret.
pub(crate) async fn confidential_client(auth: &Auth) -> Client {
    register_with(
        auth,
        &json!({"redirect_uris": [REDIRECT], "client_name": "Test"}),
    )
    .await
}

/// The query of a right request to `/authorize`, with changes: an empty value takes a parameter away.
pub(crate) fn authorize_path(client_id: &str, changes: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut parameters = vec![
        ("client_id", client_id),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", STATE),
        ("resource", RESOURCE),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push((name, value));
        }
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    format!("/authorize?{query}")
}

/// Opens `/authorize` in a fresh browser.
pub(crate) async fn ask(auth: &Auth, client_id: &str, changes: &[(&str, &str)]) -> Answer {
    auth.get(AUTH, &authorize_path(client_id, changes)).await
}

/// What the browser holds while it shows a page of ours.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// `name=value`
    pub(crate) cookie: String,
    /// The hidden fields.
    pub(crate) fields: Vec<(String, String)>,
}

/// The consent page of an answer.
pub(crate) fn consent_page(page: &Answer) -> Held {
    assert_eq!(page.status, 200, "{page:?}");
    let [cookie] = page.cookies().try_into().unwrap();
    let fields = ["transaction", "csrf"]
        .map(|name| (name.to_owned(), page.hidden(name)))
        .into();
    Held { cookie, fields }
}

/// A form of ours as a browser sends it: with the hidden fields, the cookie and `Sec-Fetch-Site`.
pub(crate) fn form(
    auth: &Auth,
    path: &str,
    held: &Held,
    filled: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    own_form(auth, path, held, filled)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Origin", ISSUER)
}

/// The same without the headers that say whose page it was on.
pub(crate) fn own_form(
    auth: &Auth,
    path: &str,
    held: &Held,
    filled: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let fields: Vec<(&str, &str)> = held
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(filled.iter().copied())
        .collect();
    let request = auth.request("POST", AUTH, path).form(&fields);
    if held.cookie.is_empty() {
        request
    } else {
        request.header("Cookie", &held.cookie)
    }
}

/// Presses a button of the consent page.
pub(crate) async fn decide(auth: &Auth, held: &Held, decision: &str) -> Answer {
    answer(form(auth, "/consent", held, &[("decision", decision)])).await
}

/// What the browser holds on its way to the sign-in page, after an approval.
pub(crate) fn approved(answer: &Answer) -> Held {
    assert_eq!(answer.status, 303, "{answer:?}");
    let [cookie] = answer.cookies().try_into().unwrap();
    let state = answer.parameter("state").unwrap();
    Held {
        cookie,
        fields: vec![("state".to_owned(), state)],
    }
}

/// Asks and approves.
pub(crate) async fn approve(auth: &Auth, client_id: &str, changes: &[(&str, &str)]) -> Held {
    let page = ask(auth, client_id, changes).await;
    approved(&decide(auth, &consent_page(&page), "approve").await)
}

/// Sends name and password.
pub(crate) async fn log_in(auth: &Auth, held: &Held, username: &str, password: &str) -> Answer {
    answer(form(
        auth,
        "/login",
        held,
        &[("username", username), ("password", password)],
    ))
    .await
}

/// The whole way to a code.
pub(crate) async fn code_with(auth: &Auth, client_id: &str, changes: &[(&str, &str)]) -> String {
    let held = approve(auth, client_id, changes).await;
    let answer = log_in(auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.parameter("code").unwrap()
}

/// The same for the usual request.
pub(crate) async fn code(auth: &Auth, client_id: &str) -> String {
    code_with(auth, client_id, &[]).await
}

/// The form that redeems a code.
pub(crate) fn redemption<'a>(client: &'a Client, code: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT),
        ("client_id", &client.id),
    ];
    if let Some(secret) = &client.secret {
        form.push(("client_secret", secret));
    }
    form
}

/// The form that uses a refresh token.
pub(crate) fn refreshing<'a>(
    client: &'a Client,
    refresh_token: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_id", &client.id),
    ];
    if let Some(secret) = &client.secret {
        form.push(("client_secret", secret));
    }
    form
}

impl Auth {
    /// A client uses a refresh token.
    pub(crate) async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        self.post("/token", &refreshing(client, refresh_token))
            .await
    }
}

/// Tokens as a client gets them.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    /// Those of an answer.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        Self {
            access: answer.text("access_token"),
            refresh: answer.text("refresh_token"),
        }
    }
}

/// The whole way to tokens for `mcp-fetch`.
pub(crate) async fn tokens(auth: &Auth, client: &Client) -> Tokens {
    let code = code(auth, &client.id).await;
    Tokens::of(&auth.post("/token", &redemption(client, &code)).await)
}

/// A public client with its tokens.
pub(crate) async fn signed_in(auth: &Auth) -> (Client, Tokens) {
    let client = public_client(auth).await;
    let tokens = tokens(auth, &client).await;
    (client, tokens)
}
