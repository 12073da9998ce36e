//! `/login`: name and password.

use insta::assert_snapshot;

use crate::answer::answer;
use crate::service::{AUTH, Auth, ISSUER, PASSWORD, USERNAME};
use crate::sign_in::{
    Held, REDIRECT, STATE, approve, ask, consent_page, log_in, own_form, public_client,
    register_with,
};

async fn held(auth: &Auth) -> Held {
    let client = public_client(auth).await;
    approve(auth, &client.id, &[]).await
}

async fn open(auth: &Auth, held: &Held) -> crate::answer::Answer {
    let path = format!("/login?state={}", held.fields[0].1);
    answer(
        auth.request("GET", AUTH, &path)
            .header("Cookie", &held.cookie),
    )
    .await
}

#[tokio::test]
async fn the_right_password_leads_back_to_the_client() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let page = open(&auth, &held).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.hidden("state"), held.fields[0].1);
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    let code = granted.parameter("code").unwrap();
    let name = held.cookie.split('=').next().unwrap();
    assert_snapshot!(granted.shown_head(&[(&code, "[code]"), (name, "[name]")]), @r#"
    303
    cache-control: no-store
    content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'
    cross-origin-opener-policy: same-origin
    location: http://localhost:7777/callback?code=[code]&state=s%26t%3Da%2Ft%2Be+%C3%A4%25&iss=http%3A%2F%2Fauth.localhost%3A8080
    referrer-policy: no-referrer
    set-cookie: [name]=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0
    x-content-type-options: nosniff
    x-frame-options: DENY
    "#);
    assert_eq!(granted.parameter("state").as_deref(), Some(STATE));
    assert_eq!(granted.parameter("iss").as_deref(), Some(ISSUER));
}

/// A fault of the Python gateway: a redirect with a query was broken, `state` was not encoded.
#[tokio::test]
async fn the_query_of_a_redirect_is_kept() {
    let auth = Auth::start().await;
    let redirect = "https://app.example/cb?tenant=1&x=%20";
    let client = register_with(
        &auth,
        &serde_json::json!({"redirect_uris": [redirect], "token_endpoint_auth_method": "none"}),
    )
    .await;
    let held = approve(&auth, &client.id, &[("redirect_uri", redirect)]).await;
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    let location = granted.header("location");
    assert!(
        location.starts_with("https://app.example/cb?tenant=1&x=%20&code=mcp_ac_"),
        "{location}"
    );
    assert_eq!(granted.parameter("state").as_deref(), Some(STATE));
}

#[tokio::test]
async fn without_a_state_none_comes_back() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let held = approve(&auth, &client.id, &[("state", "")]).await;
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(granted.parameter("state"), None);
    assert!(granted.parameter("code").is_some());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_show_the_same_form_again() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let wrong = log_in(&auth, &held, USERNAME, "wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.body.contains("The name or the password is wrong."),
        "{wrong:?}"
    );
    assert_eq!(wrong.count("set-cookie"), 0);
    assert!(
        !wrong.body.contains("wrong\""),
        "the password is not shown again"
    );
    let unknown = log_in(&auth, &held, "bob", PASSWORD).await;
    assert_eq!(
        unknown.shown(&[("\"bob\"", "[name]")]),
        wrong.shown(&[("\"ada\"", "[name]")])
    );
    for (name, password) in [
        ("", ""),
        (USERNAME, ""),
        ("", PASSWORD),
        ("ADA", PASSWORD),
        ("ada ", PASSWORD),
        (USERNAME, &"x".repeat(2000)),
        ("<script>alert(1)</script>", "x"),
    ] {
        let refused = log_in(&auth, &held, name, password).await;
        assert_eq!(refused.status, 401, "{name} {password}");
        assert!(!refused.body.contains("<script"), "{refused:?}");
    }
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(granted.status, 303, "the sign-in still stands");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    for _ in 0..10 {
        assert_eq!(log_in(&auth, &held, USERNAME, "wrong").await.status, 401);
    }
    let refused = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("Too many attempts."), "{refused:?}");
    // A new sign-in does not help.
    let another = self::held(&auth).await;
    assert_eq!(
        log_in(&auth, &another, USERNAME, PASSWORD).await.status,
        429
    );
}

