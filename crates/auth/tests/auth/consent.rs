//! `POST /consent`: whose answer counts.

use insta::assert_snapshot;
use reqwest::header::HeaderValue;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::service::{Auth, ISSUER, PASSWORD, USERNAME};
use crate::sign_in::{
    Held, REDIRECT, STATE, approved, ask, consent_page, decide, form, log_in, own_form,
    public_client, register_with,
};

async fn page(auth: &Auth) -> Held {
    let client = public_client(auth).await;
    consent_page(&ask(auth, &client.id, &[]).await)
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.count("location"), 0, "{answer:?}");
    assert_eq!(answer.count("set-cookie"), 0, "{answer:?}");
    assert!(
        answer.body.contains("This sign-in cannot go on"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_approval_leads_to_the_sign_in_with_a_new_cookie() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let answer = decide(&auth, &held, "approve").await;
    let next = approved(&answer);
    let (name, value) = next.cookie.split_once('=').unwrap();
    let state = answer.parameter("state").unwrap();
    assert_snapshot!(answer.shown_head(&[(name, "[name]"), (value, "[value]"), (&state, "[state]")]), @r#"
    303
    cache-control: no-store
    content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'
    cross-origin-opener-policy: same-origin
    location: /login?state=[state]
    referrer-policy: no-referrer
    set-cookie: [name]=[value]; HttpOnly; SameSite=Lax; Path=/; Max-Age=600
    x-content-type-options: nosniff
    x-frame-options: DENY
    "#);
    assert_ne!(next.cookie, held.cookie);
    assert_eq!(held.cookie.split('=').next(), Some(name));
}

#[tokio::test]
async fn a_refusal_is_told_to_the_client_and_ends_the_sign_in() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let denied = decide(&auth, &held, "deny").await;
    assert_eq!(denied.status, 303);
    assert!(denied.header("location").starts_with(REDIRECT));
    assert_eq!(denied.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.parameter("state").as_deref(), Some(STATE));
    assert_eq!(denied.parameter("iss").as_deref(), Some(ISSUER));
    let [cookie] = denied.cookies().try_into().unwrap();
    assert!(cookie.ends_with('='), "{cookie}");
    assert!(
        denied.header("set-cookie").contains("Max-Age=0"),
        "{denied:?}"
    );
    assert_refused(&decide(&auth, &held, "approve").await);
}

#[tokio::test]
async fn an_answer_counts_once() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    assert_eq!(decide(&auth, &held, "approve").await.status, 303);
    assert_refused(&decide(&auth, &held, "approve").await);
    assert_refused(&decide(&auth, &held, "deny").await);
}

#[tokio::test]
async fn of_racing_approvals_one_counts() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let answers =
        futures_util::future::join_all((0..10).map(|_| decide(&auth, &held, "approve"))).await;
    let approvals = answers.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(approvals, 1);
}

#[tokio::test]
async fn another_forms_token_does_not_count() {
    let auth = Auth::start().await;
    let mut held = page(&auth).await;
    let other = page(&auth).await;
    let right = held.fields.clone();
    for csrf in [other.fields[1].1.as_str(), "", "mcp_ft_x", "ä\u{0}"] {
        held.fields[1].1 = csrf.to_owned();
        assert_refused(&decide(&auth, &held, "approve").await);
    }
    held.fields = right;
    assert_eq!(decide(&auth, &held, "approve").await.status, 303);
}

/// The page of one browser, sent from another one: the confused deputy's way.
#[tokio::test]
async fn another_browser_does_not_count() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let other = page(&auth).await;
    let (name, value) = held.cookie.split_once('=').unwrap();
    let other_value = other.cookie.split_once('=').unwrap().1;
    for cookie in [
        String::new(),
        other.cookie.clone(),
        format!("{name}={other_value}"),
        format!("{name}="),
        format!("{name}=x"),
        format!("x{name}={value}"),
    ] {
        let stolen = Held {
            cookie: cookie.clone(),
            ..held.clone()
        };
        assert_refused(&decide(&auth, &stolen, "approve").await);
    }
    assert_eq!(decide(&auth, &held, "approve").await.status, 303);
}

/// Cookies that other programs set for the whole domain come along, and not all of them are well-formed or UTF-8.
#[tokio::test]
async fn malformed_cookies_of_others_do_not_hide_ours() {
    let auth = Auth::start().await;
    for others in [
        &b"flag; a=%ff"[..],
        b"=x",
        b"a=b; ; c",
        b"a=\"; b=\\",
        b"a=\xc3\xa4",
        b"a=\xe4",
    ] {
        let mut held = page(&auth).await;
        let cookies = [others, b"; ", held.cookie.as_bytes(), b"; z"].concat();
        held.cookie.clear();
        let request = form(&auth, "/consent", &held, &[("decision", "approve")])
            .header("Cookie", HeaderValue::from_bytes(&cookies).unwrap());
        let shown = others.escape_ascii();
        assert_eq!(answer(request).await.status, 303, "{shown}");
    }
}

