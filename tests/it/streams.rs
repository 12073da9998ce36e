//! MCP sessions through the real Traefik: streams arrive as they are written, and a session belongs to the person who opened it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;
use testkit::binaries;
use testkit::gateway::{Gateway, OTHER_USERNAME};
use testkit::mcp_client::{Granted, Session};
use testkit::person::Person;
use tokio::time::timeout;

/// Far longer than a message needs, far shorter than any buffer would hold it back for.
const SOON: Duration = Duration::from_secs(5);

async fn gateway() -> Result<Gateway> {
    let scripted = binaries::built("scripted-server").display().to_string();
    Gateway::start()
        .with_service("mcp-scripted", [scripted])
        .await
}

async fn sign_in(gateway: &Gateway, person: &Person) -> Result<Granted> {
    let registered = gateway.register("mcp-scripted").await?;
    registered.authorize(person).await?.token().await
}

#[tokio::test]
async fn messages_reach_the_client_while_the_call_is_still_open() -> Result<()> {
    let gateway = gateway().await?;
    let granted = sign_in(&gateway, &gateway.person()?).await?;
    let session = granted.session().await?;

    // What belongs to no call comes on the GET stream, at once.
    let mut stream = session.listen().await?;
    let note = json!({"name": "notify", "arguments": {"note": "seen"}});
    session.request("tools/call", note).await?;
    let event = timeout(SOON, stream.next()).await??;
    assert_eq!(
        event.pointer("/params/note"),
        Some(&json!("seen")),
        "{event}"
    );

    // What belongs to a call comes on its own stream, before its answer.
    let params =
        json!({"name": "progress", "arguments": {"steps": 3}, "_meta": {"progressToken": "p"}});
    let mut call = session.stream("tools/call", params).await?;
    for step in 0..3 {
        let event = timeout(SOON, call.next()).await??;
        assert_eq!(
            event.pointer("/params/progress"),
            Some(&json!(step)),
            "{event}"
        );
    }
    let answer = timeout(SOON, call.next()).await??;
    assert_eq!(
        answer.pointer("/result/content/0/text"),
        Some(&json!("done")),
        "{answer}"
    );

    assert!(session.close().await?.is_success());
    Ok(())
}

#[tokio::test]
async fn a_session_answers_only_to_the_person_who_opened_it() -> Result<()> {
    let gateway = gateway().await?;
    let ada = sign_in(&gateway, &gateway.person()?).await?;
    let grace = sign_in(&gateway, &gateway.person_named(OTHER_USERNAME)?).await?;
    let session = ada.session().await?;
    let id = session.id().context("session id")?.to_owned();

    let theirs = Session::resume(&grace, &id);
    let reply = theirs.request("tools/list", json!({})).await?;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.message);
    // Nor by pretending to be somebody else.
    let forged = theirs
        .post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))
        .header("x-auth-subject", "local:ada")
        .header("x-auth-login", "ada");
    assert_eq!(forged.send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(theirs.close().await?, StatusCode::NOT_FOUND);

    let reply = session.request("tools/list", json!({})).await?;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.message);
    Ok(())
}

#[tokio::test]
async fn no_token_and_no_variable_of_ours_reaches_the_mcp_server() -> Result<()> {
    let gateway = gateway().await?;
    let granted = sign_in(&gateway, &gateway.person()?).await?;
    let session = granted.session().await?;
    let environment = session.call_tool("environment", json!({})).await?;
    let arrived = session.call_tool("echo", json!({"a": 1})).await?;
    for secret in [granted.tokens.access.as_str(), testkit::gateway::JWT_SECRET] {
        assert!(!environment.contains(secret), "{environment}");
        assert!(!arrived.contains(secret), "{arrived}");
    }
    for variable in [
        "REQUIRE_IDENTITY",
        "ALLOWED_HOSTS",
        "PRIVATE_PORT",
        "LOG_LEVEL",
    ] {
        assert!(!environment.contains(variable), "{environment}");
    }
    Ok(())
}