/// Whether somebody has an account must not be seen from the number of attempts they get.
#[tokio::test]
async fn an_unknown_name_has_as_many_attempts_as_a_known_one() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    for name in ["bob", "eve"] {
        for attempt in 0..10 {
            let refused = log_in(&auth, &held, name, "wrong").await;
            assert_eq!(refused.status, 401, "{name} {attempt}");
        }
        assert_eq!(log_in(&auth, &held, name, "wrong").await.status, 429);
    }
}

#[tokio::test]
async fn a_sign_in_ends_with_its_code() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(granted.status, 303);
    let again = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!((again.status, again.count("location")), (400, 0));
    assert_eq!(open(&auth, &held).await.status, 400);
}

#[tokio::test]
async fn of_racing_sign_ins_one_gets_a_code() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let sign_ins = (0..8).map(|_| log_in(&auth, &held, USERNAME, PASSWORD));
    let answers = futures_util::future::join_all(sign_ins).await;
    let codes = answers.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(codes, 1);
}

/// The link to the sign-in page, captured and opened in another browser: the attack of a stolen `state`.
#[tokio::test]
async fn another_browser_cannot_go_on() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let other = self::held(&auth).await;
    let name = held.cookie.split('=').next().unwrap();
    let other_value = other.cookie.split_once('=').unwrap().1;
    for cookie in [
        String::new(),
        other.cookie.clone(),
        format!("{name}={other_value}"),
    ] {
        let stolen = Held {
            cookie,
            ..held.clone()
        };
        assert_eq!(open(&auth, &stolen).await.status, 400);
        let refused = log_in(&auth, &stolen, USERNAME, PASSWORD).await;
        assert_eq!((refused.status, refused.count("location")), (400, 0));
    }
    assert_eq!(log_in(&auth, &held, USERNAME, PASSWORD).await.status, 303);
}

#[tokio::test]
async fn the_cookie_of_the_consent_page_is_void_after_the_approval() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let before = consent_page(&ask(&auth, &client.id, &[]).await);
    let answer = crate::sign_in::decide(&auth, &before, "approve").await;
    let mut held = crate::sign_in::approved(&answer);
    held.cookie = before.cookie;
    assert_eq!(log_in(&auth, &held, USERNAME, PASSWORD).await.status, 400);
}

#[tokio::test]
async fn a_form_of_another_site_does_not_sign_in() {
    let auth = Auth::start().await;
    let held = held(&auth).await;
    let filled = &[("username", USERNAME), ("password", PASSWORD)];
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("X-Nothing", ""),
    ] {
        let request = own_form(&auth, "/login", &held, filled).header(name, value);
        assert_eq!(answer(request).await.status, 400, "{name}: {value}");
    }
    assert_eq!(log_in(&auth, &held, USERNAME, PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_page_without_a_sign_in_leads_nowhere() {
    let auth = Auth::start().await;
    for path in [
        "/login",
        "/login?state=",
        "/login?state=x",
        "/login?state=x&state=y",
        "/login?state=%00%ff",
    ] {
        let page = auth.get(AUTH, path).await;
        assert_eq!((page.status, page.count("location")), (400, 0), "{path}");
    }
    // `/callback` belongs to the other provider.
    let callback = auth.get(AUTH, "/callback?state=x").await;
    assert_eq!(callback.refusal(), "404 not_found");
}

#[tokio::test]
async fn the_registered_redirect_is_used_with_the_port_that_was_asked() {
    let auth = Auth::start().await;
    let client = public_client(&auth).await;
    let asked = "http://localhost:50123/callback";
    assert_ne!(asked, REDIRECT);
    let held = approve(&auth, &client.id, &[("redirect_uri", asked)]).await;
    let granted = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert!(
        granted
            .header("location")
            .starts_with("http://localhost:50123/callback?code="),
        "{granted:?}"
    );
}
