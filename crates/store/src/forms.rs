//! The forms in which records are stored, as they were written by this release and by those before it.
//!
//! Instances of two releases run side by side while an installation is updated, and a store outlives both. So every form that
//! was ever written stands in `fixtures/stored-records.jsonl`, is read here, and is never changed there. A release that writes
//! another form adds a line; whether it needs a new [`StoredRecord::VERSION`] is decided by what a reader of the release before
//! makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use oauth::account::AccountSession;
use oauth::authorization::{Authorization, IdentitySecrets, Recalled};
use oauth::authorize::AuthorizeRequest;
use oauth::client::Client;
use oauth::client_metadata::ClientMetadataRequest;
use oauth::consent::{Consent, ConsentTerms, RememberedBrowser};
use oauth::device::{DeviceAuthorization, DeviceCode};
use oauth::key_ring::{Algorithm, SigningKey, SigningKeys};
use oauth::operator::{OperatorClientName, OperatorRights};
use oauth::pkce::CodeVerifier;
use oauth::redirect::RedirectUri;
use oauth::session::{Lifetimes, Person, Redemption, Revocation, Session};
use oauth::token::DerivationKey;
use oauth::{ClientId, Entropy, KeyId, ScopeSet, ServiceName, Subject, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::backend::{Backend as _, Key, Kind, Record, StoreError};
use crate::people::{PersonRecord, Pin};
use crate::records::{StoredRecord, decode, encode};
use crate::{MemoryBackend, SealedKeyRing, Store};

const STORED: &str = include_str!("../fixtures/stored-records.jsonl");

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const ACCESS_TOKEN_LIFETIME: u64 = 3600;
const LIFETIMES: Lifetimes = Lifetimes {
    idle: 86_400,
    absolute: 864_000,
    grace: 120,
};

/// One form: what it is of, under which key it was stored, and the bytes.
#[derive(Serialize, Deserialize)]
struct Form {
    of: String,
    key: String,
    record: Box<RawValue>,
}

/// Bytes that follow each other, so that what is written is the same each time.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn person() -> Person {
    Person {
        subject: Subject::parse("github:583231").unwrap(),
        login: "octocat".to_owned(),
        names: ["octocat".to_owned()].into(),
        memberships: ["acme/robots".to_owned()].into(),
    }
}

fn request(client_id: &ClientId) -> AuthorizeRequest {
    AuthorizeRequest {
        client_id: client_id.clone(),
        redirect_uri: RedirectUri::parse("https://a.example/cb").unwrap(),
        state: Some("from the client".to_owned()),
        scope: ScopeSet::parse("mcp offline_access").unwrap(),
        code_challenge: CodeVerifier::parse(VERIFIER).unwrap().challenge(),
        device: None,
        service: ServiceName::parse("mcp-fetch").unwrap(),
    }
}

/// What this release writes, gathered from the verbs that write it.
struct Gathered {
    backend: Arc<MemoryBackend>,
    store: Store,
    entropy: Counting,
    forms: Vec<Form>,
}

impl Gathered {
    async fn keep(&mut self, of: &str, kind: Kind, id: &str) {
        let key = Key::new(kind, id);
        let found = self.backend.read(std::slice::from_ref(&key), at(0)).await;
        let record = found.unwrap().pop().flatten().expect(of);
        self.forms.push(Form {
            of: of.to_owned(),
            key: key.to_string(),
            record: serde_json::from_slice(record.bytes()).unwrap(),
        });
    }

