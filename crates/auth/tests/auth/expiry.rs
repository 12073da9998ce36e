//! What ends by itself, and when.

use std::sync::Arc;

use oauth::{ManualClock, Timestamp};
use serde_json::json;
use testkit::redis::RedisServer;

use crate::answer::answer;
use crate::registration::{managed, replaced};
use crate::service::{AUTH, Auth, RESOURCE};
use crate::sign_in::{
    REDIRECT, Tokens, approve, ask, confidential_client, public_client, refreshing, register_with,
    signed_in, tokens,
};

const HOUR: i64 = 3600;

async fn at_the_beginning(changes: &[(&str, &str)]) -> (Arc<ManualClock>, Auth) {
    let begin = Timestamp::from_second(2_000_000_000).unwrap();
    let clock = Arc::new(ManualClock::at(begin));
    let auth = Auth::start_at(&clock, changes).await;
    (clock, auth)
}

#[tokio::test]
async fn a_client_that_is_never_used_ends_after_a_day_and_a_used_one_with_its_grants() {
    let (clock, auth) = at_the_beginning(&[("CLIENT_LIFETIME", "172800")]).await;
    let unused = public_client(&auth).await;
    let (used, held) = signed_in(&auth).await;
    let status = async |client: &crate::sign_in::Client| {
        let request = auth.request("GET", AUTH, &format!("/register/{}", client.id));
        answer(request.bearer_auth(&client.registration_token))
            .await
            .status
    };
    clock.advance(24 * HOUR - 1);
    assert_eq!(status(&unused).await, 200);
    clock.advance(1);
    assert_eq!(status(&unused).await, 401);
    assert_eq!(ask(&auth, &unused.id, &[]).await.status, 400);
    // A refresh is a use.
    let held = Tokens::of(&auth.refresh(&used, &held.refresh).await);
    clock.advance(48 * HOUR - 1);
    assert_eq!(status(&used).await, 200);
    clock.advance(1);
    let form = refreshing(&used, &held.refresh);
    assert_eq!(
        auth.post("/token", &form).await.refusal(),
        "401 invalid_client"
    );
    assert_eq!(auth.verify(&held.access).await.status, 401);
}

/// Where there is little room a client that nobody uses ends within a quarter of an hour. Whoever registers clients to fill it up
/// could keep each of them for a day by an update (RFC 7592 section 2.2).
#[tokio::test]
async fn an_update_does_not_prolong_a_client_that_is_never_used() {
    let (clock, auth) = at_the_beginning(&[("MAX_CLIENTS", "1")]).await;
    let client = public_client(&auth).await;
    let metadata = json!({"client_id": client.id, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let changed = replaced(&auth, &client, &client.registration_token, metadata).await;
    let token = changed.text("registration_access_token");
    clock.advance(HOUR / 4 - 1);
    let status = async || managed(&auth, "GET", &client.id, Some(&token)).await.status;
    assert_eq!(status().await, 200);
    clock.advance(1);
    assert_eq!(status().await, 401);
    public_client(&auth).await;
}

/// Uses are written down seldom; a life that is shorter than that must not end for it.
#[tokio::test]
async fn a_client_with_a_short_life_lives_on_while_it_is_used() {
    let (clock, auth) = at_the_beginning(&[("CLIENT_LIFETIME", "3600")]).await;
    let (client, mut held) = signed_in(&auth).await;
    for _ in 0..4 {
        clock.advance(HOUR / 2);
        held = Tokens::of(&auth.refresh(&client, &held.refresh).await);
    }
    clock.advance(HOUR);
    let form = refreshing(&client, &held.refresh);
    assert_eq!(
        auth.post("/token", &form).await.refusal(),
        "401 invalid_client"
    );
}

/// A token outlives the registration of its client: what was found good before ends with the client, not with the token.
#[tokio::test]
async fn a_token_that_is_known_ends_with_its_client() {
    let lifetimes = [
        ("CLIENT_LIFETIME", "3600"),
        ("ACCESS_TOKEN_LIFETIME", "14400"),
    ];
    let (clock, auth) = at_the_beginning(&lifetimes).await;
    let (client, held) = signed_in(&auth).await;
    let status = async |token: &str| auth.verify(token).await.status;
    // Twice: the second is answered from memory.
    for _ in 0..2 {
        assert_eq!(status(&held.access).await, 200);
    }
    // A use prolongs the registration, and no token ends for that it was looked at before.
    clock.advance(HOUR / 2);
    let later = Tokens::of(&auth.refresh(&client, &held.refresh).await);
    clock.advance(HOUR - 1);
    for token in [&held.access, &later.access] {
        assert_eq!(status(token).await, 200);
        assert_eq!(status(token).await, 200);
    }
    clock.advance(1);
    for token in [&held.access, &later.access] {
        assert_eq!(status(token).await, 401);
    }
}

/// Whatever a story leaves in Redis is gone one day; only people, who owns a name, keys, and the format stay.
#[tokio::test]
async fn every_key_in_redis_ends_but_those_of_people_names_and_keys() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[("LIMIT_TOKEN", "100"), ("LIMIT_SIGN_IN", "1000")]).await;
    let (client, held) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &held.refresh).await);
    let revocation = [("client_id", client.id.as_str()), ("token", &second.access)];
    assert_eq!(auth.post("/revoke", &revocation).await.status, 200);
    let other = confidential_client(&auth).await;
    let tokens = tokens(&auth, &other).await;
    let secret = other.secret.as_deref().unwrap();
    let revocation = [
        ("client_id", other.id.as_str()),
        ("client_secret", secret),
        ("token", &tokens.refresh),
    ];
    assert_eq!(auth.post("/revoke", &revocation).await.status, 200);
    // A sign-in and a device that nobody finishes.
    approve(&auth, &client.id, &[]).await;
    let device = serde_json::json!({"token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]});
    let device = register_with(&auth, &device).await;
    let form = [("client_id", device.id.as_str()), ("resource", RESOURCE)];
    assert_eq!(auth.post("/device_authorization", &form).await.status, 200);
    let kinds = async |sign: &str| {
        let script = format!(
            "local found, names = {{}}, {{}} for _, key in ipairs(redis.call('KEYS', '*')) do if redis.call('TTL', key) {sign} -1 then \
             local name = string.sub(key, #'mcp-auth:' + 1) \
             found[string.match(name, '^{{(index:[a-z_-]+)') or string.match(name, '^{{?([a-z]+)')] = true end end \
             for name in pairs(found) do table.insert(names, name) end table.sort(names) return table.concat(names, ' ')"
        );
        redis.text(&format!("EVAL \"{script}\" 0")).await.unwrap()
    };
    assert_eq!(
        kinds("==").await,
        "format index:people keyring person pin",
        "these stay"
    );
    let ends = kinds("~=").await;
    for kind in ["authorization", "client", "count", "device", "session"] {
        assert!(ends.split(' ').any(|known| known == kind), "{kind}: {ends}");
    }
}
