//! The verbs of the domain, several at once and from two instances.

use std::sync::Arc;

use futures_util::future::join_all;
use oauth::authorization::{Authorization, IdentitySecrets};
use oauth::authorize::AuthorizeRequest;
use oauth::client::Client;
use oauth::client_metadata::ClientMetadataRequest;
use oauth::key_ring::SigningKeys;
use oauth::pkce::CodeVerifier;
use oauth::redirect::RedirectUri;
use oauth::session::{Lifetimes, Person, Redemption as Attempt, Revocation, Session};
use oauth::token::{AuthorizationCode, DerivationKey, RefreshToken};
use oauth::{ClientId, ScopeSet, ServiceName, Subject, SystemEntropy, Timestamp, TokenId};

use super::events::connected;
use super::{Fixture, PATIENCE, at, next_event};
use crate::{Event, FirstRing, Pinned, Redemption, Refresh, Registration, SealedKeyRing, Store};

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const WRONG_VERIFIER: &str = "wrongwrongwrongwrongwrongwrongwrongwrongwro";
pub(super) const ACCESS_TOKEN_LIFETIME: u64 = 3600;
const CLIENT_LIFETIME: u64 = 7_776_000;
pub(super) const LIFETIMES: Lifetimes = Lifetimes {
    idle: 86_400,
    absolute: 864_000,
    grace: 120,
};

