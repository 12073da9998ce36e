//! Every page that people see, in a real Chromium: with the keyboard alone, without scripts, on the smallest phone, bright and dark,
//! and by the rules of WCAG 2.2 AA that a program can check.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::chromium::{Chromium, Seen, Window};
use testkit::gateway::{Gateway, PASSWORD, Provider, USERNAME};
use testkit::github::Approval;
use testkit::mcp_client::{REDIRECT_URI, Registered};
use testkit::network;
use url::Url;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What Chromium says of an answer such as 400, which a page about an error has.
const IS_AN_ERROR_PAGE: &str = "Failed to load resource: the server responded with a status of";

#[tokio::test]
async fn a_person_signs_in_with_the_keyboard_alone_and_without_scripts() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let window = Window {
        scripts: false,
        ..Window::DESKTOP
    };
    let mut chromium = Chromium::start(window, &gateway.logs).await?;
    // The port of an application on the same machine is free to differ from the registered one (RFC 8252 section 7.3).
    let mut registered = gateway.register("mcp-echo").await?;
    registered.redirect_uri = chromium.redirect_uri.clone();
    let (url, pkce) = registered.authorization_url()?;

    let consent = chromium.open(&url).await?;
    let client = chromium.redirect_uri.authority().to_owned();
    assert_eq!(consent.largest, client, "where the answer goes");
    let offered = chromium.press("Tab").await?;
    assert!(
        focus(&offered).starts_with("Do not ask again"),
        "{offered:?}"
    );
    assert_eq!(focus(&chromium.press("Tab").await?), "Allow, and sign in");
    assert_eq!(focus(&chromium.press("Tab").await?), "Refuse");
    chromium.press("Shift+Tab").await?;
    let login = chromium.enter().await?;
    assert_eq!(login.title, "Sign in · MCP OAuth Gateway");
    assert_eq!(focus(&chromium.press("Tab").await?), "Name");
    chromium.type_text(USERNAME).await?;
    assert_eq!(focus(&chromium.press("Tab").await?), "Password");
    chromium.type_text("wrong").await?;
    let again = chromium.enter().await?;
    assert!(again.text.contains("wrong"), "{}", again.text);

    chromium.fill("Password", PASSWORD).await?;
    let back = chromium.enter().await?;
    assert_eq!(back.url.authority(), client, "{}", back.url);
    // The browser refused nothing, and asked nobody but the gateway and the client.
    assert_eq!(unexpected(&back), Vec::<&str>::new());
    let port = gateway.public_address().port();
    let known = [format!("auth.localhost:{port}"), client];
    assert!(
        back.hosts.iter().all(|host| known.contains(host)),
        "{:?}",
        back.hosts
    );
    let granted = registered.returned(pkce, &back.url)?.token().await?;
    assert_eq!(granted.status_with(&granted.tokens.access).await?, 200);
    Ok(())
}

#[tokio::test]
async fn consent_and_sign_in_are_readable_for_everybody() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let registered = gateway.register("mcp-echo").await?;
    let mut backgrounds = Vec::new();
    for window in [Window::DESKTOP, Window::PHONE] {
        let mut chromium = Chromium::start(window, &gateway.logs).await?;
        let (url, _) = registered.authorization_url()?;
        backgrounds.push(chromium.open(&url).await?.background);
        look_closely(&mut chromium, "consent").await?;
        chromium.click("Allow, and sign in").await?;
        look_closely(&mut chromium, "sign-in").await?;
        chromium.fill("Name", USERNAME).await?;
        chromium.fill("Password", "wrong").await?;
        chromium.click("Sign in").await?;
        look_closely(&mut chromium, "sign-in after a wrong password").await?;
    }
    assert_ne!(backgrounds.first(), backgrounds.last(), "dark is not dark");
    Ok(())
}