    async fn clients(&mut self) -> Client {
        let metadata: ClientMetadataRequest = serde_json::from_str(
            r#"{"redirect_uris":["https://a.example/cb","http://127.0.0.1/cb"],"client_name":"A client",
                "token_endpoint_auth_method":"client_secret_basic","client_uri":"https://a.example/"}"#,
        )
        .unwrap();
        let metadata = metadata.check(&ScopeSet::parse("mcp").unwrap()).unwrap();
        let (client, _) = Client::register(metadata, at(0), &self.entropy);
        let created = self
            .store
            .create_client(client.clone(), 7_776_000, 10, at(0));
        assert_eq!(created.await.unwrap(), crate::Registration::Created);
        let id = client.id.clone();
        self.keep("a registered client", Kind::Client, id.as_str())
            .await;
        let name = OperatorClientName::parse("nightly").unwrap();
        let rights = OperatorRights {
            services: [ServiceName::parse("mcp-fetch").unwrap()].into(),
            ..OperatorRights::default()
        };
        let (operators, _) = Client::of_operator(&name, rights, at(0), &self.entropy);
        let id = operators.id.clone();
        let created = self.store.create_operator_client(operators, at(0));
        assert!(created.await.unwrap());
        self.keep("a client of the operator", Kind::Client, id.as_str())
            .await;
        client
    }

    async fn sign_ins(&mut self, client: &Client) {
        let (authorization, consent) =
            Authorization::start(request(&client.id), at(0), &self.entropy);
        let id = authorization.id.clone();
        self.store
            .begin_sign_in(authorization, at(0))
            .await
            .unwrap();
        let of = "a sign-in that awaits consent";
        self.keep(of, Kind::Authorization, id.as_str()).await;
        let secrets = IdentitySecrets::generate(&self.entropy);
        let approved =
            self.store
                .approve_sign_in(&id, &consent.cookie, &consent.form, false, &secrets, at(1));
        assert!(approved.await.unwrap().is_ok());
        let of = "a sign-in that awaits the identity";
        self.keep(of, Kind::Authorization, id.as_str()).await;
        let (account, _) = AccountSession::start(at(0), &self.entropy);
        let id = account.id.clone();
        self.store.put_account(account, at(0)).await.unwrap();
        let of = "a browser on its way to /account";
        self.keep(of, Kind::Account, id.as_str()).await;
        let (account, _) =
            AccountSession::sign_in(person().subject, "octocat".to_owned(), at(0), &self.entropy);
        let id = account.id.clone();
        self.store.put_account(account, at(0)).await.unwrap();
        self.keep("a browser at /account", Kind::Account, id.as_str())
            .await;
    }

    async fn devices(&mut self, client: &Client) {
        let code = DeviceCode::generate(&self.entropy);
        let device = DeviceAuthorization::start(
            &code,
            client.id.clone(),
            ServiceName::parse("mcp-fetch").unwrap(),
            ScopeSet::parse("mcp").unwrap(),
            at(0),
        );
        let id = code.user_code.clone();
        let begun = self.store.begin_device(&id, device, at(0));
        assert!(begun.await.unwrap());
        self.keep("a device that waits", Kind::Device, id.as_str())
            .await;
        let person = person();
        let answered = self.store.answer_device(&id, Some(&person), at(1));
        assert!(answered.await.unwrap());
        self.keep("a device that was answered", Kind::Device, id.as_str())
            .await;
    }

    async fn people(&mut self) {
        let subject = person().subject;
        self.store.note_sign_in(&person(), at(0)).await.unwrap();
        let of = "a person who has signed in";
        self.keep(of, Kind::Person, subject.as_str()).await;
        assert!(self.store.revoke_person(&subject, at(1)).await.unwrap());
        let of = "a person whose sessions were ended";
        self.keep(of, Kind::Person, subject.as_str()).await;
        let pinned = self.store.pin("octocat", &subject, at(0)).await;
        assert_eq!(pinned.unwrap(), crate::Pinned::ToThem);
        self.keep("a pinned name", Kind::Pin, "github:octocat")
            .await;
    }

    async fn sessions(&mut self, client: &Client) {
        let key = DerivationKey::new([7; 32]);
        let (session, code) =
            Session::issue_code(&request(&client.id), person(), at(0), &self.entropy);
        let id = session.id.clone();
        self.store.issue_code(session, at(0)).await.unwrap();
        let of = "a session with a code";
        self.keep(of, Kind::Session, id.as_str()).await;
        let verifier = CodeVerifier::parse(VERIFIER).unwrap();
        let attempt = Redemption {
            code: &code,
            client_id: &client.id,
            redirect_uri: None,
            verifier: &verifier,
        };
        let redeemed = self.store.redeem_code(
            &attempt,
            LIFETIMES,
            ACCESS_TOKEN_LIFETIME,
            at(1),
            &self.entropy,
        );
        let crate::Redemption::Granted(session) = redeemed.await.unwrap() else {
            panic!("the code is good");
        };
        self.keep("an active session", Kind::Session, id.as_str())
            .await;
        let token = session.refresh_token(&key).unwrap();
        let rotated = self.store.rotate_refresh(
            &token,
            &client.id,
            &key,
            LIFETIMES,
            ACCESS_TOKEN_LIFETIME,
            at(100),
        );
        assert!(matches!(rotated.await.unwrap(), crate::Refresh::Granted(_)));
        let token = TokenId::generate(&self.entropy);
        let ended =
            self.store
                .revoke_access_token(&id, &token, at(3000), ACCESS_TOKEN_LIFETIME, at(200));
        assert!(ended.await.unwrap());
        self.store
            .confirm_membership(&id, ACCESS_TOKEN_LIFETIME, at(300))
            .await
            .unwrap();
        let of = "a session with a rotation, an ended token and confirmed memberships";
        self.keep(of, Kind::Session, id.as_str()).await;
        self.store
            .revoke_session(&id, Revocation::Requested, ACCESS_TOKEN_LIFETIME, at(400))
            .await
            .unwrap();
        self.keep("a revoked session", Kind::Session, id.as_str())
            .await;
    }

    async fn keys(&mut self) {
        let key = |number: u8, signs_from| SigningKey {
            id: KeyId::generate(&Counting(AtomicU8::new(number))),
            algorithm: Algorithm::Es256,
            created_at: at(0),
            signs_from: at(signs_from),
            token_life: 3600,
            material: "sealed".to_owned(),
        };
        let ring = SealedKeyRing {
            seals: vec!["sealed".to_owned()],
            derivation: "sealed".to_owned(),
            signing: SigningKeys::from_keys(vec![key(1, 0), key(2, 660)]),
        };
        let restored = self.store.put_key_ring_if_gone(&ring, at(0)).await;
        restored.unwrap();
        self.keep("the key ring", Kind::KeyRing, "main").await;
    }

    async fn consents(&mut self, client: &Client) {
        let subject = person().subject;
        let (browser, _) = RememberedBrowser::remember(None, &subject, 3600, at(0), &self.entropy);
        let id = browser.id.clone();
        self.store.put_browser(browser, at(0)).await.unwrap();
        let of = "a browser in which consent is remembered";
        self.keep(of, Kind::Browser, id.as_str()).await;
        let request = request(&client.id);
        let terms = ConsentTerms::of(&request, &client.metadata, false).unwrap();
        self.store
            .remember_consent(&subject, &terms, &id, 3600, at(0))
            .await
            .unwrap();
        let consent = terms.id(&subject);
        self.keep("a remembered consent", Kind::Consent, consent.as_str())
            .await;
        let recalled = Recalled {
            subject,
            browser: id,
        };
        let (mut silent, _) = Authorization::recall(request, recalled, at(0), &self.entropy);
        silent.remember = true;
        silent.is_silent = true;
        let id = silent.id.clone();
        self.store.begin_sign_in(silent, at(0)).await.unwrap();
        let of = "a sign-in of which nobody is asked";
        self.keep(of, Kind::Authorization, id.as_str()).await;
    }
}

