//! The fake GitHub and the browser, against each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use testkit::browser::Browser;
use testkit::github::{Approval, CLIENT_ID, CLIENT_SECRET, Condition, GitHub, User};
use testkit::network;
use url::Url;

const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
const STATE: &str = "state-that-cannot-be-guessed";

fn callback() -> Url {
    Url::parse("http://auth.localhost:8080/callback").unwrap()
}

fn start() -> GitHub {
    GitHub::start(
        &callback(),
        [User::new(583_231, "octocat").in_team("acme", "robots")],
    )
    .unwrap()
}

fn authorization(github: &GitHub, changes: &[(&str, &str)]) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut parameters = vec![
        ("client_id", CLIENT_ID),
        ("redirect_uri", "http://auth.localhost:8080/callback"),
        ("state", STATE),
        ("scope", "read:org"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push((name, value));
    }
    Url::parse_with_params(
        &format!("{}/login/oauth/authorize", github.url()),
        parameters,
    )
    .unwrap()
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

async fn redeem(github: &GitHub, code: &str, changes: &[(&str, &str)]) -> serde_json::Value {
    let mut form = vec![
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
        ("code", code),
        ("redirect_uri", "http://auth.localhost:8080/callback"),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    let response = network::http_client()
        .unwrap()
        .post(format!("{}/login/oauth/access_token", github.url()))
        .header("accept", "application/json")
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.status(),
        200,
        "GitHub names errors with status 200"
    );
    response.json().await.unwrap()
}

/// A browser that knows that the callback is ours: it hands the address over instead of going there.
fn browser() -> Browser {
    let browser = Browser::new().unwrap();
    browser.stop_at(&callback());
    browser
}

async fn approved_code(github: &GitHub) -> String {
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let arrival = browser().open(&authorization(github, &[])).await.unwrap();
    parameter(&arrival.client().unwrap(), "code").unwrap()
}

#[tokio::test]
async fn a_person_approves_the_form_and_the_token_tells_who_it_is() {
    let github = start();
    let browser = browser();
    let page = browser
        .open(&authorization(&github, &[]))
        .await
        .unwrap()
        .page()
        .unwrap();
    let form = page.form("login").unwrap().fill("login", "octocat");
    let form = form.press("authorize", "1").unwrap();
    let back = browser
        .submit(&page, &form)
        .await
        .unwrap()
        .client()
        .unwrap();
    assert_eq!(parameter(&back, "state").as_deref(), Some(STATE));

    let token = redeem(&github, &parameter(&back, "code").unwrap(), &[]).await;
    let token = token
        .get("access_token")
        .and_then(|value| value.as_str())
        .unwrap()
        .to_owned();
    let http = network::http_client().unwrap();
    for (path, expected) in [
        ("/user", "\"id\":583231"),
        ("/user/orgs", "\"login\":\"acme\""),
        ("/user/teams", "\"slug\":\"robots\""),
    ] {
        let request = http
            .get(format!("{}{path}", github.api_url()))
            .bearer_auth(&token);
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.contains(expected), "{path}: {text}");
    }
    let anonymous = http
        .get(format!("{}/user", github.api_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(anonymous.status(), 401);
}

#[tokio::test]
async fn a_person_can_say_no() {
    let github = start();
    let browser = browser();
    let page = browser
        .open(&authorization(&github, &[]))
        .await
        .unwrap()
        .page()
        .unwrap();
    let form = page.form("login").unwrap().press("authorize", "0").unwrap();
    let back = browser
        .submit(&page, &form)
        .await
        .unwrap()
        .client()
        .unwrap();
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&back, "code"), None);
}

#[tokio::test]
async fn authorization_requests_that_github_or_we_must_not_accept() {
    let github = start();
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let other = "http://evil.localhost:8080/callback";
    let back = browser()
        .open(&authorization(&github, &[("redirect_uri", other)]))
        .await
        .unwrap();
    let back = back.client().unwrap();
    assert_eq!(
        parameter(&back, "error").as_deref(),
        Some("redirect_uri_mismatch")
    );
    for (change, status) in [
        (("client_id", "somebody"), 404),
        (("state", "short"), 400),
        (("code_challenge_method", "plain"), 400),
        (("code_challenge", ""), 400),
    ] {
        let arrival = browser()
            .open(&authorization(&github, &[change]))
            .await
            .unwrap();
        assert_eq!(arrival.page().unwrap().status, status, "{change:?}");
    }
    assert_eq!(github.complaints().len(), 5);
}

#[tokio::test]
async fn codes_are_bound_to_client_redirect_and_verifier_and_work_once() {
    let github = start();
    let error =
        |answer: &serde_json::Value| answer.get("error").unwrap().as_str().unwrap().to_owned();
    for (change, expected) in [
        (("client_secret", "wrong"), "incorrect_client_credentials"),
        (("client_id", "wrong"), "incorrect_client_credentials"),
        (
            ("redirect_uri", "http://auth.localhost:8080/"),
            "redirect_uri_mismatch",
        ),
        (("code_verifier", "another"), "bad_verification_code"),
        (("code", "made-up"), "bad_verification_code"),
    ] {
        let code = approved_code(&github).await;
        assert_eq!(
            error(&redeem(&github, &code, &[change]).await),
            expected,
            "{change:?}"
        );
    }
    let code = approved_code(&github).await;
    assert!(
        redeem(&github, &code, &[])
            .await
            .get("access_token")
            .is_some()
    );
    assert_eq!(
        error(&redeem(&github, &code, &[]).await),
        "bad_verification_code"
    );
}

#[tokio::test]
async fn the_machine_fails_is_slow_and_goes_away_as_told() {
    let mut github = start();
    let http = network::http_client().unwrap();
    let user = format!("{}/user", github.api_url());

    github.set_condition(Condition::Failing);
    assert_eq!(http.get(&user).send().await.unwrap().status(), 500);
    github.set_condition(Condition::Slow(Duration::from_secs(60)));
    let limited = http
        .get(&user)
        .timeout(Duration::from_millis(200))
        .send()
        .await;
    assert!(limited.unwrap_err().is_timeout());
    github.set_condition(Condition::Well);
    github.go_down().await;
    assert!(http.get(&user).send().await.unwrap_err().is_connect());
    github.come_back().unwrap();
    assert_eq!(http.get(&user).send().await.unwrap().status(), 401);
}
