//! What the behaviours of the verbs have in common: two instances, a client, a person and a code.

use std::sync::Arc;

use futures_util::future::join_all;
use oauth::authorize::AuthorizeRequest;
use oauth::client::Client;
use oauth::client_metadata::ClientMetadataRequest;
use oauth::pkce::CodeVerifier;
use oauth::redirect::RedirectUri;
use oauth::session::{Lifetimes, Person, Redemption as Attempt, Session};
use oauth::token::{AuthorizationCode, DerivationKey, RefreshToken};
use oauth::{ClientId, ScopeSet, ServiceName, Subject, SystemEntropy, Timestamp, TokenId};

use super::{Fixture, at};
use crate::{Redemption, Refresh, Registration, Store};

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const WRONG_VERIFIER: &str = "wrongwrongwrongwrongwrongwrongwrongwrongwro";
pub(super) const ACCESS_TOKEN_LIFETIME: u64 = 3600;
pub(super) const CLIENT_LIFETIME: u64 = 7_776_000;
pub(super) const LIFETIMES: Lifetimes = Lifetimes {
    idle: 86_400,
    absolute: 864_000,
    grace: 120,
};

pub(super) fn derivation_key() -> DerivationKey {
    DerivationKey::new([7; 32])
}

pub(super) fn ann() -> Person {
    Person {
        subject: Subject::parse("local:ann").unwrap(),
        login: "ann".to_owned(),
        names: std::collections::BTreeSet::new(),
        memberships: std::collections::BTreeSet::new(),
    }
}

fn token() -> TokenId {
    TokenId::generate(&SystemEntropy)
}

pub(super) fn new_client() -> Client {
    let request: ClientMetadataRequest =
        serde_json::from_str(r#"{"redirect_uris":["https://a.example/cb"]}"#).unwrap();
    let offered = ScopeSet::parse("mcp").unwrap();
    let metadata = request.check(&offered).unwrap();
    Client::register(metadata, at(0), &SystemEntropy).0
}

pub(super) fn request(client_id: &ClientId) -> AuthorizeRequest {
    AuthorizeRequest {
        client_id: client_id.clone(),
        redirect_uri: RedirectUri::parse("https://a.example/cb").unwrap(),
        state: None,
        scope: ScopeSet::parse("mcp").unwrap(),
        code_challenge: CodeVerifier::parse(VERIFIER).unwrap().challenge(),
        device: None,
        service: ServiceName::parse("mcp-fetch").unwrap(),
    }
}

/// Two instances that know a client and a person, and a code for them that was issued at second 0.
pub(super) struct World {
    pub(super) stores: [Store; 2],
    pub(super) client: Client,
    pub(super) code: Arc<AuthorizationCode>,
}

impl World {
    pub(super) async fn new(fixture: &impl Fixture) -> Self {
        let stores = [
            Store::new(fixture.backend()),
            Store::new(fixture.second().await),
        ];
        let client = new_client();
        let created = stores[0]
            .create_client(client.clone(), CLIENT_LIFETIME, 10, at(0))
            .await
            .unwrap();
        assert_eq!(created, Registration::Created);
        stores[0].note_sign_in(&ann(), at(0)).await.unwrap();
        let (session, code) =
            Session::issue_code(&request(&client.id), ann(), at(0), &SystemEntropy);
        stores[0].issue_code(session, at(0)).await.unwrap();
        Self {
            stores,
            client,
            code: Arc::new(code),
        }
    }

    /// Another session of the person's begins, with a code of its own.
    pub(super) async fn issue(&mut self, created_at: Timestamp, second: i64) {
        let request = request(&self.client.id);
        let (session, code) = Session::issue_code(&request, ann(), created_at, &SystemEntropy);
        self.stores[0]
            .issue_code(session, at(second))
            .await
            .unwrap();
        self.code = Arc::new(code);
    }

    pub(super) fn store(&self, number: usize) -> Store {
        self.stores[number % 2].clone()
    }

    pub(super) async fn redeem(&self, number: usize, verifier: &str, second: i64) -> Redemption {
        redeem(
            self.store(number),
            &self.client.id,
            &self.code,
            verifier,
            second,
        )
        .await
    }

    /// `count` redemptions at once, on both instances in turn.
    pub(super) async fn race_redeem(
        &self,
        count: usize,
        verifier: &'static str,
        second: i64,
    ) -> Vec<Redemption> {
        let tasks = (0..count).map(|number| {
            let (store, client_id) = (self.store(number), self.client.id.clone());
            let code = Arc::clone(&self.code);
            tokio::spawn(async move { redeem(store, &client_id, &code, verifier, second).await })
        });
        all(tasks).await
    }

    /// Redeems the code at second 1.
    pub(super) async fn granted(&self) -> Session {
        match self.redeem(0, VERIFIER, 1).await {
            Redemption::Granted(session) => session,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn race_refresh(
        &self,
        count: usize,
        presented: &RefreshToken,
        grace: u64,
        second: i64,
    ) -> Vec<Refresh> {
        let tasks = (0..count).map(|number| {
            let (store, client_id) = (self.store(number), self.client.id.clone());
            let presented = presented.clone();
            tokio::spawn(async move {
                let lifetimes = Lifetimes { grace, ..LIFETIMES };
                store
                    .rotate_refresh(
                        &presented,
                        &client_id,
                        &derivation_key(),
                        lifetimes,
                        ACCESS_TOKEN_LIFETIME,
                        at(second),
                    )
                    .await
                    .unwrap()
            })
        });
        all(tasks).await
    }

    /// Whether an access token of the session is honoured, on both instances.
    pub(super) async fn is_alive(&self, second: i64) -> bool {
        let mut answers = Vec::new();
        for store in &self.stores {
            let alive = store
                .living_person(
                    &self.code.session,
                    &token(),
                    &self.client.id,
                    &ann().subject,
                    at(second),
                )
                .await
                .unwrap()
                .is_some();
            answers.push(alive);
        }
        assert_eq!(answers[0], answers[1], "two instances, one truth");
        answers[0]
    }
}

async fn redeem(
    store: Store,
    client_id: &ClientId,
    code: &AuthorizationCode,
    verifier: &str,
    second: i64,
) -> Redemption {
    let verifier = CodeVerifier::parse(verifier).unwrap();
    let attempt = Attempt {
        code,
        client_id,
        redirect_uri: None,
        verifier: &verifier,
    };
    store
        .redeem_code(
            &attempt,
            LIFETIMES,
            ACCESS_TOKEN_LIFETIME,
            at(second),
            &SystemEntropy,
        )
        .await
        .unwrap()
}

pub(super) async fn all<T>(tasks: impl Iterator<Item = tokio::task::JoinHandle<T>>) -> Vec<T> {
    let answers = join_all(tasks).await;
    answers.into_iter().map(Result::unwrap).collect()
}

pub(super) fn refresh_token(session: &Session) -> String {
    let token = session.refresh_token(&derivation_key()).unwrap();
    token.expose().to_string()
}
