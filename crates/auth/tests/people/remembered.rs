//! Consent that a person wanted remembered: when they are not asked again, and all the cases in which they are.

use serde_json::json;
use testkit::browser::{Arrival, Page};
use testkit::person::Person;

use crate::gateway::{Client, Gateway, parameter};
use crate::oidc::person;
use crate::openid::OpenId;

pub(crate) const NOTES: &str = "https://notes.example/oauth/callback";

pub(crate) async fn start() -> (Gateway, OpenId) {
    Gateway::openid(&[("ALLOWED_OIDC_USERS", "*")]).await
}

/// The client asks: at the client with a code, or on a page of ours.
pub(crate) async fn ask(
    gateway: &Gateway,
    person: &Person,
    client: &Client,
    changes: &[(&str, &str)],
) -> Arrival {
    let wanted = changes.iter().find(|(name, _)| *name == "redirect_uri");
    let redirect = wanted.map_or_else(
        || client.redirect_uri.clone(),
        |(_, uri)| uri.parse().unwrap(),
    );
    person.browser.stop_at(&redirect);
    let url = gateway.authorization(client, changes);
    person.browser.open(&url).await.unwrap()
}

/// The person agrees on the page, and wants that remembered.
pub(crate) async fn agree(person: &Person, page: &Page) -> Arrival {
    assert!(is_offered(page), "{}", page.body);
    let form = page.form("decision").unwrap().fill("remember", "yes");
    let form = form.press("decision", "approve").unwrap();
    person.browser.submit(page, &form).await.unwrap()
}

fn is_offered(page: &Page) -> bool {
    page.body.contains("name=\"remember\"")
}

pub(crate) fn is_question(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Page(page) if page.status == 200 && page.form("decision").is_ok())
}

pub(crate) fn has_code(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Client { url, .. } if parameter(url, "code").is_some())
}

pub(crate) fn error(arrival: Arrival) -> String {
    parameter(&arrival.client().unwrap(), "error").unwrap()
}

/// The value of the cookie by which the browser is known.
fn memory(person: &Person) -> String {
    let values = person.browser.cookie_values();
    let mut ours = values
        .into_iter()
        .filter(|value| value.starts_with("mcp_rb_"));
    ours.next().unwrap()
}

/// Somebody who has agreed once to what Notes asks for by default, and had it remembered.
pub(crate) async fn remembered(gateway: &Gateway, client: &Client) -> Person {
    let person = person();
    remember_again(gateway, &person, client).await;
    person
}

async fn remember_again(gateway: &Gateway, person: &Person, client: &Client) {
    let page = ask(gateway, person, client, &[]).await.page().unwrap();
    let back = agree(person, &page).await;
    assert!(has_code(&back), "{back:?}");
    assert!(has_code(&ask(gateway, person, client, &[]).await));
}

#[tokio::test]
async fn who_wants_so_is_not_asked_again_but_still_recognised_each_time() {
    let (gateway, provider) = start().await;
    let client = gateway.web_client().await;
    let person = remembered(&gateway, &client).await;
    let seen = provider.state().count("authorize");
    for _ in 0..2 {
        let back = ask(&gateway, &person, &client, &[]).await.client().unwrap();
        let tokens = gateway.redeem(&client, &back).await;
        assert_eq!(gateway.verify(&tokens.access).await, 200);
    }
    assert_eq!(provider.state().count("authorize"), seen + 2);
    assert!(provider.state().complaints.is_empty());
    // Of the sign-ins nothing is left in the browser.
    assert_eq!(
        person.browser.cookie_names(&gateway.issuer),
        ["mcp-remembered"]
    );
}

#[tokio::test]
async fn who_does_not_want_so_is_asked_each_time() {
    let (gateway, _provider) = start().await;
    let client = gateway.web_client().await;
    let person = person();
    for _ in 0..2 {
        gateway.connect(&person, &client).await;
    }
    assert!(person.browser.cookie_names(&gateway.issuer).is_empty());
}

