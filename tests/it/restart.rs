//! The authorization server is killed (`kill -9`) and started again on the same store: nobody signs in again.

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;
use testkit::gateway::{Gateway, Store};
use testkit::redis::RedisServer;
use testkit::site::{SENTENCE, Site};

#[tokio::test]
async fn on_redb_a_signed_in_person_survives_a_kill() -> Result<()> {
    survives(Store::Redb, None).await
}

#[tokio::test]
async fn on_redis_a_signed_in_person_survives_a_kill_of_both() -> Result<()> {
    let redis = RedisServer::start().await?;
    let store = Store::Redis {
        url: format!("redis://{}", redis.address()),
        password: RedisServer::PASSWORD.to_owned(),
    };
    survives(store, Some(redis)).await
}

async fn survives(store: Store, mut redis: Option<RedisServer>) -> Result<()> {
    let site = Site::start()?;
    let mut gateway = Gateway::start().with_store(store).with_fetch().await?;
    let registered = gateway.register("mcp-fetch").await?;
    let signed_in = registered
        .clone()
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let session = signed_in.session().await?;
    let left = registered
        .clone()
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    left.revoke().await?;
    // Somebody is in the middle of a sign-in.
    let waiting = gateway.person()?;
    waiting.browser.stop_at(&registered.redirect_uri);
    let (url, pkce) = registered.authorization_url()?;
    let consent = waiting.consent_page(&url).await?;

    gateway.kill_auth().await?;
    if let Some(redis) = &mut redis {
        redis.kill().await?;
    }
    // Nobody gets in while nobody can be asked.
    let down = signed_in.status_with(&signed_in.tokens.access).await?;
    assert_eq!(down, StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(redis) = &mut redis {
        redis.restart().await?;
    }
    gateway.start_auth().await?;

    // The access token, the open MCP session, the refresh token and the registration are still good.
    let text = session
        .call_tool("fetch", json!({"url": site.note()?}))
        .await?;
    assert!(text.contains(SENTENCE), "{text}");
    let mut signed_in = signed_in;
    signed_in.refresh().await?;
    assert_eq!(
        signed_in.status_with(&signed_in.tokens.access).await?,
        StatusCode::OK
    );
    // What was revoked stays revoked.
    let revoked = left.status_with(&left.tokens.access).await?;
    assert_eq!(revoked, StatusCode::UNAUTHORIZED);
    // The sign-in that was under way is finished on the page that was open.
    let form = consent.form("decision")?.press("decision", "approve")?;
    let login = waiting.browser.submit(&consent, &form).await?.page()?;
    let back = waiting.sign_in(&login).await?.client()?;
    let granted = registered.returned(pkce, &back)?.token().await?;
    assert_eq!(
        granted.status_with(&granted.tokens.access).await?,
        StatusCode::OK
    );
    Ok(())
}
