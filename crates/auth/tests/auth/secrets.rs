//! Nothing secret is in the log at its most talkative level: what the story of `tests/it/secrets_in_logs.rs` has not, such as devices,
//! operators and accounts.

use serde_json::json;

use crate::administration;
use crate::answer::answer;
use crate::device::{GRANT, ask, poll, type_code};
use crate::service::{AUTH, Auth, JWT_SECRET, PASSWORD, USERNAME};
use crate::sign_in::{
    Client, Held, Tokens, approved, consent_page, decide, form, log_in, refreshing,
};

const REGISTRATION_TOKEN: &str = "initial-access-token-of-the-tests-0123456789";

/// Signs in at `/account` and out again; what the browser held on the way.
async fn account(auth: &Auth) -> Vec<Held> {
    let nothing = Held {
        cookie: String::new(),
        fields: Vec::new(),
    };
    let leaving = answer(form(auth, "/account/sign-in", &nothing, &[])).await;
    let held = approved(&leaving);
    let arrived = log_in(auth, &held, USERNAME, PASSWORD).await;
    let cookie = arrived.cookies().remove(0);
    let page = auth.request("GET", AUTH, "/account");
    let page = answer(page.header("Cookie", &cookie)).await;
    assert_eq!(page.status, 200, "{page:?}");
    let there = Held {
        cookie,
        fields: vec![("csrf".to_owned(), page.hidden("csrf"))],
    };
    let out = answer(form(auth, "/account/sign-out", &there, &[])).await;
    assert_eq!(out.status, 303, "{out:?}");
    vec![held, there]
}

#[tokio::test]
async fn devices_operators_and_accounts_leave_no_secret_in_the_log() {
    for format in ["json", "pretty"] {
        let auth = Auth::start_with(&[
            ("LOG_LEVEL", "trace"),
            ("LOG_FORMAT", format),
            ("CLIENT_REGISTRATION", "token"),
            ("CLIENT_REGISTRATION_TOKEN", REGISTRATION_TOKEN),
        ])
        .await;
        let registration = auth.request("POST", AUTH, "/register").json(&json!({
            "client_name": "Television", "grant_types": [GRANT, "refresh_token"],
        }));
        let registered = answer(registration.bearer_auth(REGISTRATION_TOKEN)).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let client = Client {
            id: registered.text("client_id"),
            secret: Some(registered.text("client_secret")),
            registration_token: registered.text("registration_access_token"),
        };
        let secret = client.secret.clone().unwrap();
        let mut secrets = vec![
            REGISTRATION_TOKEN.to_owned(),
            client.registration_token.clone(),
            secret,
        ];

        let asked = ask(&auth, &client).await;
        secrets.extend([asked.text("device_code"), asked.text("user_code")]);
        poll(&auth, &client, &asked).await;
        let consent = consent_page(&type_code(&auth, &asked.text("user_code")).await);
        let held = approved(&decide(&auth, &consent, "approve").await);
        assert_eq!(
            log_in(&auth, &held, USERNAME, "a-wrong-password")
                .await
                .status,
            401
        );
        assert_eq!(log_in(&auth, &held, USERNAME, PASSWORD).await.status, 200);
        let tokens = Tokens::of(&poll(&auth, &client, &asked).await);
        let refresh = refreshing(&client, &tokens.refresh);
        let refreshed = Tokens::of(&auth.post("/token", &refresh).await);
        secrets.extend([
            tokens.access,
            tokens.refresh,
            refreshed.access,
            refreshed.refresh,
            "a-wrong-password".to_owned(),
            PASSWORD.to_owned(),
        ]);

        let mut browsers = vec![consent, held];
        browsers.extend(account(&auth).await);
        for held in browsers {
            let (_, cookie) = held.cookie.split_once('=').unwrap();
            secrets.push(cookie.to_owned());
            let fields = held.fields.into_iter();
            // The number of a sign-in is no secret: it is of use only with the cookie.
            secrets.extend(
                fields
                    .filter(|(name, _)| name != "transaction")
                    .map(|(_, value)| value),
            );
        }

        assert_eq!(administration::get(&auth, "/admin/stats").await.status, 200);
        secrets.extend([
            auth::testing::admin_token(JWT_SECRET),
            JWT_SECRET.to_owned(),
        ]);
        auth.get(AUTH, "/jwks").await;
        auth.logs.wait_for("/jwks").await.unwrap();

        let logs = auth.logs.text();
        // It is the right log: it tells the story.
        for told in [
            "/device_authorization",
            "/account/sign-out",
            "token_issued",
            USERNAME,
        ] {
            assert!(logs.contains(told), "{told} in {format}");
        }
        for secret in secrets {
            assert!(secret.len() > 7, "{secret}");
            let length = secret.len().min(24);
            let is_there =
                logs.contains(&secret[..length]) || logs.contains(&secret[secret.len() - length..]);
            assert!(!is_there, "{secret} in {format}");
        }
    }
}