/// A browser in which consent to one client is remembered, and everything that somebody else could make of it (MCP Security Best
/// Practices, "Confused Deputy Problem").
#[tokio::test]
async fn nothing_but_the_same_gets_a_code_without_the_page() {
    let (gateway, _provider) = start().await;
    let loopback = "http://localhost:4711/callback";
    let notes = gateway.register_with("Notes", &[NOTES, loopback]).await;
    let person = person();
    let narrow = [("scope", "mcp")];
    let page = ask(&gateway, &person, &notes, &narrow)
        .await
        .page()
        .unwrap();
    assert!(has_code(&agree(&person, &page).await));
    assert!(has_code(&ask(&gateway, &person, &notes, &narrow).await));

    let echo = gateway.resource("mcp-echo");
    for (what, changes) in [
        ("a wider scope", vec![("scope", "mcp offline_access")]),
        ("the scopes that are the default", vec![]),
        (
            "another service",
            vec![("scope", "mcp"), ("resource", echo.as_str())],
        ),
        (
            "another redirect",
            vec![("scope", "mcp"), ("redirect_uri", loopback)],
        ),
        (
            "prompt=consent",
            vec![("scope", "mcp"), ("prompt", "consent")],
        ),
        ("prompt=login", vec![("scope", "mcp"), ("prompt", "login")]),
    ] {
        let arrival = ask(&gateway, &person, &notes, &changes).await;
        assert!(is_question(&arrival), "{what}: {arrival:?}");
    }
    let same_name = gateway
        .register("Notes", "https://evil.example/callback")
        .await;
    let same_redirect = gateway.register("Notes", NOTES).await;
    for other in [&same_name, &same_redirect] {
        let arrival = ask(&gateway, &person, other, &narrow).await;
        assert!(is_question(&arrival), "{other:?}: {arrival:?}");
    }
    // A redirect that is not registered is no question at all.
    let evil = [
        ("scope", "mcp"),
        ("redirect_uri", "https://evil.example/callback"),
    ];
    let page = ask(&gateway, &person, &notes, &evil).await.page().unwrap();
    assert_eq!(page.status, 400, "{}", page.text());
    // Another browser of the same person.
    assert!(is_question(
        &ask(&gateway, &crate::oidc::person(), &notes, &narrow).await
    ));
    // And the same still is the same.
    assert!(has_code(&ask(&gateway, &person, &notes, &narrow).await));
}

#[tokio::test]
async fn a_cookie_that_is_not_the_browsers_own_is_worth_nothing() {
    let (gateway, _provider) = start().await;
    let client = gateway.web_client().await;
    let person = remembered(&gateway, &client).await;
    let cookie = memory(&person);
    let (secret, id) = cookie.split_once('.').unwrap();
    let forged = format!("mcp_rb_{}", "A".repeat(43));
    let url = gateway.authorization(&client, &[]);
    for (value, destination, expected) in [
        (cookie.as_str(), "document", 303),
        (cookie.as_str(), "iframe", 200),
        (format!("{forged}.{id}").as_str(), "document", 200),
        (
            format!("{secret}.{}", "A".repeat(22)).as_str(),
            "document",
            200,
        ),
        (secret, "document", 200),
    ] {
        let header = format!("mcp-remembered={value}");
        let (status, _) = gateway.open_with(&url, &header, destination).await;
        assert_eq!(status, expected, "{destination}");
    }
}

