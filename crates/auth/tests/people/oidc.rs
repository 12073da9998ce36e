//! OpenID Connect as identity provider: who comes in, and by what.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::browser::{Arrival, Page};
use testkit::person::{Credentials, Person};
use url::Url;

use crate::gateway::{Client, Gateway, parameter};
use crate::openid::{REMOTE_TEXT, Trouble};

const DAY: i64 = 24 * 3600;

/// Somebody with a fresh browser whom the provider knows already.
pub(crate) fn person() -> Person {
    Person::new(Credentials::OpenId {
        login: "ann".to_owned(),
    })
    .unwrap()
}

/// Asks, agrees on our page, and goes wherever the browser is sent.
pub(crate) async fn go(gateway: &Gateway, person: &Person, client: &Client) -> Arrival {
    person.browser.stop_at(&client.redirect_uri);
    let consent = person
        .consent_page(&gateway.authorization(client, &[]))
        .await
        .unwrap();
    let form = consent.form("decision").unwrap();
    let form = form.press("decision", "approve").unwrap();
    person.browser.submit(&consent, &form).await.unwrap()
}

/// How a sign-in of a fresh browser ends at the client: `code`, or the error.
pub(crate) async fn outcome(gateway: &Gateway) -> String {
    let client = gateway.web_client().await;
    let back = go(gateway, &person(), &client).await.client().unwrap();
    shown(&back)
}

fn shown(back: &Url) -> String {
    match (parameter(back, "code"), parameter(back, "error")) {
        (Some(_), None) => "code".to_owned(),
        (None, Some(error)) => error,
        _ => panic!("{back}"),
    }
}

async fn page(gateway: &Gateway) -> (Person, Client, Page) {
    let (client, person) = (gateway.web_client().await, person());
    let page = go(gateway, &person, &client).await.page().unwrap();
    (person, client, page)
}

/// That the provider is away, with the way on; nothing of what it said.
fn assert_outage(page: &Page) {
    assert_eq!(page.status, 503, "{}", page.text());
    assert!(
        page.text().contains("127.0.0.1 does not answer"),
        "{}",
        page.text()
    );
    assert!(!page.body.contains(REMOTE_TEXT), "{}", page.body);
}

#[tokio::test]
async fn who_is_on_the_list_by_login_comes_in_and_the_provider_has_no_complaint() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
    let client = gateway.web_client().await;
    let tokens = gateway.connect(&person(), &client).await;
    assert_eq!(gateway.verify(&tokens.access).await, 200);
    let again = gateway.refresh(&client, &tokens.refresh).await;
    assert_eq!(again.status, 200, "{again:?}");
    let state = provider.state();
    assert!(state.complaints.is_empty(), "{:?}", state.complaints);
    // Asked once, and nothing that was in the ID token already.
    assert_eq!(state.calls, ["discovery", "authorize", "token", "jwks"]);
}

#[tokio::test]
async fn the_list_knows_people_by_login_verified_address_subject_and_group() {
    for (variable, entry, expected) in [
        ("ALLOWED_OIDC_USERS", "ann", "code"),
        ("ALLOWED_OIDC_USERS", "Ann", "access_denied"),
        ("ALLOWED_OIDC_USERS", "ANN@example.com", "code"),
        ("ALLOWED_OIDC_USERS", "sub:1", "code"),
        ("ALLOWED_OIDC_USERS", "1", "access_denied"),
        ("ALLOWED_OIDC_USERS", "sub:2", "access_denied"),
        ("ALLOWED_OIDC_USERS", "*", "code"),
        ("ALLOWED_OIDC_GROUPS", "staff", "code"),
        ("ALLOWED_OIDC_GROUPS", "Staff", "access_denied"),
    ] {
        let (gateway, provider) = Gateway::openid(&[(variable, entry)]).await;
        provider.state().claims = json!({"groups": ["staff", "others"]});
        assert_eq!(outcome(&gateway).await, expected, "{variable}={entry}");
    }
}

