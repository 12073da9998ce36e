//! What one address, one client and all together may ask for.

use serde_json::json;
use testkit::redis::RedisServer;

use crate::answer::{Answer, answer};
use crate::service::{AUTH, Auth, PASSWORD, USERNAME};
use crate::sign_in::{
    REDIRECT, approve, authorize_path, confidential_client, form, own_form, public_client,
};

/// What Traefik adds to the request of this client.
async fn from(address: &str, request: reqwest::RequestBuilder) -> Answer {
    answer(request.header("X-Forwarded-For", address)).await
}

async fn register_from(auth: &Auth, address: &str) -> Answer {
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    from(
        address,
        auth.request("POST", AUTH, "/register").json(&metadata),
    )
    .await
}

/// A refusal in JSON, which no cache keeps, with a time after which it is worth while to ask again.
fn assert_too_many(answer: &Answer, least: u64, most: u64) {
    assert_eq!(
        answer.refusal(),
        "429 temporarily_unavailable",
        "{answer:?}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((least..=most).contains(&wait), "{wait}");
}

fn assert_too_many_page(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("content-type").starts_with("text/html"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_address_may_register_ten_clients_an_hour() {
    let auth = Auth::start_with(&[("LIMIT_REGISTER", "")]).await;
    for number in 0..10 {
        let answer = register_from(&auth, "203.0.113.9").await;
        assert_eq!(answer.status, 201, "{number}");
    }
    assert_too_many(&register_from(&auth, "203.0.113.9").await, 350, 360);
    assert_eq!(register_from(&auth, "203.0.113.10").await.status, 201);
    // What a client claims stands before what the proxy saw.
    let spoofed = register_from(&auth, "198.51.100.7, 203.0.113.9").await;
    assert_too_many(&spoofed, 350, 360);
    // A malformed registration costs nothing, and is told as such even now.
    let request = auth.request("POST", AUTH, "/register").body("no JSON");
    assert_eq!(from("203.0.113.9", request).await.status, 415);
}

#[tokio::test]
async fn all_addresses_of_an_ipv6_customer_count_together() {
    let auth = Auth::start_with(&[("LIMIT_REGISTER", "2")]).await;
    for address in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"] {
        assert_eq!(register_from(&auth, address).await.status, 201);
    }
    assert_eq!(register_from(&auth, "2001:db8:0:1::3").await.status, 429);
    assert_eq!(register_from(&auth, "2001:db8:0:2::1").await.status, 201);
}

#[tokio::test]
async fn nobody_is_believed_who_is_not_a_trusted_proxy() {
    let auth = Auth::start_with(&[("LIMIT_REGISTER", "1"), ("TRUSTED_PROXIES", "off")]).await;
    assert_eq!(register_from(&auth, "203.0.113.9").await.status, 201);
    assert_eq!(register_from(&auth, "203.0.113.10").await.status, 429);
}

#[tokio::test]
async fn all_together_may_register_so_many_clients() {
    let auth = Auth::start_with(&[("LIMIT_REGISTER_TOTAL", "3")]).await;
    for number in 1..=3 {
        let answer = register_from(&auth, &format!("203.0.113.{number}")).await;
        assert_eq!(answer.status, 201);
    }
    assert_too_many(&register_from(&auth, "203.0.113.4").await, 1190, 1200);
}

#[tokio::test]
async fn sign_ins_of_one_address_and_of_all_are_limited_with_a_page() {
    let auth = Auth::start_with(&[("LIMIT_AUTHORIZE", "3"), ("LIMIT_AUTHORIZE_TOTAL", "5")]).await;
    let client = public_client(&auth).await;
    let path = authorize_path(&client.id, &[]);
    let ask = |address: &'static str| from(address, auth.request("GET", AUTH, &path));
    for _ in 0..3 {
        assert_eq!(ask("203.0.113.1").await.status, 200);
    }
    assert_too_many_page(&ask("203.0.113.1").await);
    for _ in 0..2 {
        assert_eq!(ask("203.0.113.2").await.status, 200);
    }
    assert_too_many_page(&ask("203.0.113.2").await);
}

#[tokio::test]
async fn every_page_of_a_sign_in_is_limited() {
    let auth = Auth::start_with(&[("LIMIT_SIGN_IN", "1")]).await;
    for (number, (method, path)) in [
        ("POST", "/consent"),
        ("GET", "/login?state=x"),
        ("POST", "/login"),
        ("GET", "/callback?state=x"),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("203.0.113.{number}");
        let request = || auth.request(method, AUTH, path).form(&[("a", "b")]);
        assert_ne!(from(&address, request()).await.status, 429, "{path}");
        assert_too_many_page(&from(&address, request()).await);
    }
}

#[tokio::test]
async fn a_client_may_ask_for_tokens_sixty_times_a_minute() {
    let auth = Auth::start_with(&[("LIMIT_TOKEN", "")]).await;
    let (one, other) = (public_client(&auth).await, public_client(&auth).await);
    let ask = |client: String| {
        let form = [("grant_type", "none".to_owned()), ("client_id", client)];
        from(
            "203.0.113.1",
            auth.request("POST", AUTH, "/token").form(&form),
        )
    };
    for _ in 0..60 {
        assert_eq!(
            ask(one.id.clone()).await.refusal(),
            "400 unsupported_grant_type"
        );
    }
    assert_too_many(&ask(one.id.clone()).await, 1, 1);
    assert_eq!(ask(other.id.clone()).await.status, 400);
}

#[tokio::test]
async fn ten_refused_token_requests_a_minute_are_enough() {
    let auth = Auth::start_with(&[("LIMIT_TOKEN_FAILURES", "")]).await;
    let (one, other) = (
        confidential_client(&auth).await,
        confidential_client(&auth).await,
    );
    let ask = |id: String, address: &'static str| {
        let form = [
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", "guess".to_owned()),
            ("client_id", id),
            ("client_secret", "guess".to_owned()),
        ];
        from(address, auth.request("POST", AUTH, "/token").form(&form))
    };
    for _ in 0..10 {
        assert_eq!(
            ask(one.id.clone(), "203.0.113.1").await.refusal(),
            "401 invalid_client"
        );
    }
    assert_too_many(&ask(one.id.clone(), "203.0.113.1").await, 5, 6);
    assert_eq!(ask(one.id.clone(), "203.0.113.2").await.status, 401);
    assert_eq!(ask(other.id.clone(), "203.0.113.1").await.status, 401);
}

#[tokio::test]
async fn a_client_that_changes_its_name_is_limited_all_the_same() {
    let auth = Auth::start_with(&[("LIMIT_ADDRESS", "4")]).await;
    for (number, path) in ["/token", "/revoke", "/token", "/revoke"]
        .iter()
        .enumerate()
    {
        let form = [
            ("client_id", format!("client-{number}")),
            ("token", "x".to_owned()),
        ];
        let answer = from("203.0.113.1", auth.request("POST", AUTH, path).form(&form)).await;
        assert_ne!(answer.status, 429);
    }
    let form = [("client_id", "another"), ("token", "x")];
    let token = from(
        "203.0.113.1",
        auth.request("POST", AUTH, "/token").form(&form),
    )
    .await;
    assert_too_many(&token, 1, 15);
    let managed = from("203.0.113.1", auth.request("GET", AUTH, "/register/x")).await;
    assert_too_many(&managed, 1, 15);
}

#[tokio::test]
async fn revocations_of_a_client_are_limited() {
    let auth = Auth::start_with(&[("LIMIT_REVOKE", "2")]).await;
    let client = public_client(&auth).await;
    let form = [("client_id", client.id.as_str()), ("token", "x")];
    for _ in 0..2 {
        assert_eq!(auth.post("/revoke", &form).await.status, 200);
    }
    assert_too_many(&auth.post("/revoke", &form).await, 1, 30);
}

#[tokio::test]
async fn a_stranger_cannot_lock_a_name() {
    let auth = Auth::start_with(&[("LIMIT_PASSWORDS", "2")]).await;
    let client = public_client(&auth).await;
    let held = approve(&auth, &client.id, &[]).await;
    let log_in = |address: &'static str, password: &'static str| {
        let filled = [("username", USERNAME), ("password", password)];
        from(address, form(&auth, "/login", &held, &filled))
    };
    for _ in 0..2 {
        assert_eq!(log_in("203.0.113.1", "guess").await.status, 401);
    }
    assert_eq!(log_in("203.0.113.1", PASSWORD).await.status, 429);
    assert_eq!(log_in("203.0.113.2", PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_name_that_many_addresses_try_is_answered_late() {
    let auth = Auth::start_with(&[("LIMIT_PASSWORDS_OF_NAME", "2")]).await;
    let client = public_client(&auth).await;
    let held = approve(&auth, &client.id, &[]).await;
    let log_in = |address: &'static str, password: &'static str| {
        let filled = [("username", USERNAME), ("password", password)];
        from(address, form(&auth, "/login", &held, &filled))
    };
    assert_eq!(log_in("203.0.113.1", "guess").await.status, 401);
    assert_eq!(log_in("203.0.113.2", "guess").await.status, 401);
    let begun = std::time::Instant::now();
    assert_eq!(log_in("203.0.113.3", PASSWORD).await.status, 303);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3));
}

#[tokio::test]
async fn verify_has_no_limit_and_zero_is_none() {
    let auth = Auth::start().await;
    for _ in 0..50 {
        assert_eq!(register_from(&auth, "203.0.113.1").await.status, 201);
        let denied = from("203.0.113.1", auth.verification("mcp-fetch")).await;
        assert_eq!(denied.status, 401);
    }
}

#[tokio::test]
async fn instances_on_one_redis_count_together() {
    let redis = RedisServer::start().await.unwrap();
    let limit = [("LIMIT_REGISTER", "4")];
    let (one, other) = tokio::join!(
        Auth::start_on(&redis, &limit),
        Auth::start_on(&redis, &limit)
    );
    for _ in 0..2 {
        assert_eq!(register_from(&one, "203.0.113.1").await.status, 201);
        assert_eq!(register_from(&other, "203.0.113.1").await.status, 201);
    }
    assert_too_many(&register_from(&one, "203.0.113.1").await, 890, 900);
    assert_too_many(&register_from(&other, "203.0.113.1").await, 890, 900);
    assert_eq!(register_from(&other, "203.0.113.2").await.status, 201);
}

#[tokio::test]
async fn hits_are_told_a_few_times_and_without_what_was_sent() {
    let auth = Auth::start_with(&[("LIMIT_SIGN_IN", "1")]).await;
    let held = crate::sign_in::Held {
        cookie: String::new(),
        fields: vec![("csrf".to_owned(), "very-secret".to_owned())],
    };
    for _ in 0..40 {
        from("203.0.113.1", own_form(&auth, "/consent", &held, &[])).await;
    }
    // What was written before this line is there with it.
    public_client(&auth).await;
    auth.logs.wait_for("client_registered").await.unwrap();
    let log = auth.logs.text();
    assert_eq!(log.matches("\"event\":\"limit_hit\"").count(), 10, "{log}");
    assert!(log.contains("\"limit\":\"sign_in\""), "{log}");
    assert!(log.contains("\"address\":\"203.0.113.1\""), "{log}");
    assert!(!log.contains("very-secret"));
}

#[tokio::test]
async fn what_devices_and_resource_servers_ask_is_limited() {
    let auth = Auth::start_with(&[
        ("LIMIT_INTROSPECT", "2"),
        ("LIMIT_DEVICE_AUTHORIZATION", "2"),
        ("LIMIT_DEVICE_AUTHORIZATION_TOTAL", "3"),
    ])
    .await;
    let ask = |path: &'static str, address: &'static str| {
        let form = [("client_id", "x"), ("token", "x")];
        from(address, auth.request("POST", AUTH, path).form(&form))
    };
    for _ in 0..2 {
        assert_eq!(ask("/introspect", "203.0.113.1").await.status, 401);
        assert_eq!(
            ask("/device_authorization", "203.0.113.1").await.status,
            401
        );
    }
    assert_too_many(&ask("/introspect", "203.0.113.1").await, 1, 30);
    assert_too_many(&ask("/device_authorization", "203.0.113.1").await, 1, 30);
    assert_eq!(ask("/introspect", "203.0.113.2").await.status, 401);
    assert_eq!(
        ask("/device_authorization", "203.0.113.2").await.status,
        401
    );
    assert_too_many(&ask("/device_authorization", "203.0.113.3").await, 1, 20);
}
