//! The administration API on the private listener.

use std::sync::Arc;

use oauth::authorize::AuthorizeRequest;
use oauth::client_metadata::ClientMetadataRequest;
use oauth::consent::{ConsentTerms, RememberedBrowser};
use oauth::pkce::CodeVerifier;
use oauth::{
    ClientId, Clock as _, RedirectUri, ScopeSet, ServiceName, Subject, SystemClock, SystemEntropy,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use store::{RedisBackend, RedisOptions, Store};
use testkit::network::http_client;
use testkit::redis::RedisServer;

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, JWT_SECRET};
use crate::sign_in::{REDIRECT, public_client, signed_in};

/// A request without the token.
pub(crate) fn unsigned(auth: &Auth, method: &str, path: &str) -> RequestBuilder {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let url = format!("http://{}{path}", auth.private);
    http_client().unwrap().request(method, url)
}

async fn ask(auth: &Auth, method: &str, path: &str) -> Answer {
    let token = auth::testing::admin_token(JWT_SECRET);
    answer(unsigned(auth, method, path).bearer_auth(token)).await
}

pub(crate) async fn get(auth: &Auth, path: &str) -> Answer {
    ask(auth, "GET", path).await
}

pub(crate) async fn post(auth: &Auth, path: &str) -> Answer {
    ask(auth, "POST", path).await
}

async fn delete(auth: &Auth, path: &str) -> Answer {
    ask(auth, "DELETE", path).await
}

fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["items"].as_array().unwrap().clone()
}

