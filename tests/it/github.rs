//! GitHub as identity provider: a fake one that checks client secret, PKCE, state and redirect as GitHub does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;
use testkit::binaries;
use testkit::gateway::{Gateway, Provider};
use testkit::github::{Approval, Condition, User};
use testkit::process::{Command, Logs};
use testkit::wait::PATIENCE;
use url::Url;

#[tokio::test]
async fn who_is_on_the_list_comes_in_who_is_not_is_refused() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "octocat,mona".to_owned(),
    };
    let gateway = Gateway::start().with_provider(provider).with_echo().await?;
    let github = gateway.github.as_ref().context("GitHub")?;

    let registered = gateway.register("mcp-echo").await?;
    let granted = registered
        .clone()
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let session = granted.session().await?;
    assert_eq!(
        session.request("tools/list", json!({})).await?.status,
        StatusCode::OK
    );
    // Everything that GitHub would have refused, or that we must send although it does not ask for it.
    assert_eq!(github.complaints(), Vec::<String>::new());
    let calls = github.calls();
    for call in [
        "GET /login/oauth/authorize",
        "POST /login/oauth/access_token",
        "GET /api/user",
    ] {
        assert!(
            calls.iter().any(|known| known == call),
            "{call} in {calls:?}"
        );
    }

    // On GitHub, but not on the list.
    let (url, _) = registered.authorization_url()?;
    let back = gateway
        .person_named("hubot")?
        .approve(&url, &registered.redirect_uri)
        .await?;
    assert_eq!(outcome(&back), ("access_denied".to_owned(), None));

    // The name was pinned to its number: who takes over a name that became free does not take over the access.
    github.set_user(User::new(583_231, "octocat-renamed"));
    github.set_user(User::new(666, "octocat"));
    let (url, _) = registered.authorization_url()?;
    let back = gateway
        .person_named("octocat")?
        .approve(&url, &registered.redirect_uri)
        .await?;
    assert_eq!(outcome(&back), ("access_denied".to_owned(), None));
    Ok(())
}

#[tokio::test]
async fn who_says_no_at_github_or_at_our_page_gives_no_code() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "*".to_owned(),
    };
    let gateway = Gateway::start().with_provider(provider).with_echo().await?;
    let registered = gateway.register("mcp-echo").await?;

    let (url, pkce) = registered.authorization_url()?;
    let back = gateway
        .person_named("octocat")?
        .deny(&url, &registered.redirect_uri)
        .await?;
    assert_eq!(outcome(&back), ("access_denied".to_owned(), None));
    assert_eq!(parameter(&back, "state"), Some(pkce.state));
    assert_eq!(parameter(&back, "iss"), Some(gateway.issuer()));

    let person = gateway.person_named("octocat")?;
    person.browser.stop_at(&registered.redirect_uri);
    let (url, _) = registered.authorization_url()?;
    let consent = person.consent_page(&url).await?;
    let form = consent.form("decision")?.press("decision", "approve")?;
    let page = person.browser.submit(&consent, &form).await?.page()?;
    let form = page.form("authorize")?.press("authorize", "0")?;
    let back = person.browser.submit(&page, &form).await?.client()?;
    assert_eq!(outcome(&back), ("access_denied".to_owned(), None));
    Ok(())
}

#[tokio::test]
async fn when_github_fails_the_person_is_told_and_can_try_again() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "octocat".to_owned(),
    };
    let gateway = Gateway::start().with_provider(provider).with_echo().await?;
    let github = gateway.github.as_ref().context("GitHub")?;
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let registered = gateway.register("mcp-echo").await?;

    for condition in [Condition::Failing, Condition::Slow(Duration::from_secs(15))] {
        let person = gateway.person()?;
        person.browser.stop_at(&registered.redirect_uri);
        let (url, _) = registered.authorization_url()?;
        let consent = person.consent_page(&url).await?;
        // The person is back from GitHub before GitHub breaks: only our own requests meet the failure.
        person.browser.stop_at(&gateway.auth_url("/callback")?);
        let form = consent.form("decision")?.press("decision", "approve")?;
        let callback = person.browser.submit(&consent, &form).await?.client()?;
        person.browser.stop_at(&registered.redirect_uri);

        github.set_condition(condition);
        let page = person.browser.open(&callback).await?.page()?;
        assert_eq!(
            page.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{condition:?}: {}",
            page.text()
        );
        assert!(
            page.text().contains("GitHub does not answer"),
            "{}",
            page.text()
        );
        github.set_condition(Condition::Well);
    }
    // A new attempt succeeds.
    let granted = registered.authorize(&gateway.person()?).await;
    assert!(granted.is_ok(), "{granted:?}");
    Ok(())
}

#[tokio::test]
async fn members_of_a_listed_organisation_come_in() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: String::new(),
    };
    let gateway = Gateway::start()
        .with_provider(provider)
        .with_auth_setting("ALLOWED_GITHUB_ORGS", "acme")
        .with_echo()
        .await?;
    let registered = gateway.register("mcp-echo").await?;
    let back = async |login: &str| {
        let (url, _) = registered.authorization_url()?;
        let person = gateway.person_named(login)?;
        person.approve(&url, &registered.redirect_uri).await
    };
    assert!(parameter(&back("mona").await?, "code").is_some());
    assert_eq!(
        outcome(&back("octocat").await?),
        ("access_denied".to_owned(), None)
    );
    Ok(())
}

#[tokio::test]
async fn without_a_list_the_service_does_not_start() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let logs = Logs::default();
    let mut auth = Command::new("auth", binaries::mcp_auth())
        .current_dir(directory.path())
        .env("DOMAIN", "localhost")
        .env("PUBLIC_SCHEME", "http")
        .env("MCP_SERVICES", "mcp-echo")
        .env("PORT", "0")
        .env("PRIVATE_PORT", "0")
        .env("STORE", "memory")
        .env("GITHUB_CLIENT_ID", "id")
        .env("GITHUB_CLIENT_SECRET", "secret")
        .env("GATEWAY_JWT_SECRET", testkit::gateway::JWT_SECRET)
        .start(&logs)?;
    let status = auth.wait(PATIENCE).await?;
    assert!(!status.success(), "{status}");
    logs.wait_for("ALLOWED_GITHUB_USERS").await?;
    assert_eq!(logs.text().lines().count(), 1, "{}", logs.text());
    Ok(())
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned())
}

/// Error and code of an answer to the client.
fn outcome(back: &Url) -> (String, Option<String>) {
    (
        parameter(back, "error").unwrap_or_default(),
        parameter(back, "code"),
    )
}
