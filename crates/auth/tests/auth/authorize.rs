//! `/authorize`: what is a page, what is a redirect, and what the pages carry.

use insta::assert_snapshot;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, FETCH, ISSUER, OTHER_RESOURCE, RESOURCE};
use crate::sign_in::{
    REDIRECT, STATE, ask, authorize_path, consent_page, public_client, register_with,
};

/// The headings and paragraphs of a page.
fn words(page: &Answer) -> String {
    let main = page.body.split_once("<main>").unwrap().1;
    let main = main.split_once("</main>").unwrap().0;
    let mut text = String::new();
    let mut is_tag = false;
    for c in main.chars() {
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            c if !is_tag => text.push(c),
            _ => {}
        }
    }
    let lines = text.lines().map(str::trim).filter(|line| {
        let is_request_id = line.starts_with("Request ");
        !line.is_empty() && !is_request_id
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_unknown_client_is_a_page_that_says_what_to_do() {
    let auth = Auth::start().await;
    let page = ask(&auth, "mcp-AAAAAAAAAAAAAAAAAAAAAA", &[]).await;
    assert_snapshot!(page.shown_head(&[]), @r#"
    400
    cache-control: no-store
    content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'
    content-type: text/html; charset=utf-8
    cross-origin-opener-policy: same-origin
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-frame-options: DENY
    "#);
    assert_snapshot!(words(&page), @r#"
    Unknown application
    This server does not know the application &#34;mcp-AAAAAAAAAAAAAAAAAAAAAA&#34;. Its registration may have ended. In the application, remove this server (or clear its stored sign-in) and connect again.
    "#);
}

#[tokio::test]
async fn a_wrong_redirect_is_a_page() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let page = ask(
        &auth,
        &client.id,
        &[("redirect_uri", "https://evil.example/")],
    )
    .await;
    assert_eq!((page.status, page.count("location")), (400, 0));
    assert_snapshot!(words(&page), @r#"
    This sign-in cannot go on
    The application wants to return to an address that it has not registered: &#34;https://evil.example/&#34;. Nothing was sent there.
    "#);
    let page = ask(&auth, &client.id, &[("redirect_uri", "")]).await;
    assert_eq!((page.status, page.count("location")), (400, 0));
    assert_snapshot!(words(&page), @r#"
    This sign-in cannot go on
    The application did not say where to return to (redirect_uri is missing or repeated).
    "#);
    let page = ask(&auth, "", &[]).await;
    assert_eq!((page.status, page.count("location")), (400, 0));
    assert_snapshot!(words(&page), @r#"
    This sign-in cannot go on
    The application did not say which application it is (client_id is missing or repeated).
    "#);
}

/// Repeating more than one parameter must not hide that the client or the redirect is repeated.
#[tokio::test]
async fn a_repeated_client_or_redirect_is_a_page() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let path = authorize_path(&client.id, &[]);
    for more in [
        format!("client_id={}", client.id),
        format!("client_id={}&state=x", client.id),
        format!("redirect_uri={REDIRECT}"),
        format!("redirect_uri={REDIRECT}&state=x&scope=a&scope=b"),
        "redirect_uri=https://evil.example/&state=x".to_owned(),
    ] {
        let page = auth.get(AUTH, &format!("{path}&{more}")).await;
        assert_eq!((page.status, page.count("location")), (400, 0), "{more}");
    }
}

/// Everything else is told to the client, with its `state` unchanged and `iss` (RFC 9207).
#[tokio::test]
async fn other_mistakes_are_told_to_the_client() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let refused = async |changes: &[(&str, &str)]| {
        let answer = ask(&auth, &client.id, changes).await;
        assert_eq!(answer.status, 303, "{changes:?}: {answer:?}");
        let location = answer.header("location");
        assert!(location.starts_with(&format!("{REDIRECT}?")), "{location}");
        assert_eq!(answer.parameter("state").as_deref(), Some(STATE));
        assert_eq!(answer.parameter("iss").as_deref(), Some(ISSUER));
        assert_eq!(answer.parameter("code"), None);
        assert_eq!(answer.count("set-cookie"), 0);
        format!(
            "{}: {}",
            answer.parameter("error").unwrap(),
            answer.parameter("error_description").unwrap()
        )
    };
    assert_snapshot!(refused(&[("code_challenge", "")]).await, @"invalid_request: code_challenge is missing; PKCE is required");
    assert_snapshot!(refused(&[("code_challenge_method", "")]).await, @"invalid_request: code_challenge_method must be S256");
    assert_snapshot!(refused(&[("code_challenge_method", "plain")]).await, @"invalid_request: code_challenge_method must be S256");
    assert_snapshot!(refused(&[("code_challenge", "short")]).await, @"invalid_request: code_challenge must be a SHA-256 as 43 characters of base64url");
    assert_snapshot!(refused(&[("response_type", "")]).await, @"invalid_request: response_type is missing; it must be code");
    // A fault of the Python gateway: a part of a word passed.
    assert_snapshot!(refused(&[("response_type", "c")]).await, @"unsupported_response_type: response_type must be code");
    assert_snapshot!(refused(&[("response_type", "token")]).await, @"unsupported_response_type: response_type must be code");
    assert_snapshot!(refused(&[("response_type", "code id_token")]).await, @"unsupported_response_type: response_type must be code");
    assert_snapshot!(refused(&[("response_mode", "fragment")]).await, @"invalid_request: response_mode must be query");
    assert_snapshot!(refused(&[("response_mode", "form_post")]).await, @"invalid_request: response_mode must be query");
    assert_snapshot!(refused(&[("resource", "")]).await, @"invalid_target: resource is missing; name the URL of the MCP server");
    assert_snapshot!(refused(&[("resource", "https://evil.example/mcp")]).await, @"invalid_target: resource https://evil.example/mcp is not a service of this gateway");
    assert_snapshot!(refused(&[("resource", ISSUER)]).await, @"invalid_target: resource http://auth.localhost:8080 is not a service of this gateway");
    assert_snapshot!(refused(&[("resource", "http://mcp-fetch.localhost:8080/mcp#x")]).await, @"invalid_target: resource http://mcp-fetch.localhost:8080/mcp#x is not a service of this gateway");
    assert_snapshot!(refused(&[("scope", "a\"b")]).await, @"invalid_scope: a scope consists of visible ASCII characters other than quote and backslash, and scopes are separated by spaces");
}

/// Anybody may register any address; until somebody has approved the client, a mistake does not send browsers there.
#[tokio::test]
async fn a_mistake_of_a_client_that_nobody_has_approved_is_no_redirect_to_another_site() {
    let auth = Auth::start().await;
    let elsewhere = "https://evil.example/cb?x=<y>";
    let redirect = "https://evil.example/cb";
    let metadata = json!({"redirect_uris": [redirect], "token_endpoint_auth_method": "none"});
    let client = register_with(&auth, &metadata).await;
    let there = ("redirect_uri", redirect);
    let page = ask(&auth, &client.id, &[there, ("response_type", "token")]).await;
    assert_eq!((page.status, page.count("location")), (200, 0));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_snapshot!(words(&page), @r#"
    Access was not given
    Go back to the application to finish.
    Open evil.example
    You can close this page afterwards.
    "#);
    assert!(
        page.body
            .contains("href=\"https://evil.example/cb?error=unsupported_response_type&#38;"),
        "{page:?}"
    );
    let wrong = ask(&auth, &client.id, &[("redirect_uri", elsewhere)]).await;
    assert_eq!(wrong.status, 400);
    crate::sign_in::code_with(&auth, &client.id, &[there]).await;
    let known = ask(&auth, &client.id, &[there, ("response_type", "token")]).await;
    assert_eq!(known.status, 303);
    assert_eq!(
        known.parameter("error").as_deref(),
        Some("unsupported_response_type")
    );
}

#[tokio::test]
async fn a_repeated_parameter_is_told_to_the_client() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let path = authorize_path(&client.id, &[]);
    for more in [
        "state=other",
        "scope=mcp&scope=mcp",
        "response_type=code",
        "code_challenge_method=S256",
    ] {
        let refused = auth.get(AUTH, &format!("{path}&{more}")).await;
        assert_eq!(refused.status, 303, "{more}");
        assert_eq!(
            refused.parameter("error").as_deref(),
            Some("invalid_request"),
            "{more}"
        );
    }
    let two = auth
        .get(AUTH, &format!("{path}&resource={OTHER_RESOURCE}"))
        .await;
    assert_eq!(two.parameter("error").as_deref(), Some("invalid_target"));
    let same_twice = auth.get(AUTH, &format!("{path}&resource={RESOURCE}")).await;
    assert_eq!(same_twice.status, 200);
    let unknown = auth.get(AUTH, &format!("{path}&nonce=1&nonce=2")).await;
    assert_eq!(unknown.status, 200);
}

#[tokio::test]
async fn the_state_may_be_short_absent_or_long_but_not_too_long() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    for state in ["x", "", &"s".repeat(2048)] {
        assert_eq!(
            ask(&auth, &client.id, &[("state", state)]).await.status,
            200
        );
    }
    let refused = ask(&auth, &client.id, &[("state", &"s".repeat(2049))]).await;
    assert_eq!(
        refused.parameter("error").as_deref(),
        Some("invalid_request")
    );
    assert_eq!(refused.parameter("state"), None);
    let page = ask(&auth, &client.id, &[("state", &"s".repeat(9000))]).await;
    assert_eq!((page.status, page.count("location")), (414, 0));
}

/// Clients write a resource in many ways; all of them are one.
#[tokio::test]
async fn a_resource_is_known_by_any_of_its_spellings() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    for resource in [
        "http://mcp-fetch.localhost:8080/mcp",
        "http://mcp-fetch.localhost:8080/mcp/",
        "http://mcp-fetch.localhost:8080",
        "http://mcp-fetch.localhost:8080/",
        "HTTP://MCP-Fetch.LocalHost:8080/mcp",
    ] {
        let page = ask(&auth, &client.id, &[("resource", resource)]).await;
        assert_eq!(page.status, 200, "{resource}");
        assert!(page.body.contains(RESOURCE), "{resource}");
    }
}

#[tokio::test]
async fn without_a_resource_the_only_service_is_meant() {
    let auth = Auth::start_with(&[("MCP_SERVICES", "mcp-fetch")]).await;
    let client = public_client(&auth).await;
    let page = ask(&auth, &client.id, &[("resource", "")]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(RESOURCE));
}

/// Some clients invent `/authorize` at the service; the cookies live at the authorization server.
#[tokio::test]
async fn on_a_service_host_the_browser_is_sent_to_the_authorization_server() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let path = authorize_path(&client.id, &[]);
    let answer = auth.get(FETCH, &path).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), format!("{ISSUER}{path}"));
    assert_eq!(answer.count("set-cookie"), 0);
    let bare = auth.get(FETCH, "/authorize").await;
    assert!(bare.header("location").starts_with(ISSUER), "{bare:?}");
}

