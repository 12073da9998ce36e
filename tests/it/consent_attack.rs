//! The confused deputy (MCP security best practices): an attacker consents in their own browser and sends the address at the
//! identity provider to a victim whose browser would approve there without asking.

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use testkit::browser::{Arrival, Browser};
use testkit::gateway::{Gateway, Provider};
use testkit::github::Approval;

#[tokio::test]
async fn no_code_comes_from_a_browser_that_did_not_consent() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "*".to_owned(),
    };
    let gateway = Gateway::start().with_provider(provider).with_echo().await?;
    let github = gateway.github.as_ref().context("GitHub")?;
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let registered = gateway.register("mcp-echo").await?;

    // GitHub approves everything by itself, and still there is no way around our page.
    let attacker = gateway.person()?;
    attacker.browser.stop_at(&registered.redirect_uri);
    let (url, _) = registered.authorization_url()?;
    let consent = attacker.consent_page(&url).await?;
    assert_eq!(github.calls(), Vec::<String>::new());
    assert!(
        consent.text().contains("127.0.0.1"),
        "the page says where the browser will be sent: {}",
        consent.text()
    );

    // The attacker approves and keeps the address at GitHub for the victim.
    let form = consent.form("decision")?.press("decision", "approve")?;
    attacker
        .browser
        .stop_at(&format!("{}/login/oauth/authorize", github.url()).parse()?);
    let captured = attacker.browser.submit(&consent, &form).await?.client()?;

    // The victim has a sign-in of their own under way, so there are cookies of ours in their browser.
    let victim = gateway.person()?;
    victim.browser.stop_at(&registered.redirect_uri);
    let (own, _) = registered.authorization_url()?;
    let own_consent = victim.consent_page(&own).await?;
    let arrival = victim.browser.open(&captured).await?;
    let Arrival::Page(page) = arrival else {
        anyhow::bail!("the victim's browser handed out a code: {arrival:?}")
    };
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    assert!(page.url.path().starts_with("/callback"), "{}", page.url);

    // The victim's own sign-in is not disturbed.
    let form = own_consent.form("decision")?.press("decision", "approve")?;
    let back = victim.browser.submit(&own_consent, &form).await?.client()?;
    assert!(
        back.query().is_some_and(|query| query.contains("code=")),
        "{back}"
    );
    Ok(())
}

#[tokio::test]
async fn a_consent_counts_only_with_its_token_its_cookie_and_from_our_own_page() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let registered = gateway.register("mcp-echo").await?;
    let (url, _) = registered.authorization_url()?;
    let person = gateway.person()?;
    person.browser.stop_at(&registered.redirect_uri);
    let consent = person.consent_page(&url).await?;
    let form = consent.form("decision")?.press("decision", "approve")?;

    // Another browser with the same form.
    let page = Browser::new()?.submit(&consent, &form).await?.page()?;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    // A forged or missing anti-forgery token.
    for forged in [
        form.clone().fill("csrf", "forged"),
        form.clone().without("csrf"),
    ] {
        let page = person.browser.submit(&consent, &forged).await?.page()?;
        assert!(
            page.status.is_client_error(),
            "{} {}",
            page.status,
            page.text()
        );
    }
    // The same form on a foreign page: the browser says where it comes from.
    let mut foreign = consent.clone();
    foreign.url = "http://evil.localhost:1/".parse()?;
    let mut absolute = form.clone();
    absolute.action = consent.url.join(&form.action)?.to_string();
    let page = person.browser.submit(&foreign, &absolute).await?.page()?;
    assert!(
        page.status.is_client_error(),
        "{} {}",
        page.status,
        page.text()
    );

    // After all that, the person on the true page decides.
    let (url, _) = registered.authorization_url()?;
    let back = person.approve(&url, &registered.redirect_uri).await?;
    assert!(
        back.query().is_some_and(|query| query.contains("code=")),
        "{back}"
    );

    // Nobody can put our pages into a frame or run scripts on them.
    let policy = consent
        .headers
        .get("content-security-policy")
        .context("CSP")?
        .to_str()?;
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(
        consent
            .headers
            .get("x-frame-options")
            .context("X-Frame-Options")?,
        "DENY"
    );
    assert_eq!(
        consent
            .headers
            .get("cache-control")
            .context("Cache-Control")?,
        "no-store"
    );
    Ok(())
}
