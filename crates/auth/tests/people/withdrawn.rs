//! How remembered consent ends: with its time, with its client, and when the person or an operator withdraws it.

use serde_json::json;
use testkit::browser::Page;
use testkit::person::Person;

use crate::gateway::{Gateway, person as local_person};
use crate::oidc::person;
use crate::remembered::{NOTES, agree, ask, error, has_code, is_question, remembered, start};

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn a_client_that_changed_or_is_gone_is_asked_about_again() {
    let (gateway, _provider) = start().await;
    let other = "https://notes.example/other";
    for (name, redirects) in [
        ("Notes!", vec![NOTES]),
        ("Notes", vec![NOTES, other]),
        ("Notes", vec![NOTES]),
    ] {
        let (client, token) = gateway.register_managed("Notes", &[NOTES]).await;
        let person = remembered(&gateway, &client).await;
        gateway.change(&client, &token, name, &redirects).await;
        let arrival = ask(&gateway, &person, &client, &[]).await;
        let is_same = name == "Notes" && redirects == [NOTES];
        assert_eq!(has_code(&arrival), is_same, "{name} {redirects:?}");
        assert_eq!(is_question(&arrival), !is_same, "{name} {redirects:?}");
    }
    let (client, token) = gateway.register_managed("Notes", &[NOTES]).await;
    let person = remembered(&gateway, &client).await;
    gateway.remove(&client, &token).await;
    let page = ask(&gateway, &person, &client, &[]).await.page().unwrap();
    assert_eq!(page.status, 400, "{}", page.text());
}

#[tokio::test]
async fn it_ends_after_its_lifetime_however_often_it_was_used() {
    let lifetime = [("ALLOWED_OIDC_USERS", "*"), ("CONSENT_LIFETIME", "172800")];
    let (gateway, _provider) = Gateway::openid(&lifetime).await;
    let client = gateway.web_client().await;
    let person = person();
    let page = ask(&gateway, &person, &client, &[]).await.page().unwrap();
    assert!(
        page.text().contains("Do not ask again for 2 days"),
        "{}",
        page.text()
    );
    assert!(has_code(&agree(&person, &page).await));
    gateway.clock.advance(2 * DAY - 1);
    assert!(has_code(&ask(&gateway, &person, &client, &[]).await));
    gateway.clock.advance(1);
    assert!(is_question(&ask(&gateway, &person, &client, &[]).await));
}

async fn account(gateway: &Gateway, person: &Person) -> Page {
    let url = gateway.issuer.join("/account").unwrap();
    let page = person.browser.open(&url).await.unwrap().page().unwrap();
    if page.text().contains("Sign in to see") {
        let form = page.forms().unwrap().remove(0);
        return person
            .browser
            .submit(&page, &form)
            .await
            .unwrap()
            .page()
            .unwrap();
    }
    page
}

#[tokio::test]
async fn a_person_sees_it_at_their_account_and_withdraws_it() {
    let (gateway, _provider) = start().await;
    let client = gateway.web_client().await;
    let person = remembered(&gateway, &client).await;
    let page = account(&gateway, &person).await;
    for shown in [
        "What you are not asked again",
        "notes.example",
        "2027-04-15 08:00 UTC",
    ] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    // Not by a form that is not theirs.
    let form = page.form("consent").unwrap();
    let forged = form.clone().fill("csrf", "forged");
    let refused = person.browser.submit(&page, &forged).await.unwrap();
    assert_eq!(refused.page().unwrap().status, 400);
    assert!(has_code(&ask(&gateway, &person, &client, &[]).await));
    let page = account(&gateway, &person).await;
    let form = page.form("consent").unwrap();
    let page = person
        .browser
        .submit(&page, &form)
        .await
        .unwrap()
        .page()
        .unwrap();
    assert!(!page.text().contains("What you are not asked again"));
    assert!(is_question(&ask(&gateway, &person, &client, &[]).await));
}

#[tokio::test]
async fn who_ends_an_access_is_asked_before_there_is_another() {
    let (gateway, _provider) = start().await;
    let client = gateway.web_client().await;
    for form in ["session", "everything"] {
        let person = person();
        let page = ask(&gateway, &person, &client, &[]).await.page().unwrap();
        let back = agree(&person, &page).await.client().unwrap();
        gateway.redeem(&client, &back).await;
        let page = account(&gateway, &person).await;
        let form = page.form(form).unwrap();
        person.browser.submit(&page, &form).await.unwrap();
        gateway.clock.advance(1);
        assert!(is_question(&ask(&gateway, &person, &client, &[]).await));
    }
}

/// Withdrawn while the person is signing in: asked after all.
#[tokio::test]
async fn what_was_withdrawn_meanwhile_does_not_count_at_the_end() {
    let gateway = Gateway::local(&[]).await;
    let client = gateway.web_client().await;
    let ada = local_person("ada");
    let page = ask(&gateway, &ada, &client, &[]).await.page().unwrap();
    let login = agree(&ada, &page).await.page().unwrap();
    assert!(has_code(&ada.sign_in(&login).await.unwrap()));
    // Not asked, but to sign in.
    let login = ask(&gateway, &ada, &client, &[]).await.page().unwrap();
    assert!(login.form("password").is_ok(), "{}", login.text());
    let path = ["users", "local:ada", "consents"];
    let listed = gateway.admin("GET", &path).await;
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed:?}");
    assert_eq!(items[0]["redirect_uri"], NOTES);
    let id = items[0]["id"].as_str().unwrap();
    let forgotten = gateway
        .admin("DELETE", &["users", "local:ada", "consents", id])
        .await;
    assert_eq!(forgotten.body, json!({"ended": [id]}));
    let again = gateway
        .admin("DELETE", &["users", "local:ada", "consents", id])
        .await;
    assert_eq!(again.status, 404);
    let arrival = ada.sign_in(&login).await.unwrap();
    assert!(is_question(&arrival), "{arrival:?}");
    // Nobody is asked a password silently.
    let silent = [("prompt", "none")];
    let login = agree(&ada, &arrival.page().unwrap()).await.page().unwrap();
    assert!(has_code(&ada.sign_in(&login).await.unwrap()));
    assert_eq!(
        error(ask(&gateway, &ada, &client, &silent).await),
        "login_required"
    );
    let all = gateway.admin("DELETE", &path).await;
    assert_eq!(all.body["ended"].as_array().unwrap().len(), 1);
    assert!(is_question(&ask(&gateway, &ada, &client, &[]).await));
}