/// What this release writes.
async fn written() -> Vec<Form> {
    let backend = Arc::new(MemoryBackend::new());
    let mut gathered = Gathered {
        store: Store::new(Arc::clone(&backend) as _),
        backend,
        entropy: Counting(AtomicU8::new(0)),
        forms: Vec::new(),
    };
    let client = gathered.clients().await;
    gathered.sign_ins(&client).await;
    gathered.devices(&client).await;
    gathered.people().await;
    gathered.sessions(&client).await;
    gathered.keys().await;
    gathered.consents(&client).await;
    gathered.forms
}

fn kept() -> Vec<Form> {
    let lines = STORED.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Reads a form, and writes again what was read.
fn again<T: StoredRecord>(key: &Key, record: &Record) -> Result<Record, StoreError> {
    let value: T = decode(key, Some(record))?.expect("it is there");
    encode(key, &value, record.expires_at())
}

fn read_and_write(form: &Form) -> Result<String, StoreError> {
    let (kind, id) = form.key.split_once(':').unwrap();
    let kind = Kind::all().find(|known| known.as_str() == kind).unwrap();
    let key = Key::new(kind, id);
    let record = Record::new(form.record.get().as_bytes().to_vec(), None);
    let written = match kind {
        Kind::Client => again::<Client>(&key, &record),
        Kind::Authorization => again::<Authorization>(&key, &record),
        Kind::Pin => again::<Pin>(&key, &record),
        Kind::Session => again::<Session>(&key, &record),
        Kind::Person => again::<PersonRecord>(&key, &record),
        Kind::Device => again::<DeviceAuthorization>(&key, &record),
        Kind::Account => again::<AccountSession>(&key, &record),
        Kind::KeyRing => again::<SealedKeyRing>(&key, &record),
        Kind::Consent => again::<Consent>(&key, &record),
        Kind::Browser => again::<RememberedBrowser>(&key, &record),
    }?;
    Ok(String::from_utf8(written.bytes().to_vec()).unwrap())
}

/// A changed form is seen here before it is in anybody's store.
#[tokio::test]
async fn what_is_written_stands_among_the_kept_forms() {
    let kept: Vec<_> = kept()
        .into_iter()
        .map(|form| (form.of, form.record.get().to_owned()))
        .collect();
    let mut missing = String::new();
    for form in written().await {
        if !kept.contains(&(form.of.clone(), form.record.get().to_owned())) {
            missing.push_str(&serde_json::to_string(&form).unwrap());
            missing.push('\n');
        }
    }
    assert!(
        missing.is_empty(),
        "these forms are new. Can the release before read them? If not, raise VERSION and keep reading the old one. \
         Then add to crates/store/fixtures/stored-records.jsonl, leaving what is there:\n{missing}"
    );
}

#[test]
fn every_form_that_was_ever_written_is_read() {
    for form in kept() {
        if let Err(error) = read_and_write(&form) {
            panic!("{}: {error}", form.of);
        }
    }
}

/// The last form of each thing is the present one: an instance that reads and writes it again changes nothing that another
/// instance of the same release would not have written, and loses no field.
#[test]
fn the_last_form_of_each_comes_back_as_it_was() {
    let last: BTreeMap<_, _> = kept()
        .into_iter()
        .map(|form| (form.of.clone(), form))
        .collect();
    for form in last.values().filter(|form| !form.of.ends_with("(old)")) {
        let written = read_and_write(form).unwrap();
        assert_eq!(written, form.record.get(), "{}", form.of);
    }
}

#[test]
fn every_kind_has_a_form() {
    for kind in Kind::all() {
        let prefix = format!("{}:", kind.as_str());
        assert!(
            kept().iter().any(|form| form.key.starts_with(&prefix)),
            "{kind:?}"
        );
    }
}