#[tokio::test]
async fn an_application_with_a_scheme_of_its_own_is_opened_by_a_click() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let cursor = "cursor://anysphere.cursor-mcp/oauth/callback";
    let discovered = gateway.client("mcp-echo")?.discover().await?;
    let registered = discovered
        .register_with(json!({
            "client_name": "Cursor",
            "redirect_uris": [cursor],
            "token_endpoint_auth_method": "none",
        }))
        .await?;
    for (window, decision) in [
        (Window::DESKTOP, "Allow, and sign in"),
        (Window::PHONE, "Refuse"),
    ] {
        let mut chromium = Chromium::start(window, &gateway.logs).await?;
        let (url, pkce) = registered.authorization_url()?;
        chromium.open(&url).await?;
        chromium.click(decision).await?;
        if decision != "Refuse" {
            sign_in(&mut chromium).await?;
        }
        let page = look_closely(&mut chromium, "return").await?;
        let link: Url = page.links.first().context("a way back")?.parse()?;
        assert!(link.as_str().starts_with(cursor), "{link}");
        let code = registered.clone().returned(pkce, &link);
        assert_eq!(code.is_ok(), decision != "Refuse", "{code:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_is_connected_on_a_phone() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let discovered = gateway.client("mcp-echo")?.discover().await?;
    let television = discovered
        .register_with(json!({
            "client_name": "Television",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", DEVICE_GRANT],
            "token_endpoint_auth_method": "none",
        }))
        .await?;
    let asked = ask(&gateway, &television).await?;
    let user_code = text(&asked, "user_code")?;

    let mut chromium = Chromium::start(Window::PHONE, &gateway.logs).await?;
    chromium
        .open(&text(&asked, "verification_uri")?.parse()?)
        .await?;
    look_closely(&mut chromium, "device").await?;
    chromium.fill("Code", "BBBB-BBBB").await?;
    chromium.enter().await?;
    look_closely(&mut chromium, "device after a wrong code").await?;
    chromium
        .fill("Code", &user_code.to_lowercase().replace('-', ""))
        .await?;
    chromium.enter().await?;
    let page = look_closely(&mut chromium, "consent for a device").await?;
    assert_eq!(page.largest, user_code, "the code that is to be compared");
    chromium.click("Allow, and sign in").await?;
    sign_in(&mut chromium).await?;
    let page = look_closely(&mut chromium, "device is connected").await?;
    assert!(page.text.contains("Your device is connected"), "{page:?}");

    let form = [
        ("grant_type", DEVICE_GRANT),
        ("device_code", text(&asked, "device_code")?),
    ];
    let (status, tokens) = television.token_request(&form).await?;
    assert_eq!(status, 200, "{tokens}");
    Ok(())
}

#[tokio::test]
async fn what_was_granted_is_seen_and_ended() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let first = gateway.sign_in("mcp-echo").await?;
    let second = gateway.sign_in("mcp-echo").await?;
    for window in [Window::DESKTOP, Window::PHONE] {
        let mut chromium = Chromium::start(window, &gateway.logs).await?;
        chromium.open(&gateway.auth_url("/account")?).await?;
        look_closely(&mut chromium, "way to the account").await?;
        chromium.click("Sign in").await?;
        sign_in(&mut chromium).await?;
        let page = look_closely(&mut chromium, "account").await?;
        assert!(page.text.contains("A client of the tests"), "{page:?}");
        // The newest is the first.
        chromium.click("End this access").await?;
        look_closely(&mut chromium, "account after a grant was ended").await?;
        chromium.click("Sign out").await?;
        let page = look_closely(&mut chromium, "signed out").await?;
        assert!(!page.text.contains("A client of the tests"), "{page:?}");
    }
    for granted in [first, second] {
        assert_eq!(granted.status_with(&granted.tokens.access).await?, 401);
    }
    Ok(())
}

#[tokio::test]
async fn what_went_wrong_is_said_on_readable_pages() -> Result<()> {
    let provider = Provider::GitHub {
        allowed: "octocat".to_owned(),
    };
    let nobody = format!("http://127.0.0.1:{}", network::free_port()?);
    let gateway = Gateway::start()
        .with_provider(provider)
        .with_auth_setting("GITHUB_API_URL", &nobody)
        .with_echo()
        .await?;
    // GitHub's page signs people in; its API is behind an address where nobody answers.
    let github = gateway.github.as_ref().context("GitHub")?;
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let registered = gateway.register("mcp-echo").await?;
    for window in [Window::DESKTOP, Window::PHONE] {
        let mut chromium = Chromium::start(window, &gateway.logs).await?;
        let unknown = "/authorize?response_type=code&client_id=%3Cb%3Enobody&redirect_uri=x:y";
        chromium.open(&gateway.auth_url(unknown)?).await?;
        let page = look_closely(&mut chromium, "unknown client").await?;
        assert!(page.text.contains("\"<b>nobody\""), "{page:?}");
        chromium
            .open(&gateway.auth_url("/callback?state=x&code=y")?)
            .await?;
        look_closely(&mut chromium, "callback of another browser").await?;
        chromium
            .open(&gateway.auth_url("/error?error=access_denied")?)
            .await?;
        let page = look_closely(&mut chromium, "error").await?;
        assert!(page.text.contains("Access was not given"), "{page:?}");
        chromium.open(&gateway.auth_url("/success")?).await?;
        look_closely(&mut chromium, "success").await?;

        let (url, _) = registered.authorization_url()?;
        chromium.open(&url).await?;
        chromium.click("Allow, and sign in with GitHub").await?;
        let page = look_closely(&mut chromium, "GitHub is away").await?;
        assert_eq!(page.title, "GitHub does not answer · MCP OAuth Gateway");
    }
    Ok(())
}

/// A page must break no rule, fit into its window, need no script, and take nothing from elsewhere.
async fn look_closely(chromium: &mut Chromium, what: &str) -> Result<Seen> {
    let page = chromium.audit().await?;
    assert_eq!(page.violations, Vec::<String>::new(), "{what}: {page:?}");
    assert!(page.overflow <= 0, "{what} is too wide: {page:?}");
    assert_eq!(page.scripts, 0, "{what}: {page:?}");
    assert_eq!(unexpected(&page), Vec::<&str>::new(), "{what}: {page:?}");
    ensure!(page.title.ends_with(" · MCP OAuth Gateway"), "{page:?}");
    Ok(page)
}

async fn sign_in(chromium: &mut Chromium) -> Result<Seen> {
    chromium.fill("Name", USERNAME).await?;
    chromium.fill("Password", PASSWORD).await?;
    chromium.enter().await
}

/// Asks for the codes of a device.
async fn ask(gateway: &Gateway, client: &Registered) -> Result<Value> {
    let resource = gateway.mcp_url("mcp-echo")?;
    let form = [
        ("client_id", client.client_id()?),
        ("resource", resource.as_str()),
    ];
    let request = network::http_client()?.post(gateway.auth_url("/device_authorization")?);
    Ok(request.form(&form).send().await?.json().await?)
}

/// What the browser complained of, but for the status of pages about errors.
fn unexpected(page: &Seen) -> Vec<&str> {
    let problems = page.problems.iter().map(String::as_str);
    problems
        .filter(|problem| !problem.starts_with(IS_AN_ERROR_PAGE))
        .collect()
}

fn focus(page: &Seen) -> &str {
    page.focus.as_deref().unwrap_or("nothing")
}

fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    let text = answer.get(name).and_then(Value::as_str);
    text.with_context(|| format!("no {name} in {answer}"))
}
