//! GitHub that is away, slow, or answers what it should not.

use std::time::{Duration, Instant};

use testkit::github::{CLIENT_ID, CLIENT_SECRET, Condition};
use url::Url;

use crate::answer::{Answer, answer};
use crate::github::{Fixture, Leaving, assert_page, start};
use crate::service::{AUTH, Auth, ISSUER};
use crate::sign_in::{Client, STATE, Tokens, ask, consent_page, decide, public_client, redemption};

/// A client, somebody who agreed to it and went to GitHub, and the address to which GitHub sends them back.
async fn on_the_way_back(fixture: &Fixture) -> (Client, Leaving, String) {
    let client = public_client(&fixture.auth).await;
    let leaving = fixture.approve(&client.id).await;
    let callback = fixture.at_github(&leaving).await;
    (client, leaving, callback)
}

/// A code is redeemed, a token is checked and refreshed.
async fn assert_sessions_go_on(auth: &Auth, client: &Client, code: &str) {
    let tokens = Tokens::of(&auth.post("/token", &redemption(client, code)).await);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let refreshed = auth.refresh(client, &tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn while_github_is_away_the_sign_in_stands() {
    let fixture = start(&[]).await;
    let (_, leaving, callback) = on_the_way_back(&fixture).await;
    fixture.github.set_condition(Condition::Failing);
    let page = fixture.come_back(&leaving.cookie, &callback).await;
    assert_page(&page, 503);
    assert!(page.body.contains("GitHub does not answer"), "{page:?}");
    fixture.github.set_condition(Condition::Well);
    let granted = fixture.come_back(&leaving.cookie, &callback).await;
    assert!(granted.parameter("code").is_some(), "{granted:?}");
}

/// A tool call, a check and a refresh need no GitHub.
#[tokio::test]
async fn while_github_is_away_sessions_go_on() {
    let mut fixture = start(&[]).await;
    let client = public_client(&fixture.auth).await;
    let granted = fixture.sign_in(&client.id).await;
    let code = granted.parameter("code").unwrap();
    fixture.github.go_down().await;
    assert_sessions_go_on(&fixture.auth, &client, &code).await;
}

/// A slow GitHub is told as such in bounded time, although each of its answers is within the limit of one.
#[tokio::test]
async fn a_slow_github_does_not_keep_the_browser_waiting() {
    let fixture = start(&[]).await;
    let (_, leaving, callback) = on_the_way_back(&fixture).await;
    fixture
        .github
        .set_condition(Condition::Slow(Duration::from_secs(4)));
    let begun = Instant::now();
    let page = fixture.come_back(&leaving.cookie, &callback).await;
    assert_page(&page, 503);
    assert!(begun.elapsed() < Duration::from_millis(7500));
}

/// Back at the client, who shows its own way to try again.
fn back_link(page: &Answer) -> Url {
    let before = format!("href=\"{}", crate::sign_in::REDIRECT);
    let (_, after) = page
        .body
        .split_once(&before)
        .unwrap_or_else(|| panic!("{page:?}"));
    let rest = after
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    Url::parse(&format!("{}{rest}", crate::sign_in::REDIRECT)).unwrap()
}

#[tokio::test]
async fn the_page_about_an_outage_leads_on_and_back() {
    let fixture = start(&[]).await;
    let (_, leaving, callback) = on_the_way_back(&fixture).await;
    fixture.github.set_condition(Condition::Failing);
    let page = fixture.come_back(&leaving.cookie, &callback).await;
    assert_page(&page, 503);
    assert!(!page.header("retry-after").is_empty());
    let back = back_link(&page);
    let told = |name: &str| {
        let mut pairs = back.query_pairs();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    };
    assert_eq!(told("error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(told("state").as_deref(), Some(STATE));
    assert_eq!(told("iss").as_deref(), Some(ISSUER));
    // The way on is the way to GitHub once more, with the same state.
    let again = leaving.to.as_str().replace('&', "&#38;");
    assert!(page.body.contains(&again), "{page:?} has no {again}");
    fixture.github.set_condition(Condition::Well);
    let callback = fixture.at_github(&leaving).await;
    let granted = fixture.come_back(&leaving.cookie, &callback).await;
    assert!(granted.parameter("code").is_some(), "{granted:?}");
}

#[tokio::test]
async fn after_five_failures_nobody_waits_for_github() {
    let fixture = start(&[]).await;
    let (client, leaving, callback) = on_the_way_back(&fixture).await;
    let (before, code) = (
        fixture.approve(&client.id).await,
        fixture.sign_in(&client.id).await,
    );
    let code = code.parameter("code").unwrap();
    fixture.github.set_condition(Condition::Failing);
    for _ in 0..5 {
        assert_page(&fixture.come_back(&leaving.cookie, &callback).await, 503);
    }
    let asked = fixture.github.calls().len();
    let begun = Instant::now();
    let page = fixture.come_back(&leaving.cookie, &callback).await;
    assert_page(&page, 503);
    let wait: u64 = page.header("retry-after").parse().unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(fixture.github.calls().len(), asked, "GitHub is left alone");
    // Whoever has not left yet is told before.
    let held = consent_page(&ask(&fixture.auth, &client.id, &[]).await);
    let told = decide(&fixture.auth, &held, "approve").await;
    assert_page(&told, 503);
    assert_eq!(told.count("set-cookie"), 1, "to try again with");
    assert!(told.body.contains("GitHub does not answer"), "{told:?}");
    // What needs no GitHub goes on.
    assert_sessions_go_on(&fixture.auth, &client, &code).await;
    drop(before);
}

#[tokio::test]
async fn a_rate_limit_of_github_is_honoured() {
    for status in [403, 429] {
        let fixture = start(&[]).await;
        let (_, leaving, callback) = on_the_way_back(&fixture).await;
        fixture.github.set_condition(Condition::Limited {
            status,
            seconds: 77,
        });
        for _ in 0..2 {
            let page = fixture.come_back(&leaving.cookie, &callback).await;
            assert_page(&page, 503);
            let wait: u64 = page.header("retry-after").parse().unwrap();
            assert!((60..=77).contains(&wait), "{wait}");
        }
        let asked = fixture.github.calls();
        let tokens = asked.iter().filter(|call| call.contains("access_token"));
        assert_eq!(tokens.count(), 1, "{asked:?}");
    }
}

/// What GitHub must not answer: no code comes of it, and nothing of it goes on to the client.
#[tokio::test]
async fn odd_answers_of_github_give_no_code() {
    let stub = testkit::raw::Stub::start().await.unwrap();
    let url = format!("http://{}", stub.address());
    let auth = Auth::start_with(&[
        ("IDENTITY_PROVIDER", "github"),
        ("LOCAL_USERS", ""),
        ("GITHUB_CLIENT_ID", CLIENT_ID),
        ("GITHUB_CLIENT_SECRET", CLIENT_SECRET),
        ("GITHUB_URL", &url),
        ("GITHUB_API_URL", &url),
        ("ALLOWED_GITHUB_USERS", "*"),
    ])
    .await;
    let client = public_client(&auth).await;
    let told = async |status: &str, body: &str| {
        let held = consent_page(&ask(&auth, &client.id, &[]).await);
        let leaving = decide(&auth, &held, "approve").await;
        let [cookie] = leaving.cookies().try_into().unwrap();
        let state = leaving.parameter("state").unwrap();
        let length = body.len();
        stub.set_answer(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ));
        let request = auth.request("GET", AUTH, &format!("/callback?code=x&state={state}"));
        answer(request.header("Cookie", cookie)).await
    };
    // The same answer to both questions: for the token, and who that is.
    let person = |login: &str| format!("{{\"access_token\":\"t\",\"id\":1,\"login\":\"{login}\"}}");
    let granted = told("200 OK", &person("mona")).await;
    assert!(granted.parameter("code").is_some(), "{granted:?}");
    let padding = " ".repeat(600 * 1024);
    for (status, body) in [
        ("200 OK", "<html>the-answer</html>".to_owned()),
        ("200 OK", "{\"the-answer\":1}".to_owned()),
        ("200 OK", "{\"access_token\":\"\"}".to_owned()),
        ("200 OK", "{\"error\":\"the-answer\"}".to_owned()),
        ("200 OK", person("mona\\r\\nX-Auth-Subject: github:2")),
        ("200 OK", person("")),
        ("200 OK", person("m\\u00f6na")),
        ("200 OK", person(&"m".repeat(101))),
        ("200 OK", person("mona").replace(":1,", ":-1,")),
        ("200 OK", format!("{padding}{}", person("mona"))),
        ("302 Found", person("mona")),
        ("404 Not Found", person("mona")),
    ] {
        let refused = told(status, &body).await;
        let shown: String = body.trim_start().chars().take(60).collect();
        assert_eq!(
            refused.parameter("error").as_deref(),
            Some("access_denied"),
            "{status} {shown}"
        );
        assert_eq!(refused.parameter("code"), None, "{status} {shown}");
        let location = refused.header("location");
        assert!(
            !location.contains("answer") && !location.contains("mona"),
            "{location}"
        );
    }
}
