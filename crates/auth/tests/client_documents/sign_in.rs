//! What a client that is known by a document can do, at the HTTP boundary of the whole service.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::remote::{CLIENT, Reaction, Remote, TestNetwork, answer, document, json as as_json};
use crate::service::{REDIRECT, Service};

async fn setting(changes: &[(&str, &str)]) -> (Remote, Arc<TestNetwork>, Service) {
    let remote = Remote::start().await;
    let network = TestNetwork::new(&remote);
    let service = Service::start(&network, changes).await;
    (remote, network, service)
}

#[tokio::test]
async fn a_whole_session_needs_one_fetch_at_the_authorization_endpoint() {
    let (remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    assert_eq!(remote.connections(), 1);
    let code = service.sign_in(&page).await;
    // From here on the host may be gone, and the document forgotten.
    remote.set(Reaction::NoTls);
    service.clock.advance(50);
    let tokens = service.redeem(&code).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    assert_eq!(service.verify(&tokens.text("access_token")).await, 200);
    service.clock.advance(7 * 24 * 60 * 60);
    let refresh_token = tokens.text("refresh_token");
    let refreshed = service
        .token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh_token),
        ])
        .await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let access_token = refreshed.text("access_token");
    assert_eq!(service.verify(&access_token).await, 200);
    let revocation = service.request("POST", "/revoke").form(&[
        ("client_id", CLIENT),
        ("token", &refreshed.text("refresh_token")),
    ]);
    assert_eq!(service.send(revocation).await.status, 200);
    assert_eq!(service.verify(&access_token).await, 401);
    assert_eq!(remote.connections(), 1);
}

#[tokio::test]
async fn a_client_is_stored_only_when_somebody_has_signed_in() {
    let (remote, _network, service) = setting(&[("MAX_CLIENTS", "1")]).await;
    let registration = || {
        let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
        service.send(service.request("POST", "/register").json(&metadata))
    };
    let page = service.ask(CLIENT, REDIRECT).await;
    let unknown = service.redeem("x").await;
    assert_eq!(
        (unknown.status, unknown.text("error").as_str()),
        (401, "invalid_client")
    );
    // The one place is still free.
    assert_eq!(registration().await.status, 201);
    assert_eq!(registration().await.status, 503);
    // A person who signs in is not turned away for want of a place.
    let code = service.sign_in(&page).await;
    assert_eq!(service.redeem(&code).await.status, 200);
    assert_eq!(remote.connections(), 1);
}

#[tokio::test]
async fn a_changed_document_is_asked_about_anew_and_its_old_redirects_end() {
    let (remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    assert!(page.body.contains("<q>Example</q>"), "{page:?}");
    let code = service.sign_in(&page).await;
    let before = service.redeem(&code).await.text("access_token");
    let mut changed = document();
    changed["client_name"] = json!("Example Two");
    changed["redirect_uris"] = json!(["https://client.example/callback"]);
    remote.set(as_json(&changed, &[]));
    service.clock.advance(300);
    // Nothing agreed before counts: the question is put again, with what the document says now.
    let page = service.ask(CLIENT, "https://client.example/callback").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("<q>Example Two</q>"), "{page:?}");
    let old = service.ask(CLIENT, REDIRECT).await;
    assert_eq!((old.status, old.location), (400, None));
    // Who had signed in stays signed in, also after the next sign-in with the client.
    service.sign_in(&page).await;
    assert_eq!(service.verify(&before).await, 200);
}