fn derivation_key() -> DerivationKey {
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

fn request(client_id: &ClientId) -> AuthorizeRequest {
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
    code: Arc<AuthorizationCode>,
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
    async fn issue(&mut self, created_at: Timestamp, second: i64) {
        let request = request(&self.client.id);
        let (session, code) = Session::issue_code(&request, ann(), created_at, &SystemEntropy);
        self.stores[0]
            .issue_code(session, at(second))
            .await
            .unwrap();
        self.code = Arc::new(code);
    }

    fn store(&self, number: usize) -> Store {
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
    async fn race_redeem(
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

    async fn race_refresh(
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

fn refresh_token(session: &Session) -> String {
    let token = session.refresh_token(&derivation_key()).unwrap();
    token.expose().to_string()
}

/// A client that repeats its request because the answer was lost gets no second family of tokens.
pub async fn of_racing_redemptions_all_get_the_same_tokens(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    assert!(!world.is_alive(0).await, "a code is not a session yet");
    let mut tokens = Vec::new();
    for outcome in world.race_redeem(100, VERIFIER, 1).await {
        match outcome {
            Redemption::Granted(session) => tokens.push(refresh_token(&session)),
            other => panic!("{other:?}"),
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "one session, one refresh token");
    assert!(world.is_alive(2).await);
}

/// OAuth 2.1 section 4.1.3: a code that comes back revokes what it gave.
pub async fn a_late_redemption_ends_the_session_for_all(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let outcomes = world.race_redeem(20, VERIFIER, 30).await;
    let replayed = |outcome: &&Redemption| matches!(outcome, Redemption::Replayed(_));
    assert_eq!(outcomes.iter().filter(replayed).count(), 1, "told once");
    let granted = |outcome: &Redemption| matches!(outcome, Redemption::Granted(_));
    assert!(!outcomes.iter().any(granted));
    assert!(!world.is_alive(31).await);
}

/// Failures that race are all counted: nobody gets more guesses by sending them at once.
pub async fn wrong_redemptions_are_all_counted(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let outcomes = world.race_redeem(20, WRONG_VERIFIER, 1).await;
    let refused = |outcome: &&Redemption| matches!(outcome, Redemption::Refused);
    assert_eq!(outcomes.iter().filter(refused).count(), 3);
    let outcome = world.redeem(0, VERIFIER, 2).await;
    assert!(matches!(outcome, Redemption::Unknown), "{outcome:?}");
    assert!(!world.is_alive(2).await);
}

/// Two processes of one client that refresh at once end with one live refresh token, never a fork.
pub async fn of_racing_refreshes_all_get_the_same_successor(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let first = world
        .granted()
        .await
        .refresh_token(&derivation_key())
        .unwrap();
    let mut tokens = Vec::new();
    for outcome in world.race_refresh(50, &first, 120, 10).await {
        match outcome {
            Refresh::Granted(session) => tokens.push(refresh_token(&session)),
            other => panic!("{other:?}"),
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_ne!(tokens[0], first.expose().to_string());
    // After the grace period it is theft.
    let outcomes = world.race_refresh(1, &first, 120, 131).await;
    assert!(
        matches!(outcomes[..], [Refresh::Replayed(_)]),
        "{outcomes:?}"
    );
    assert!(!world.is_alive(132).await);
}

/// `REFRESH_GRACE=0`: strict rotation.
pub async fn without_grace_a_racing_refresh_ends_the_session(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let first = world
        .granted()
        .await
        .refresh_token(&derivation_key())
        .unwrap();
    let outcomes = world.race_refresh(50, &first, 0, 10).await;
    let granted = |outcome: &&Refresh| matches!(outcome, Refresh::Granted(_));
    let replayed = |outcome: &&Refresh| matches!(outcome, Refresh::Replayed(_));
    assert_eq!(outcomes.iter().filter(granted).count(), 1);
    assert_eq!(outcomes.iter().filter(replayed).count(), 1, "told once");
    assert!(!world.is_alive(11).await);
}

/// Revocation takes effect at once, everywhere.
pub async fn a_revoked_session_is_dead_and_all_are_told(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let session = world.granted().await;
    assert!(world.is_alive(2).await);
    let there = world.store(1);
    connected(there.backend()).await;
    let mut feed = there.backend().events();
    let was_there = world
        .store(0)
        .revoke_session(
            &session.id,
            Revocation::Requested,
            ACCESS_TOKEN_LIFETIME,
            at(3),
        )
        .await
        .unwrap();
    assert!(was_there);
    let event = Event::SessionChanged(session.id.to_string());
    let told = async { while next_event(&mut feed).await != event {} };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(!world.is_alive(3).await);
    // A tombstone: nothing makes it live again.
    let first = session.refresh_token(&derivation_key()).unwrap();
    let outcomes = world.race_refresh(2, &first, 120, 4).await;
    assert!(
        matches!(outcomes[..], [Refresh::Unknown, Refresh::Unknown]),
        "{outcomes:?}"
    );
    let outcome = world.redeem(1, VERIFIER, 4).await;
    assert!(matches!(outcome, Redemption::Unknown), "{outcome:?}");
}

/// Removing a client is one change, without a scan for its sessions.
pub async fn a_session_lives_only_while_its_client_does(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let store = world.store(1);
    assert!(store.delete_client(&world.client.id, at(3)).await.unwrap());
    assert!(!world.is_alive(3).await);
    assert!(!store.delete_client(&world.client.id, at(4)).await.unwrap());
    let found = world
        .store(0)
        .client(&world.client.id, at(4))
        .await
        .unwrap();
    assert!(found.is_none());
}

/// Signing a person out voids what they had and nothing that comes later.
pub async fn a_session_counts_only_from_the_instant_its_person_set(fixture: impl Fixture) {
    let mut world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let subject = ann().subject;
    assert!(world.store(1).revoke_person(&subject, at(3)).await.unwrap());
    assert!(!world.is_alive(3).await);
    // Who signs in again comes in at once.
    let created_at = world.store(0).note_sign_in(&ann(), at(5)).await.unwrap();
    world.issue(created_at, 5).await;
    let outcome = world.redeem(0, VERIFIER, 6).await;
    assert!(matches!(outcome, Redemption::Granted(_)), "{outcome:?}");
    assert!(world.is_alive(6).await);
    let nobody = Subject::parse("local:nobody").unwrap();
    assert!(!world.store(0).revoke_person(&nobody, at(7)).await.unwrap());
}

/// The clocks of two instances differ by less than half a minute: a revocation by the one that is behind ends what the one
/// that is ahead has made, and nothing that was ended comes back.
pub async fn a_revocation_of_a_person_reaches_over_clocks(fixture: impl Fixture) {
    let mut world = World::new(&fixture).await;
    world.issue(at(29), 29).await;
    let outcome = world.redeem(0, VERIFIER, 29).await;
    assert!(matches!(outcome, Redemption::Granted(_)), "{outcome:?}");
    assert!(world.is_alive(30).await);
    let subject = ann().subject;
    for seconds in [0, -40] {
        let store = world.store(1);
        assert!(store.revoke_person(&subject, at(seconds)).await.unwrap());
        assert!(!world.is_alive(30).await, "{seconds}");
    }
}

/// A name on the allow-list cannot be taken over by whoever gets it later.
pub async fn a_name_belongs_to_the_first_who_came(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let attempts = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        let subject = Subject::parse(&format!("github:{number}")).unwrap();
        tokio::spawn(async move {
            let pinned = store.pin("octocat", &subject, at(0)).await.unwrap();
            (subject, pinned)
        })
    });
    let outcomes = all(attempts).await;
    let owners: Vec<_> = outcomes
        .iter()
        .filter(|(_, pinned)| *pinned == Pinned::ToThem)
        .map(|(subject, _)| subject)
        .collect();
    let [owner] = owners[..] else {
        panic!("{owners:?}");
    };
    for (subject, pinned) in &outcomes {
        if subject != owner {
            assert_eq!(*pinned, Pinned::ToAnother(owner.clone()));
        }
    }
}

/// A sign-in is approved once and taken once.
pub async fn one_approval_and_one_answer_win(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let (authorization, consent) =
        Authorization::start(request(&world.client.id), at(0), &SystemEntropy);
    let id = authorization.id.clone();
    world
        .store(0)
        .begin_sign_in(authorization, at(0))
        .await
        .unwrap();
    let consent = Arc::new(consent);
    let approvals = (0..20).map(|number| {
        let (store, id, consent) = (world.store(number), id.clone(), Arc::clone(&consent));
        tokio::spawn(async move {
            let secrets = IdentitySecrets::generate(&SystemEntropy);
            let approved = store
                .approve_sign_in(&id, &consent.cookie, &consent.form, false, &secrets, at(1))
                .await
                .unwrap();
            approved.ok().map(|_| secrets)
        })
    });
    let mut approved: Vec<_> = all(approvals).await.into_iter().flatten().collect();
    assert_eq!(approved.len(), 1);
    let secrets = Arc::new(approved.remove(0));
    let answers = (0..20).map(|number| {
        let (store, id, secrets) = (world.store(number), id.clone(), Arc::clone(&secrets));
        tokio::spawn(async move {
            let taken = store
                .finish_sign_in(&id, &secrets.cookie, &secrets.state, at(2))
                .await
                .unwrap();
            taken.is_ok()
        })
    });
    let taken = all(answers).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}

/// Instances that start at once on an empty store agree.
pub async fn all_instances_get_the_same_keys(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let starts = (0..10).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let fresh = ring(&number.to_string());
            let made = store.create_key_ring(&fresh, at(0)).await.unwrap();
            let FirstRing::Made(ring) = made else {
                panic!("{made:?}");
            };
            ring.derivation
        })
    });
    let mut rings = all(starts).await;
    rings.dedup();
    assert_eq!(rings.len(), 1, "{rings:?}");
}

pub(super) fn ring(derivation: &str) -> SealedKeyRing {
    SealedKeyRing {
        seals: vec!["sealed".to_owned()],
        derivation: derivation.to_owned(),
        signing: SigningKeys::from_keys(Vec::new()),
    }
}

/// Of ten instances that make the same step at once one makes it, and the others see that it was made.
pub async fn one_instance_changes_the_keys(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let first = &stores[0];
    let other = stores[1].backend();
    connected(other).await;
    let mut events = other.events();
    let created = first.create_key_ring(&ring(""), at(0)).await.unwrap();
    assert_eq!(created, FirstRing::Made(ring("")));
    let changes = (0..10).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let change = |ring: &mut SealedKeyRing| {
                let is_mine = ring.derivation.is_empty();
                if is_mine {
                    ring.derivation = number.to_string();
                }
                is_mine
            };
            store.change_key_ring(at(1), change).await.unwrap().unwrap()
        })
    });
    let answers = all(changes).await;
    assert_eq!(answers.iter().filter(|(_, is_mine)| *is_mine).count(), 1);
    let seen = &answers[0].0;
    assert!(answers.iter().all(|(ring, _)| ring == seen));
    // Of the creation, then of the change.
    assert_eq!(next_event(&mut events).await, Event::KeysChanged);
    assert_eq!(next_event(&mut events).await, Event::KeysChanged);
}