#[tokio::test]
async fn the_consent_page_shows_who_asks_where_it_leads_and_what_for() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let page = ask(&auth, &client.id, &[]).await;
    let held = consent_page(&page);
    let (name, value) = held.cookie.split_once('=').unwrap();
    let transaction = &held.fields[0].1;
    assert_snapshot!(page.shown_head(&[(name, "[name]"), (value, "[value]")]), @r#"
    200
    cache-control: no-store
    content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'
    content-type: text/html; charset=utf-8
    cross-origin-opener-policy: same-origin
    referrer-policy: no-referrer
    set-cookie: [name]=[value]; HttpOnly; SameSite=Lax; Path=/; Max-Age=600
    x-content-type-options: nosniff
    x-frame-options: DENY
    "#);
    assert_eq!(name, format!("mcp-sign-in-{transaction}"));
    assert_snapshot!(words(&page).replace(&client.id, "[client_id]"), @r#"
    Allow Test to use mcp-fetch?
    After this your browser goes to
    localhost:7777
    This address is on your own computer. Any program running there could be the one that asked. Go on only if you have just started this sign-in yourself.
    ApplicationTest (a name it gave itself)
    Servicehttp://mcp-fetch.localhost:8080/mcp
    Permissionsuse mcp-fetch in your name, stay signed in
    Client id[client_id]
    Do not ask again for 90 days when this application wants the same in this browser
    Allow, and sign in
    Refuse
    "#);
}

/// Chrome and Safari apply `form-action` to the whole redirect chain after the form, up to the client.
#[tokio::test]
async fn pages_carry_headers_that_keep_them_from_being_framed_stored_or_scripted() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let consent = ask(&auth, &client.id, &[]).await;
    let refused = ask(&auth, "unknown", &[]).await;
    let redirect = ask(&auth, &client.id, &[("response_type", "token")]).await;
    let moved = auth.get(FETCH, "/authorize").await;
    for page in [&consent, &refused, &redirect, &moved] {
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{page:?}");
        assert!(policy.contains("frame-ancestors 'none'"), "{page:?}");
        assert!(!policy.contains("form-action"), "{page:?}");
        assert!(!policy.contains("script"), "{page:?}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(!page.body.contains("<script"));
        assert!(!page.body.contains("style="));
    }
}

/// A fault of the Python gateway: what a client said stood unescaped in the page.
#[tokio::test]
async fn what_clients_say_is_escaped() {
    let auth = Auth::start().await;
    let evil = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;";
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "client_name": evil});
    let client = register_with(&auth, &metadata).await;
    let pages = [
        ask(&auth, &client.id, &[]).await,
        ask(&auth, evil, &[]).await,
        ask(&auth, &client.id, &[("redirect_uri", evil)]).await,
    ];
    for page in pages {
        assert!(page.body.contains("script"), "{page:?}");
        assert!(!page.body.contains("<script"), "{page:?}");
        assert!(!page.body.contains("<img"), "{page:?}");
        assert!(!page.body.contains("alert('x')"), "{page:?}");
    }
}

