//! The device grant (RFC 8628): codes, the person's pages, and what a device is told that asks.

use std::sync::Arc;

use oauth::{ManualClock, Timestamp};
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::audit::{audit_lines, hash};
use crate::service::{AUTH, Auth, FETCH, ISSUER, OTHER_RESOURCE, PASSWORD, RESOURCE, USERNAME};
use crate::sign_in::{
    Client, Held, Tokens, approved, consent_page, decide, form, log_in, public_client,
    register_with,
};

/// The name of the device grant (RFC 8628 section 3.4).
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A client that may use the device grant.
pub(crate) async fn television(auth: &Auth) -> Client {
    register_with(
        auth,
        &json!({
            "client_name": "Television", "token_endpoint_auth_method": "none",
            "grant_types": [GRANT, "refresh_token"],
        }),
    )
    .await
}

/// Asks for codes.
pub(crate) async fn ask(auth: &Auth, client: &Client) -> Answer {
    let mut form = vec![("client_id", client.id.as_str()), ("resource", RESOURCE)];
    form.extend(
        client
            .secret
            .as_deref()
            .map(|secret| ("client_secret", secret)),
    );
    let answer = auth.post("/device_authorization", &form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Asks whether somebody has answered.
pub(crate) async fn poll(auth: &Auth, client: &Client, asked: &Answer) -> Answer {
    let device_code = asked.text("device_code");
    let mut form = vec![
        ("grant_type", GRANT),
        ("client_id", client.id.as_str()),
        ("device_code", &device_code),
    ];
    form.extend(
        client
            .secret
            .as_deref()
            .map(|secret| ("client_secret", secret)),
    );
    auth.post("/token", &form).await
}

/// Types a code on the page.
pub(crate) async fn type_code(auth: &Auth, code: &str) -> Answer {
    let nothing = Held {
        cookie: String::new(),
        fields: Vec::new(),
    };
    answer(form(auth, "/device", &nothing, &[("user_code", code)])).await
}

#[tokio::test]
async fn a_person_connects_a_device_by_its_code() {
    let auth = Auth::start().await;
    let client = television(&auth).await;
    let asked = ask(&auth, &client).await;
    assert_eq!(asked.header("cache-control"), "no-store");
    let code = asked.text("user_code");
    assert_eq!(asked.text("verification_uri"), format!("{ISSUER}/device"));
    assert_eq!(asked.json()["expires_in"], 600);
    assert_eq!(asked.json()["interval"], 5);
    assert_eq!(
        poll(&auth, &client, &asked).await.refusal(),
        "400 authorization_pending"
    );

    let page = type_code(&auth, &code.to_lowercase().replace('-', " ")).await;
    for shown in [
        code.as_str(),
        "Television",
        RESOURCE,
        "mcp-fetch",
        "Refuse if somebody sent you the code",
    ] {
        assert!(page.body.contains(shown), "{shown}: {page:?}");
    }
    let held = approved(&decide(&auth, &consent_page(&page), "approve").await);
    let done = log_in(&auth, &held, USERNAME, PASSWORD).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("Your device is connected"), "{done:?}");
    // The browser holds nothing that could be redeemed.
    assert!(!done.body.contains("mcp_ac_") && done.headers.get("location").is_none());

    let granted = poll(&auth, &client, &asked).await;
    let tokens = Tokens::of(&granted);
    assert_eq!(granted.header("cache-control"), "no-store");
    let opened = auth.verify(&tokens.access).await;
    assert_eq!(
        (opened.status, opened.header("x-auth-login")),
        (200, USERNAME)
    );
    assert_eq!(
        poll(&auth, &client, &asked).await.refusal(),
        "400 invalid_grant"
    );
    let refreshed = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(type_code(&auth, &code).await.status, 400);

    auth.logs.wait_for("token_refreshed").await.unwrap();
    let lines = audit_lines(&auth);
    let told = lines.iter().map(|line| line["event"].as_str().unwrap());
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "client_registered",
            "consent_given",
            "login_ok",
            "token_issued",
            "token_refreshed"
        ]
    );
    let issued = &lines[3];
    assert_eq!(issued["token"], hash(&tokens.access), "{issued}");
    assert_eq!(issued["client"], client.id, "{issued}");
    assert_eq!(issued["service"], "mcp-fetch", "{issued}");
    assert_eq!(issued["subject"], lines[2]["subject"], "{issued}");
}