#[tokio::test]
async fn a_service_may_be_for_some_groups_only() {
    let rules = [("ALLOWED_OIDC_USERS", "*"), ("MCP_FETCH_GROUPS", "staff")];
    let (gateway, provider) = Gateway::openid(&rules).await;
    provider.state().claims = json!({"groups": ["others"]});
    assert_eq!(outcome(&gateway).await, "access_denied");
    provider.state().claims = json!({"groups": ["staff"]});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn another_claim_may_be_the_login() {
    let settings = [
        ("ALLOWED_OIDC_USERS", "ann@corp"),
        ("OIDC_LOGIN_CLAIM", "upn"),
    ];
    let (gateway, provider) = Gateway::openid(&settings).await;
    assert_eq!(outcome(&gateway).await, "access_denied");
    provider.state().claims = json!({"upn": "ann@corp"});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn what_the_id_token_lacks_is_asked_of_userinfo() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_GROUPS", "staff")]).await;
    {
        let mut state = provider.state();
        state.person = json!({"sub": "1"});
        state.userinfo = json!({"sub": "1", "preferred_username": "ann", "groups": ["staff"]});
    }
    assert_eq!(outcome(&gateway).await, "code");
    assert_eq!(provider.state().count("userinfo"), 1);
    assert!(provider.state().complaints.is_empty());
}

#[tokio::test]
async fn an_address_that_was_not_verified_opens_nothing() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann@example.com")]).await;
    for unverified in [json!(false), json!("no"), json!(null)] {
        provider.state().claims = json!({"email_verified": unverified});
        assert_eq!(outcome(&gateway).await, "access_denied", "{unverified}");
    }
    // A chosen name that looks like the address is not one.
    provider.state().claims =
        json!({"email": "other@example.com", "preferred_username": "ann@example.com"});
    assert_eq!(outcome(&gateway).await, "access_denied");
    provider.state().claims = json!({});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn a_name_belongs_to_the_first_who_came_with_it() {
    let lists = [
        ("ALLOWED_OIDC_USERS", "ann"),
        ("ALLOWED_OIDC_GROUPS", "staff"),
    ];
    let (gateway, provider) = Gateway::openid(&lists).await;
    assert_eq!(outcome(&gateway).await, "code");
    // Somebody else has the name now, and would get in as a member; rules about tools go by the login.
    for taken in ["ann", "ANN"] {
        provider.state().claims =
            json!({"sub": "2", "preferred_username": taken, "groups": ["staff"]});
        assert_eq!(outcome(&gateway).await, "access_denied", "{taken}");
    }
    provider.state().claims = json!({"sub": "2", "preferred_username": "bob", "groups": ["staff"]});
    assert_eq!(outcome(&gateway).await, "code");
    // The first one is still the same under another name.
    provider.state().claims = json!({"preferred_username": "ann-renamed", "groups": ["staff"]});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn who_lost_the_group_is_out_when_the_membership_is_too_old() {
    let settings = [
        ("ALLOWED_OIDC_GROUPS", "staff"),
        ("MEMBERSHIP_LIFETIME", "172800"),
    ];
    let (gateway, provider) = Gateway::openid(&settings).await;
    provider.state().claims = json!({"groups": ["staff"]});
    let client = gateway.web_client().await;
    let held = gateway.connect(&person(), &client).await;
    provider.state().claims = json!({"groups": []});
    gateway.clock.advance(DAY);
    let refreshed = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    gateway.clock.advance(DAY);
    let refused = gateway
        .refresh(&client, refreshed.text("refresh_token"))
        .await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    assert_eq!(outcome(&gateway).await, "access_denied");
    provider.state().claims = json!({"groups": ["staff"]});
    assert_eq!(outcome(&gateway).await, "code");
}

#[tokio::test]
async fn the_secret_goes_into_the_form_where_the_provider_wants_it_there() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
    provider.state().document =
        json!({"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]});
    assert_eq!(outcome(&gateway).await, "code");
    assert!(provider.state().complaints.is_empty());
}

#[tokio::test]
async fn the_account_is_opened_by_who_granted() {
    let (gateway, _provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "*")]).await;
    let ann = person();
    gateway.connect(&ann, &gateway.web_client().await).await;
    let account = gateway.issuer.join("/account").unwrap();
    let page = ann.browser.open(&account).await.unwrap().page().unwrap();
    assert!(
        page.text().contains("Sign in with 127.0.0.1"),
        "{}",
        page.text()
    );
    let form = page.forms().unwrap().remove(0);
    let page = ann
        .browser
        .submit(&page, &form)
        .await
        .unwrap()
        .page()
        .unwrap();
    assert_eq!(page.url.path(), "/account");
    assert!(page.text().contains("Notes"), "{}", page.text());
}

#[tokio::test]
async fn who_refuses_at_the_provider_is_told_to_the_client() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "*")]).await;
    provider.state().way_back = json!({"code": null, "error": "access_denied"});
    assert_eq!(outcome(&gateway).await, "access_denied");
    provider.state().way_back = json!({"code": null, "error": "temporarily_unavailable"});
    assert_outage(&page(&gateway).await.2);
}