#[tokio::test]
async fn text_in_another_direction_is_shown_as_its_code() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let page = ask(
        &auth,
        &client.id,
        &[("redirect_uri", "https://a\u{202e}b/")],
    )
    .await;
    assert!(page.body.contains("\\u{202e}"), "{page:?}");
    assert!(!page.body.contains('\u{202e}'), "{page:?}");
}

#[tokio::test]
async fn a_program_on_this_computer_is_warned_about() {
    let auth = Auth::start().await;
    let warning = "This address is on your own computer.";
    for (redirect, is_local) in [
        ("http://localhost:1/cb", true),
        ("http://127.0.0.1:1/cb", true),
        ("http://[::1]:1/cb", true),
        ("https://localhost.example/cb", false),
        ("https://app.example/cb", false),
    ] {
        let client = register_with(&auth, &json!({"redirect_uris": [redirect]})).await;
        let page = ask(&auth, &client.id, &[("redirect_uri", redirect)]).await;
        assert_eq!(page.body.contains(warning), is_local, "{redirect}");
    }
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let auth = Auth::start_with(&[
        ("DOMAIN", "example.com"),
        ("PUBLIC_SCHEME", ""),
        ("PUBLIC_PORT", ""),
    ])
    .await;
    let request = auth
        .request("POST", "auth.example.com", "/register")
        .json(&json!({"redirect_uris": [REDIRECT]}));
    let client_id = answer(request).await.text("client_id");
    let path = authorize_path(
        &client_id,
        &[("resource", "https://mcp-fetch.example.com/mcp")],
    );
    let page = auth.get("auth.example.com", &path).await;
    let held = consent_page(&page);
    let (name, value) = held.cookie.split_once('=').unwrap();
    assert_eq!(name, format!("__Host-mcp-sign-in-{}", held.fields[0].1));
    let set = page
        .header("set-cookie")
        .replace(name, "[name]")
        .replace(value, "[value]");
    assert_snapshot!(set, @"[name]=[value]; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600");
}