const EVERYTHING: [(&str, &str); 15] = [
    ("GET", "/admin/stats"),
    ("POST", "/admin/purge"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys/rotate"),
    ("POST", "/admin/keys/compromised"),
    ("GET", "/admin/clients"),
    ("DELETE", "/admin/clients/x"),
    ("GET", "/admin/sessions"),
    ("GET", "/admin/users"),
    ("POST", "/admin/users/revoke"),
    ("POST", "/admin/users/local:ada/revoke"),
    ("GET", "/admin/users/local:ada/consents"),
    ("DELETE", "/admin/users/local:ada/consents"),
    ("DELETE", "/admin/users/local:ada/consents/x"),
    ("GET", "/admin/nothing"),
];

#[tokio::test]
async fn nothing_is_answered_without_the_token_and_nothing_is_there_in_public() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let other = auth::testing::admin_token("another-secret-0123456789-abcdefghijkl");
    for (method, path) in EVERYTHING {
        for wrong in ["", "x", &other, &tokens.access, JWT_SECRET] {
            let request = unsigned(&auth, method, path).bearer_auth(wrong);
            let refused = answer(request).await;
            assert_eq!(refused.refusal(), "401 invalid_token", "{method} {path}");
        }
        let refused = answer(unsigned(&auth, method, path)).await;
        assert_eq!(refused.status, 401, "{method} {path}");
        let token = auth::testing::admin_token(JWT_SECRET);
        let public = answer(auth.request(method, AUTH, path).bearer_auth(token)).await;
        assert_eq!(public.status, 404, "{method} {path}");
    }
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_client_is_listed_shown_and_deleted_with_its_sessions() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let other = public_client(&auth).await;
    let listed = items(&get(&auth, "/admin/clients").await);
    let ids: Vec<&str> = listed
        .iter()
        .map(|c| c["client_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&client.id.as_str()) && ids.contains(&other.id.as_str()));
    let path = format!("/admin/clients/{}", client.id);
    let shown = get(&auth, &path).await;
    assert_eq!(shown.text("client_name"), "Test");
    assert_eq!(shown.text("kind"), "registered");
    assert!(!shown.body.contains("mcp_rg_"), "{shown:?}");
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(delete(&auth, &path).await.status, 200);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    assert_eq!(get(&auth, &path).await.refusal(), "404 not_found");
    assert_eq!(delete(&auth, &path).await.refusal(), "404 not_found");
    assert_eq!(items(&get(&auth, "/admin/clients").await).len(), 1);
    let session = &items(&get(&auth, "/admin/sessions").await)[0];
    assert_eq!(session["state"], "void");
}

#[tokio::test]
async fn a_list_comes_page_by_page() {
    let auth = Auth::start().await;
    for _ in 0..5 {
        public_client(&auth).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut path = "/admin/clients?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page = get(&auth, &path).await;
        for client in items(&page) {
            assert!(seen.insert(client["client_id"].as_str().unwrap().to_owned()));
        }
        pages += 1;
        match page.json().get("next") {
            Some(next) => path = format!("/admin/clients?limit=2&after={}", next.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (5, 3));
    let wrong = get(&auth, "/admin/clients?limit=many").await;
    assert_eq!(wrong.refusal(), "400 invalid_request");
}

#[tokio::test]
async fn a_session_is_listed_and_revoked() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    for query in [
        String::new(),
        format!("?client_id={}", client.id),
        "?subject=local:ada".to_owned(),
    ] {
        let listed = items(&get(&auth, &format!("/admin/sessions{query}")).await);
        assert_eq!(listed.len(), 1, "{query}");
        assert_eq!(listed[0]["login"], "ada");
        assert_eq!(listed[0]["service"], "mcp-fetch");
        assert_eq!(listed[0]["state"], "active");
    }
    assert!(items(&get(&auth, "/admin/sessions?subject=local:bob").await).is_empty());
    let listed = items(&get(&auth, "/admin/sessions").await);
    let path = format!("/admin/sessions/{}", listed[0]["id"].as_str().unwrap());
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(delete(&auth, &path).await.status, 200);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    let shown = get(&auth, &path).await;
    assert_eq!(shown.text("state"), "revoked");
    assert_eq!(shown.text("reason"), "requested");
    let unknown = get(&auth, "/admin/sessions/AAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(unknown.refusal(), "404 not_found");
    assert_eq!(
        get(&auth, "/admin/sessions/x").await.refusal(),
        "400 invalid_request"
    );
}

#[tokio::test]
async fn everything_of_a_person_is_revoked_and_they_may_sign_in_again() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let users = items(&get(&auth, "/admin/users").await);
    assert_eq!(users[0]["subject"], "local:ada");
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(
        post(&auth, "/admin/users/local:ada/revoke").await.status,
        200
    );
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    assert!(get(&auth, "/admin/users/local:ada").await.json()["revoked_up_to"].is_string());
    let unknown = post(&auth, "/admin/users/local:bob/revoke").await;
    assert_eq!(unknown.refusal(), "404 not_found");
    let (_, tokens) = signed_in(&auth).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert_eq!(post(&auth, "/admin/users/revoke").await.status, 200);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
}

#[tokio::test]
async fn what_is_dead_is_counted_and_purged() {
    let auth = Auth::start().await;
    let (_, kept) = signed_in(&auth).await;
    let (client, _) = signed_in(&auth).await;
    assert_eq!(
        delete(&auth, &format!("/admin/clients/{}", client.id))
            .await
            .status,
        200
    );
    let stats = get(&auth, "/admin/stats").await.json();
    assert_eq!(stats["sessions_by_state"]["active"], 1);
    assert_eq!(stats["sessions_by_state"]["void"], 1);
    assert_eq!(stats["active_by_service"]["mcp-fetch"], 1);
    let counted = post(&auth, "/admin/purge?dry_run=true").await.json();
    assert_eq!(
        (&counted["dry_run"], &counted["sessions"]),
        (&true.into(), &1.into())
    );
    assert_eq!(items(&get(&auth, "/admin/sessions").await).len(), 2);
    let purged = post(&auth, "/admin/purge").await.json();
    assert_eq!(purged["sessions"], 1);
    assert_eq!(items(&get(&auth, "/admin/sessions").await).len(), 1);
    assert_eq!(auth.verify(&kept.access).await.status, 200);
}

#[tokio::test]
async fn an_operators_client_is_created_once_and_its_secret_told_once() {
    let auth = Auth::start().await;
    let create = async |body: Value| {
        let token = auth::testing::admin_token(JWT_SECRET);
        let request = unsigned(&auth, "POST", "/admin/clients").bearer_auth(token);
        answer(request.json(&body)).await
    };
    let created = create(json!({"name": "nightly", "services": ["mcp-fetch"]})).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.text("client_id"), "nightly");
    let secret = created.text("client_secret");
    let shown = get(&auth, "/admin/clients/nightly").await;
    assert_eq!(shown.text("kind"), "operator");
    assert_eq!(shown.json()["services"], json!(["mcp-fetch"]));
    assert!(shown.json()["expires_at"].is_null());
    assert!(!shown.body.contains(&secret), "{shown:?}");
    for wrong in [
        json!({"name": "nightly", "services": ["mcp-fetch"]}),
        json!({"name": "Nightly!", "services": ["mcp-fetch"]}),
        json!({"name": "other", "services": ["mcp-nowhere"]}),
        json!({"name": "other"}),
        json!({"name": "other", "services": ["mcp-fetch"], "secret": "mine"}),
    ] {
        let refused = create(wrong.clone()).await;
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
    }
    let listed = items(&get(&auth, "/admin/clients").await);
    assert_eq!(listed.len(), 1, "{listed:?}");
}

/// Remembers consent of Ada's to that many services, without the sign-ins.
async fn remember_consents(redis: &RedisServer, many: usize) {
    let options = RedisOptions {
        password: Some(RedisServer::PASSWORD.to_owned()),
        ..RedisOptions::new(redis.url())
    };
    let store = Store::new(Arc::new(RedisBackend::open(options).await.unwrap()));
    let (ada, now) = (Subject::parse("local:ada").unwrap(), SystemClock.now());
    let (browser, _) = RememberedBrowser::remember(None, &ada, 3600, now, &SystemEntropy);
    let request = ClientMetadataRequest {
        redirect_uris: Some(vec![REDIRECT.to_owned()]),
        ..ClientMetadataRequest::default()
    };
    let metadata = request.check(&ScopeSet::default()).unwrap();
    for number in 0..many {
        let request = AuthorizeRequest {
            client_id: ClientId::parse("notes").unwrap(),
            redirect_uri: RedirectUri::parse(REDIRECT).unwrap(),
            state: None,
            scope: ScopeSet::parse("mcp").unwrap(),
            code_challenge: CodeVerifier::parse(&"v".repeat(43)).unwrap().challenge(),
            device: None,
            service: ServiceName::parse(&format!("mcp-{number}")).unwrap(),
        };
        let terms = ConsentTerms::of(&request, &metadata, false).unwrap();
        store
            .remember_consent(&ada, &terms, &browser.id, 3600, now)
            .await
            .unwrap();
    }
}

/// Beyond five hundred they were left as they were.
#[tokio::test]
async fn all_remembered_consents_are_forgotten_however_many_there_are() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    remember_consents(&redis, 501).await;
    let path = "/admin/users/local:ada/consents";
    let ended = |answer: &Answer| answer.json()["ended"].as_array().unwrap().len();
    assert_eq!(ended(&delete(&auth, path).await), 501);
    assert_eq!(ended(&delete(&auth, path).await), 0);
}
