//! `/account`: what somebody granted, seen and ended by them alone.

use testkit::browser::Page;
use testkit::github::Approval;
use testkit::person::Person;

use crate::gateway::{Gateway, github_person, person};

async fn open(gateway: &Gateway, person: &Person) -> Page {
    let url = gateway.issuer.join("/account").unwrap();
    person.browser.open(&url).await.unwrap().page().unwrap()
}

/// From the page that asks to sign in, through the provider's, to the list.
pub(crate) async fn sign_in(gateway: &Gateway, person: &Person) -> Page {
    let page = open(gateway, person).await;
    let form = page.forms().unwrap().remove(0);
    let there = person_submits(person, &page, &form).await;
    if there.url.path() == "/account" {
        return there;
    }
    person.sign_in(&there).await.unwrap().page().unwrap()
}

#[tokio::test]
async fn somebody_sees_what_they_granted_and_ends_one_of_it_at_once() {
    let gateway = Gateway::local(&[]).await;
    let ada = person("ada");
    let notes = gateway.web_client().await;
    let other = gateway
        .register("<b>Bold & Sons", "https://other.example/callback")
        .await;
    let kept = gateway.connect(&ada, &notes).await;
    gateway.clock.advance(60);
    let ended = gateway.connect(&ada, &other).await;
    let page = sign_in(&gateway, &ada).await;
    assert_eq!(page.url.path(), "/account", "{}", page.text());
    let text = page.text();
    for shown in [
        "ada",
        "Notes",
        "mcp-fetch",
        "2027-01-15 08:00 UTC",
        "2027-01-15 08:01 UTC",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!page.body.contains("<b>Bold"), "{}", page.body);
    assert_eq!(gateway.verify(&ended.access).await, 200);
    // The newest comes first.
    let form = page.form("session").unwrap();
    let page = person_submits(&ada, &page, &form).await;
    assert_eq!(gateway.verify(&ended.access).await, 401);
    assert_eq!(gateway.verify(&kept.access).await, 200);
    let refused = gateway.refresh(&other, &ended.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    assert!(
        !page.text().contains("Bold") && page.text().contains("Notes"),
        "{}",
        page.text()
    );
}

pub(crate) async fn person_submits(
    person: &Person,
    page: &Page,
    form: &testkit::browser::Form,
) -> Page {
    person
        .browser
        .submit(page, form)
        .await
        .unwrap()
        .page()
        .unwrap()
}

#[tokio::test]
async fn ending_everything_ends_it_at_once_and_signs_out_every_browser() {
    let gateway = Gateway::local(&[]).await;
    let (ada, elsewhere) = (person("ada"), person("ada"));
    let client = gateway.web_client().await;
    let held = [
        gateway.connect(&ada, &client).await,
        gateway.connect(&ada, &client).await,
    ];
    gateway.clock.advance(1);
    sign_in(&gateway, &elsewhere).await;
    let page = sign_in(&gateway, &ada).await;
    let page = person_submits(&ada, &page, &page.form("everything").unwrap()).await;
    assert!(
        page.text().contains("All access has ended"),
        "{}",
        page.text()
    );
    for tokens in held {
        assert_eq!(gateway.verify(&tokens.access).await, 401);
    }
    for browser in [&ada, &elsewhere] {
        assert!(
            open(&gateway, browser)
                .await
                .text()
                .contains("Sign in to see")
        );
    }
    gateway.clock.advance(1);
    let again = gateway.connect(&ada, &client).await;
    assert_eq!(gateway.verify(&again.access).await, 200);
}

#[tokio::test]
async fn nobody_ends_what_others_granted() {
    let gateway = Gateway::local(&[]).await;
    let (ada, bob) = (person("ada"), person("bob"));
    let client = gateway.web_client().await;
    let adas = gateway.connect(&ada, &client).await;
    let bobs = gateway.connect(&bob, &client).await;
    let page = sign_in(&gateway, &ada).await;
    let adas_session = page
        .form("session")
        .unwrap()
        .value("session")
        .unwrap()
        .to_owned();
    let page = sign_in(&gateway, &bob).await;
    let form = page.form("session").unwrap();
    assert_ne!(form.value("session"), Some(adas_session.as_str()));
    // Bob's page with the id of Ada's session.
    person_submits(&bob, &page, &form.clone().fill("session", &adas_session)).await;
    assert_eq!(gateway.verify(&adas.access).await, 200);
    // The same form from another browser, with a forged token, without one.
    let refused = person_submits(&ada, &page, &form).await;
    assert_eq!(refused.status, 400);
    for forged in [
        form.clone().fill("csrf", "forged"),
        form.clone().without("csrf"),
    ] {
        assert_eq!(person_submits(&bob, &page, &forged).await.status, 400);
    }
    // From a foreign page.
    let mut foreign = page.clone();
    foreign.url = "http://evil.localhost:1/".parse().unwrap();
    let mut absolute = form.clone();
    absolute.action = page.url.join(&form.action).unwrap().to_string();
    assert_eq!(person_submits(&bob, &foreign, &absolute).await.status, 400);
    assert_eq!(gateway.verify(&bobs.access).await, 200);
}

#[tokio::test]
async fn a_sign_in_at_the_account_is_short_renewed_and_ended_by_signing_out() {
    let gateway = Gateway::local(&[]).await;
    let ada = person("ada");
    gateway.connect(&ada, &gateway.web_client().await).await;
    sign_in(&gateway, &ada).await;
    let first = ada.browser.cookie_values();
    let names = ada.browser.cookie_names(&gateway.issuer);
    assert_eq!(names, ["mcp-account"], "those of sign-ins are gone");
    let page = open(&gateway, &ada).await;
    let page = person_submits(&ada, &page, &page.form("leave").unwrap()).await;
    assert!(page.text().contains("Sign in to see"), "{}", page.text());
    assert!(ada.browser.cookie_names(&gateway.issuer).is_empty());
    sign_in(&gateway, &ada).await;
    assert_ne!(ada.browser.cookie_values(), first);
    gateway.clock.advance(1801);
    assert!(open(&gateway, &ada).await.text().contains("Sign in to see"));
}

#[tokio::test]
async fn with_github_the_account_is_opened_by_who_granted_only() {
    let (gateway, github) = Gateway::github(&[("ALLOWED_GITHUB_USERS", "octocat")]).await;
    let octocat = github_person("octocat");
    gateway.connect(&octocat, &gateway.web_client().await).await;
    let page = sign_in(&gateway, &octocat).await;
    assert!(page.text().contains("Notes"), "{}", page.text());
    github.set_approval(Approval::Automatic("mona".to_owned()));
    let mona = github_person("mona");
    let page = open(&gateway, &mona).await;
    let form = page.forms().unwrap().remove(0);
    let page = person_submits(&mona, &page, &form).await;
    assert_eq!(page.status, 403, "{}", page.text());
    assert!(github.complaints().is_empty(), "{:?}", github.complaints());
}