/// A ring that was lost is not replaced by another that could read none of the refresh tokens; the same one comes back.
pub async fn a_lost_ring_is_not_replaced_while_there_are_sessions(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    let store = world.store(0);
    let refused = store.create_key_ring(&ring("new"), at(0)).await.unwrap();
    assert_eq!(refused, FirstRing::Refused { sessions: 1 });
    assert_eq!(store.key_ring(at(0)).await.unwrap(), None);
    let restored = store.put_key_ring_if_gone(&ring("old"), at(0)).await;
    assert_eq!(restored.unwrap(), ring("old"));
    let other = store.put_key_ring_if_gone(&ring("new"), at(0)).await;
    assert_eq!(other.unwrap(), ring("old"));
}

/// Registration is open to strangers, so it is bounded; what has expired makes room.
pub async fn there_are_at_most_so_many_clients(fixture: impl Fixture) {
    let store = Store::new(fixture.backend());
    for expected in [
        Registration::Created,
        Registration::Created,
        Registration::Full,
    ] {
        let created = store
            .create_client(new_client(), CLIENT_LIFETIME, 2, at(0))
            .await
            .unwrap();
        assert_eq!(created, expected);
    }
    // The second came when there was little room, so it had less time to be used; the first has a day.
    for (seconds, expected) in [
        (15 * 60 - 1, Registration::Full),
        (15 * 60, Registration::Created),
        (15 * 60, Registration::Full),
        (24 * 60 * 60, Registration::Created),
    ] {
        let created = store
            .create_client(new_client(), CLIENT_LIFETIME, 2, at(seconds))
            .await
            .unwrap();
        assert_eq!(created, expected, "after {seconds} s");
    }
}