#[tokio::test]
async fn two_sign_ins_have_two_cookies() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let first = consent_page(&ask(&auth, &client.id, &[]).await);
    let second = consent_page(&ask(&auth, &client.id, &[]).await);
    let name = |cookie: &str| cookie.split('=').next().unwrap().to_owned();
    assert_ne!(name(&first.cookie), name(&second.cookie));
    assert_ne!(first.fields, second.fields);
}

/// A client that registered the device grant alone has no use for codes.
#[tokio::test]
async fn a_client_that_registered_no_codes_gets_none() {
    let auth = Auth::start().await;
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]});
    let client = register_with(&auth, &metadata).await;
    let refused = ask(&auth, &client.id, &[]).await;
    let told = refused.parameter("error");
    assert_eq!(told.as_deref(), Some("unauthorized_client"), "{refused:?}");
    assert_eq!(refused.parameter("state").as_deref(), Some(STATE));
    // A code from before it gave the grant up is worth nothing either.
    let client = public_client(&auth).await;
    let code = crate::sign_in::code(&auth, &client.id).await;
    let mut metadata = metadata;
    metadata["client_id"] = json!(client.id);
    let path = format!("/register/{}", client.id);
    let change = auth.request("PUT", AUTH, &path).json(&metadata);
    let changed = answer(change.bearer_auth(&client.registration_token)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let form = crate::sign_in::redemption(&client, &code);
    let refused = auth.post("/token", &form).await;
    assert_eq!(refused.refusal(), "400 unauthorized_client");
}

/// OpenID Connect Core section 3.1.2.1: a client that wants nobody to be asked gets nothing that was not remembered.
#[tokio::test]
async fn prompt_none_gives_no_code_to_whom_nobody_agreed_for_good() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    crate::sign_in::code(&auth, &client.id).await;
    let told = ask(&auth, &client.id, &[("prompt", "none")]).await;
    let error = told.parameter("error");
    assert_eq!(error.as_deref(), Some("consent_required"), "{told:?}");
    assert_eq!(told.parameter("code"), None);
}