/// Somebody else signs in where it was remembered: they are asked, and what they then get is theirs.
#[tokio::test]
async fn what_one_person_had_remembered_is_not_anothers() {
    let (gateway, provider) = start().await;
    let client = gateway.web_client().await;
    let person = remembered(&gateway, &client).await;
    provider.state().claims = json!({"sub": "2", "preferred_username": "bob"});
    let arrival = ask(&gateway, &person, &client, &[]).await;
    assert!(is_question(&arrival), "{arrival:?}");
    let back = agree(&person, &arrival.page().unwrap()).await;
    let tokens = gateway.redeem(&client, &back.client().unwrap()).await;
    assert_eq!(gateway.verify(&tokens.access).await, 200);
    // From now on it is Bob's, and Ann is asked there.
    assert!(has_code(&ask(&gateway, &person, &client, &[]).await));
    provider.state().claims = json!({});
    assert!(is_question(&ask(&gateway, &person, &client, &[]).await));
}

/// The attacker's browser skips the page; the address to which it is sent gives nothing in the victim's, where the same is
/// remembered.
#[tokio::test]
async fn a_captured_address_gives_no_code_in_another_browser() {
    let (gateway, provider) = start().await;
    let client = gateway.web_client().await;
    let attacker = remembered(&gateway, &client).await;
    let victim = remembered(&gateway, &client).await;
    let header = format!("mcp-remembered={}", memory(&attacker));
    let url = gateway.authorization(&client, &[]);
    let (status, location) = gateway.open_with(&url, &header, "document").await;
    assert_eq!(status, 303);
    let captured = gateway.issuer.join(&location.unwrap()).unwrap();
    let asked = provider.state().count("token");
    let page = victim
        .browser
        .open(&captured)
        .await
        .unwrap()
        .page()
        .unwrap();
    assert_eq!(page.status, 400, "{}", page.text());
    assert_eq!(provider.state().count("token"), asked);
}

#[tokio::test]
async fn where_it_is_switched_off_it_is_not_offered_and_a_forged_tick_does_nothing() {
    let off = [("ALLOWED_OIDC_USERS", "*"), ("CONSENT_LIFETIME", "0")];
    let (gateway, _provider) = Gateway::openid(&off).await;
    let client = gateway.web_client().await;
    let person = person();
    let page = ask(&gateway, &person, &client, &[]).await.page().unwrap();
    assert!(!is_offered(&page));
    let form = page.form("decision").unwrap().fill("remember", "yes");
    let form = form.press("decision", "approve").unwrap();
    assert!(has_code(
        &person.browser.submit(&page, &form).await.unwrap()
    ));
    assert!(person.browser.cookie_names(&gateway.issuer).is_empty());
    assert!(is_question(&ask(&gateway, &person, &client, &[]).await));
}

#[tokio::test]
async fn who_must_not_be_asked_gets_a_code_only_by_what_is_remembered() {
    let (gateway, provider) = start().await;
    let client = gateway.web_client().await;
    let silent = [("prompt", "none")];
    // A client that nobody has approved is told only if the person wants so.
    let page = ask(&gateway, &person(), &client, &silent)
        .await
        .page()
        .unwrap();
    assert!(!is_question(&Arrival::Page(page.clone())));
    assert!(page.body.contains("consent_required"), "{}", page.body);
    let person = remembered(&gateway, &client).await;
    assert_eq!(
        error(ask(&gateway, &crate::oidc::person(), &client, &silent).await),
        "consent_required"
    );
    provider.state().calls.clear();
    assert!(has_code(&ask(&gateway, &person, &client, &silent).await));
    assert!(
        provider
            .state()
            .calls
            .iter()
            .any(|call| call == "authorize prompt=none")
    );
    let both = [("prompt", "none login")];
    assert_eq!(
        error(ask(&gateway, &person, &client, &both).await),
        "invalid_request"
    );
    // The provider would have to ask.
    provider.state().way_back = json!({"code": null, "error": "login_required"});
    assert_eq!(
        error(ask(&gateway, &person, &client, &silent).await),
        "login_required"
    );
    provider.state().way_back = json!({});
    // Somebody else is there.
    provider.state().claims = json!({"sub": "2", "preferred_username": "bob"});
    assert_eq!(
        error(ask(&gateway, &person, &client, &silent).await),
        "consent_required"
    );
}