#[tokio::test]
async fn a_form_of_another_site_does_not_count() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let approve = &[("decision", "approve")];
    for headers in [
        &[][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "http://auth.localhost:8081")],
        &[("Origin", "http://mcp-fetch.localhost:8080")],
        &[("Origin", ISSUER), ("Origin", ISSUER)],
        &[("Origin", ISSUER), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", ISSUER), ("Sec-Fetch-Site", "same-site")],
        &[("Origin", ISSUER), ("Sec-Fetch-Site", "none")],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    ] {
        let request = headers.iter().fold(
            own_form(&auth, "/consent", &held, approve),
            |request, (name, value)| request.header(*name, *value),
        );
        assert_refused(&answer(request).await);
    }
    // Our pages say `Referrer-Policy: no-referrer`, and then browsers send `Origin: null`.
    let request = own_form(&auth, "/consent", &held, approve)
        .header("Origin", "null")
        .header("Sec-Fetch-Site", "same-origin");
    assert_eq!(answer(request).await.status, 303);
}

#[tokio::test]
async fn a_browser_without_fetch_metadata_is_known_by_its_origin() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    let request =
        own_form(&auth, "/consent", &held, &[("decision", "approve")]).header("Origin", ISSUER);
    assert_eq!(answer(request).await.status, 303);
}

#[tokio::test]
async fn neither_yes_nor_no_is_asked_again_and_changes_nothing() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    for filled in [&[][..], &[("decision", "")], &[("decision", "APPROVE")]] {
        let answer = answer(form(&auth, "/consent", &held, filled)).await;
        assert_eq!(answer.status, 400, "{filled:?}");
        assert!(answer.body.contains("Neither yes nor no"), "{filled:?}");
    }
    let both = form(
        &auth,
        "/consent",
        &held,
        &[("decision", "deny"), ("decision", "approve")],
    );
    assert_eq!(answer(both).await.refusal(), "400 invalid_request");
    assert_eq!(decide(&auth, &held, "approve").await.status, 303);
}

/// A fault of the Python gateway: a remembered sign-in gave any client a code without a question.
#[tokio::test]
async fn no_code_is_issued_without_an_approval() {
    let auth = Auth::start().await;
    let held = page(&auth).await;
    // The consent page's own cookie and ids in place of those that come with the approval.
    for state in [&held.fields[0].1, &held.fields[1].1] {
        let early = Held {
            cookie: held.cookie.clone(),
            fields: vec![("state".to_owned(), state.clone())],
        };
        assert_refused(&log_in(&auth, &early, USERNAME, PASSWORD).await);
    }
    let by_get = auth
        .get(crate::service::AUTH, "/consent?decision=approve")
        .await;
    assert_eq!(by_get.refusal(), "405 method_not_allowed");
    assert_eq!(by_get.header("allow"), "POST");
}

/// A browser opens an application only by a click.
#[tokio::test]
async fn an_applications_own_scheme_is_reached_by_a_click() {
    let auth = Auth::start().await;
    let redirect = "cursor://anysphere.cursor-mcp/oauth/callback";
    let client = register_with(
        &auth,
        &json!({"redirect_uris": [redirect], "token_endpoint_auth_method": "none"}),
    )
    .await;
    let ask = async || consent_page(&ask(&auth, &client.id, &[("redirect_uri", redirect)]).await);
    let denied = decide(&auth, &ask().await, "deny").await;
    assert_eq!((denied.status, denied.count("location")), (200, 0));
    assert!(denied.body.contains("Access was not given"), "{denied:?}");
    assert!(
        denied.body.contains(
            "href=\"cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied&#38;"
        ),
        "{denied:?}"
    );
    let held = approved(&decide(&auth, &ask().await, "approve").await);
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!((granted.status, granted.count("location")), (200, 0));
    assert_eq!(granted.header("cache-control"), "no-store");
    assert_eq!(granted.header("referrer-policy"), "no-referrer");
    assert!(granted.body.contains("You are signed in"), "{granted:?}");
    assert!(
        granted
            .body
            .contains("href=\"cursor://anysphere.cursor-mcp/oauth/callback?code=mcp_ac_"),
        "{granted:?}"
    );
}