#[tokio::test]
async fn the_consent_page_shows_the_host_and_warns_of_loopback() {
    let (_remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    assert_eq!(page.status, 200);
    for shown in [
        "<h1>Allow <q>Example</q> of <strong>client.example</strong> to use mcp-fetch?</h1>",
        "<dt>Published by</dt><dd><strong>client.example</strong></dd>",
        "This address is on your own computer.",
        CLIENT,
    ] {
        assert!(page.body.contains(shown), "{shown}: {page:?}");
    }
}

#[tokio::test]
async fn consent_is_asked_each_time() {
    let (_remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    service.sign_in(&page).await;
    let again = service.ask(CLIENT, REDIRECT).await;
    assert_eq!((again.status, again.location), (200, None));
    assert!(again.body.contains("action=\"/consent\""), "{}", again.body);
}

/// Any program on the machine can say that it is a client that is known by a document only (MCP Security Best Practices,
/// "Localhost Redirect URI Impersonation").
#[tokio::test]
async fn it_is_not_offered_to_remember_what_any_program_could_pretend() {
    let (remote, _network, service) = setting(&[]).await;
    let offered = |page: &crate::service::Answer| page.body.contains("name=\"remember\"");
    assert!(!offered(&service.ask(CLIENT, REDIRECT).await));
    let web = "https://client.example/callback";
    let mut both = document();
    both["redirect_uris"] = json!([REDIRECT, web]);
    remote.set(as_json(&both, &[]));
    service.clock.advance(300);
    assert!(!offered(&service.ask(CLIENT, REDIRECT).await));
    assert!(offered(&service.ask(CLIENT, web).await));
}

#[tokio::test]
async fn no_page_repeats_what_the_host_answered() {
    let secret = "what-only-the-gateway-can-read";
    let mut wrong = document();
    wrong["redirect_uris"] = json!([format!("http://internal.example/{secret}")]);
    let mut named = document();
    named["token_endpoint_auth_method"] = json!(secret);
    for (reaction, status) in [
        (
            answer(200, &["Content-Type: application/json"], secret),
            400,
        ),
        (answer(200, &["Content-Type: text/html"], secret), 400),
        (answer(404, &[&format!("X-Secret: {secret}")], secret), 400),
        (
            answer(302, &[&format!("Location: https://{secret}.example/")], ""),
            400,
        ),
        (as_json(&wrong, &[]), 400),
        (as_json(&named, &[]), 400),
        (answer(500, &[], secret), 503),
        (
            Reaction::Bytes(format!("{secret}\r\n\r\n").into_bytes()),
            503,
        ),
    ] {
        let (remote, _network, service) = setting(&[]).await;
        remote.set(reaction);
        let page = service.ask(CLIENT, REDIRECT).await;
        assert_eq!((page.status, &page.location), (status, &None), "{page:?}");
        assert!(!page.body.contains(secret), "{page:?}");
        assert_eq!(remote.connections(), 1);
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_a_page_to_try_again() {
    let (remote, network, service) = setting(&[]).await;
    remote.set(Reaction::NoTls);
    let page = service.ask(CLIENT, REDIRECT).await;
    assert_eq!(
        (page.status, page.retry_after.as_deref()),
        (503, Some("30"))
    );
    assert!(page.body.contains("its host does not answer"), "{page:?}");
    // An address that may not be used is another matter, and says nothing about what is there.
    network.name("inside.example", &[&["10.0.0.7"]]);
    let page = service.ask("https://inside.example/c", REDIRECT).await;
    assert_eq!((page.status, page.retry_after), (400, None));
    assert!(
        page.body.contains("that address cannot be used"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("10.0.0.7"));
    assert_eq!(remote.connections(), 1);
}

#[tokio::test]
async fn a_redirect_uri_that_the_document_does_not_hold_is_a_page() {
    let (_remote, _network, service) = setting(&[]).await;
    for near in [
        "http://localhost:4711/",
        "http://127.0.0.1:4711/callback",
        "https://client.example/callback",
    ] {
        let page = service.ask(CLIENT, near).await;
        assert_eq!((page.status, page.location), (400, None), "{near}");
    }
}

#[tokio::test]
async fn a_registration_cannot_be_managed_where_there_is_none() {
    let (_remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    service.sign_in(&page).await;
    let path = format!(
        "/register/{}",
        CLIENT.replace('/', "%2F").replace(':', "%3A")
    );
    for method in ["GET", "PUT", "DELETE"] {
        for token in [
            "",
            "x",
            "mcp_rat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let request = service
                .request(method, &path)
                .bearer_auth(token)
                .json(&document());
            let refused = service.send(request).await;
            assert_eq!(refused.status, 401, "{method} {token}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_document_client_has_no_secret_to_show() {
    let (_remote, _network, service) = setting(&[]).await;
    let page = service.ask(CLIENT, REDIRECT).await;
    let code = service.sign_in(&page).await;
    let refused = service
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_secret", "x"),
        ])
        .await;
    assert_eq!(
        (refused.status, refused.text("error").as_str()),
        (401, "invalid_client")
    );
}

/// What the metadata says about documents.
async fn advertised(service: &Service) -> Value {
    let metadata = service.get("/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&metadata.body).unwrap();
    let member = |name: &str| metadata.get(name).unwrap();
    let methods = member("token_endpoint_auth_methods_supported").as_array();
    assert!(methods.unwrap().contains(&json!("none")));
    member("client_id_metadata_document_supported").clone()
}

#[tokio::test]
async fn what_is_advertised_is_what_is_accepted() {
    for (setting_value, is_advertised, status) in [
        ("any", true, 200),
        ("client.example,other.example", true, 200),
        ("other.example", true, 400),
        ("off", false, 400),
    ] {
        let (remote, _network, service) = setting(&[("CLIENT_DOCUMENTS", setting_value)]).await;
        assert_eq!(
            advertised(&service).await,
            json!(is_advertised),
            "{setting_value}"
        );
        let page = service.ask(CLIENT, REDIRECT).await;
        assert_eq!(page.status, status, "{setting_value}: {page:?}");
        assert_eq!(remote.connections(), usize::from(status == 200));
    }
    let (_remote, _network, service) = setting(&[]).await;
    assert_eq!(advertised(&service).await, json!(true));
}

#[tokio::test]
async fn a_wrong_policy_stops_the_service() {
    let remote = Remote::start().await;
    let network = TestNetwork::new(&remote);
    let clock = Arc::new(oauth::SystemClock);
    for wrong in [
        "*",
        "any,claude.ai",
        "https://claude.ai",
        "Claude.ai",
        "none",
        "127.0.0.1:443",
    ] {
        let settings = [
            ("DOMAIN", "localhost"),
            ("PUBLIC_SCHEME", "http"),
            ("STORE", "memory"),
            ("IDENTITY_PROVIDER", "local"),
            (
                "LOCAL_USERS",
                "ada:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
            ),
            (
                "GATEWAY_JWT_SECRET",
                "0123456789-abcdefghijklmnopqrstuvwxyz",
            ),
            ("CLIENT_DOCUMENTS", wrong),
        ];
        let started = auth::testing::start(&settings, network.clone(), clock.clone()).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains("CLIENT_DOCUMENTS"), "{wrong}: {error}");
    }
}

/// The id of such a client comes back with the next sign-in; what was given before its removal does not.
#[tokio::test]
async fn what_a_removed_client_was_given_stays_void() {
    let (_remote, _network, service) = setting(&[]).await;
    let code = service.sign_in(&service.ask(CLIENT, REDIRECT).await).await;
    let before = service.redeem(&code).await;
    let unredeemed = service.sign_in(&service.ask(CLIENT, REDIRECT).await).await;
    service.clock.advance(1);
    service.remove_client().await;
    let code = service.sign_in(&service.ask(CLIENT, REDIRECT).await).await;
    let after = service.redeem(&code).await;
    assert_eq!(service.verify(&after.text("access_token")).await, 200);
    assert_eq!(service.verify(&before.text("access_token")).await, 401);
    let refresh_token = before.text("refresh_token");
    let refreshed = service
        .token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh_token),
        ])
        .await;
    let redeemed = service.redeem(&unredeemed).await;
    for refused in [refreshed, redeemed] {
        assert_eq!(
            (refused.status, refused.text("error").as_str()),
            (400, "invalid_grant"),
            "{refused:?}"
        );
    }
}