#[tokio::test]
async fn a_refusal_reaches_the_device() {
    let auth = Auth::start().await;
    let client = television(&auth).await;
    let asked = ask(&auth, &client).await;
    let page = type_code(&auth, &asked.text("user_code")).await;
    let refused = decide(&auth, &consent_page(&page), "deny").await;
    assert!(refused.body.contains("Access was not given"), "{refused:?}");
    assert_eq!(
        poll(&auth, &client, &asked).await.refusal(),
        "400 access_denied"
    );
}

/// Somebody who is sent a link has still to send the code and to compare it.
#[tokio::test]
async fn a_complete_address_alone_approves_nothing() {
    let auth = Auth::start().await;
    let client = television(&auth).await;
    let asked = ask(&auth, &client).await;
    let complete = asked.text("verification_uri_complete");
    let path = complete.strip_prefix(ISSUER).unwrap();
    let page = auth.get(AUTH, path).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(&asked.text("user_code")), "{page:?}");
    assert!(
        !page.body.contains("csrf") && page.cookies().is_empty(),
        "{page:?}"
    );
    assert!(!page.body.contains("<script"), "{page:?}");
    // Nor does a form of another site.
    let code = asked.text("user_code");
    let foreign = auth
        .request("POST", AUTH, "/device")
        .header("Sec-Fetch-Site", "cross-site")
        .form(&[("user_code", &code)]);
    assert_eq!(answer(foreign).await.status, 400);
    assert_eq!(
        poll(&auth, &client, &asked).await.refusal(),
        "400 authorization_pending"
    );
    // On a service's host the browser is sent to ours.
    let elsewhere = auth.get(FETCH, path).await;
    assert_eq!(elsewhere.location().as_str(), complete);
}

#[tokio::test]
async fn only_a_client_that_registered_the_grant_may_ask() {
    let auth = Auth::start().await;
    let other = public_client(&auth).await;
    let form = [("client_id", other.id.as_str()), ("resource", RESOURCE)];
    let answer = auth.post("/device_authorization", &form).await;
    assert_eq!(answer.refusal(), "400 unauthorized_client");
    let client = television(&auth).await;
    for (resources, refusal) in [
        (vec![], "400 invalid_target"),
        (vec!["https://evil.example/"], "400 invalid_target"),
        (vec![RESOURCE, OTHER_RESOURCE], "400 invalid_target"),
    ] {
        let mut form = vec![("client_id", client.id.as_str())];
        form.extend(resources.iter().map(|resource| ("resource", *resource)));
        let answer = auth.post("/device_authorization", &form).await;
        assert_eq!(answer.refusal(), refusal, "{resources:?}");
    }
    let answer = auth
        .post("/device_authorization", &[("client_id", "x")])
        .await;
    assert_eq!(answer.refusal(), "401 invalid_client");
    // Another client's code is as good as none.
    let asked = ask(&auth, &client).await;
    let thief = television(&auth).await;
    assert_eq!(
        poll(&auth, &thief, &asked).await.refusal(),
        "400 invalid_grant"
    );
    assert_eq!(
        poll(&auth, &client, &asked).await.refusal(),
        "400 authorization_pending"
    );
}

#[tokio::test]
async fn five_wrong_codes_a_minute_are_all_that_an_address_has() {
    let auth = Auth::start().await;
    let client = television(&auth).await;
    let asked = ask(&auth, &client).await;
    for wrong in ["BCDF-GHJK", "", "1234", "BBBBBBBB", "ZZZZ-ZZZZ"] {
        let page = type_code(&auth, wrong).await;
        assert_eq!(page.status, 400, "{wrong}");
    }
    let page = type_code(&auth, &asked.text("user_code")).await;
    assert_eq!(page.status, 429, "{page:?}");
    assert_ne!(page.header("retry-after"), "");
}

/// A device that asks too often is slowed down, and in the end the codes are over.
#[tokio::test]
async fn a_hasty_device_is_slowed_down_and_a_late_one_told_so() {
    let begin = Timestamp::from_second(2_000_000_000).unwrap();
    let clock = Arc::new(ManualClock::at(begin));
    let auth = Auth::start_at(&clock, &[]).await;
    let client = television(&auth).await;
    let asked = ask(&auth, &client).await;
    for (seconds, refusal) in [
        (0, "400 authorization_pending"),
        (4, "400 slow_down"),
        (9, "400 slow_down"),
        (15, "400 authorization_pending"),
        (600, "400 expired_token"),
    ] {
        clock.advance(seconds);
        let answer = poll(&auth, &client, &asked).await;
        assert_eq!(answer.refusal(), refusal, "after {seconds} s more");
    }
    assert_eq!(type_code(&auth, &asked.text("user_code")).await.status, 400);
}