#[tokio::test]
async fn the_service_starts_without_the_provider_and_people_can_try_again() {
    let (gateway, mut provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
    provider.go_down().await;
    let (person, client, page) = page(&gateway).await;
    assert_outage(&page);
    let links = page.links().unwrap();
    provider.come_back();
    let again = links
        .iter()
        .find(|link| link.starts_with("/login?"))
        .unwrap();
    let back = person.browser.follow(&page, again).await.unwrap();
    let tokens = gateway.redeem(&client, &back.client().unwrap()).await;
    assert_eq!(gateway.verify(&tokens.access).await, 200);
}

#[tokio::test]
async fn what_was_discovered_counts_on_while_the_provider_does_not_say_it_again() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
    assert_eq!(outcome(&gateway).await, "code");
    gateway.clock.advance(3601);
    for broken in [Trouble::Status(500), Trouble::NotJson, Trouble::Redirecting] {
        let trouble = [("discovery", broken), ("jwks", broken)];
        provider.state().trouble = trouble.into();
        assert_eq!(outcome(&gateway).await, "code", "{broken:?}");
        gateway.clock.advance(61);
    }
    // For a day.
    gateway.clock.advance(DAY);
    assert_outage(&page(&gateway).await.2);
}

#[tokio::test]
async fn a_provider_that_fails_leaves_the_sign_in_standing() {
    for (endpoint, trouble) in [
        ("discovery", Trouble::Status(500)),
        ("discovery", Trouble::Status(404)),
        ("discovery", Trouble::NotJson),
        ("token", Trouble::Status(503)),
        ("token", Trouble::Status(429)),
        ("jwks", Trouble::Status(500)),
    ] {
        let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
        provider.state().trouble = [(endpoint, trouble)].into();
        let (_, _, page) = page(&gateway).await;
        assert_outage(&page);
    }
}

#[tokio::test]
async fn a_provider_that_is_known_to_be_away_is_left_alone() {
    let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
    provider.state().trouble = [("token", Trouble::Status(503))].into();
    for _ in 0..3 {
        assert_outage(&page(&gateway).await.2);
    }
    // It said when to come again, so nobody else was sent there.
    assert_eq!(provider.state().count("authorize"), 1);
    assert_eq!(provider.state().count("token"), 1);
}

#[tokio::test]
async fn a_slow_provider_keeps_nobody_waiting() {
    for endpoint in ["discovery", "token"] {
        let (gateway, provider) = Gateway::openid(&[("ALLOWED_OIDC_USERS", "ann")]).await;
        provider.state().trouble = [(endpoint, Trouble::Slow(Duration::from_secs(30)))].into();
        let begun = Instant::now();
        assert_outage(&page(&gateway).await.2);
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
    }
}
