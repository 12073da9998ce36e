//! Services that come and go while the service runs (docs/decisions/0036-services-come-and-go.md).

use std::path::{Path, PathBuf};

use testkit::wait;

use crate::answer::answer;
use crate::audit::audit_lines;
use crate::reload::{PATIENCE, refusals, until_read};
use crate::service::{AUTH, Auth, ECHO, OTHER_RESOURCE};
use crate::sign_in::{Tokens, ask, code_with, redemption, refreshing, signed_in};

const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

/// Starts with a list of services in a file, which is replaced as a whole, as `just add` does it.
async fn start_with_list(directory: &Path, services: &str) -> (Auth, PathBuf) {
    let list = directory.join("services");
    write(&list, services);
    let settings = [
        ("MCP_SERVICES", ""),
        ("MCP_SERVICES_FILE", list.to_str().unwrap()),
    ];
    (Auth::start_with(&settings).await, list)
}

fn write(list: &Path, services: &str) {
    let new = list.with_extension("new");
    std::fs::write(&new, services).unwrap();
    std::fs::rename(&new, list).unwrap();
}

/// What Traefik is told about a request without a token to `mcp-echo`.
async fn echo(auth: &Auth) -> u16 {
    answer(auth.verification("mcp-echo")).await.status
}

#[tokio::test]
async fn a_service_comes_and_goes_and_the_others_notice_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (auth, list) = start_with_list(directory.path(), "mcp-fetch\n").await;
    let (client, fetch) = signed_in(&auth).await;
    assert_eq!(echo(&auth).await, 403);
    assert_eq!(auth.get(ECHO, METADATA).await.status, 404);
    let refused = ask(&auth, &client.id, &[("resource", OTHER_RESOURCE)]).await;
    assert_eq!(refused.parameter("error").unwrap(), "invalid_target");

    write(&list, "mcp-fetch\nmcp-echo\n");
    let others = || async { assert_eq!(auth.verify(&fetch.access).await.status, 200) };
    wait::until("the new service is known", PATIENCE, async || {
        others().await;
        (echo(&auth).await == 401).then_some(())
    })
    .await
    .unwrap();
    let challenge = answer(auth.verification("mcp-echo")).await;
    let way = format!("resource_metadata=\"http://{ECHO}{METADATA}\"");
    assert!(
        challenge.header("www-authenticate").contains(&way),
        "{challenge:?}"
    );
    let metadata = auth.get(ECHO, METADATA).await;
    assert_eq!(metadata.text("resource"), OTHER_RESOURCE);
    let code = code_with(&auth, &client.id, &[("resource", OTHER_RESOURCE)]).await;
    let tokens = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    let with_token = || answer(auth.verification("mcp-echo").bearer_auth(&tokens.access));
    // Twice: the second is answered from memory.
    for _ in 0..2 {
        assert_eq!(with_token().await.status, 200);
    }

    write(&list, "mcp-fetch\n");
    wait::until("the service is forgotten", PATIENCE, async || {
        others().await;
        (with_token().await.status == 403).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(auth.get(ECHO, METADATA).await.status, 404);
    let form = refreshing(&client, &fetch.refresh);
    Tokens::of(&auth.post("/token", &form).await);
    for change in ["\"added\":\"mcp-echo\"", "\"removed\":\"mcp-echo\""] {
        auth.logs.wait_for(change).await.unwrap();
        assert_eq!(auth.logs.text().matches(change).count(), 1, "{change}");
    }
    let changes = audit_lines(&auth).into_iter();
    let changes = changes.filter(|line| line["event"] == "services_changed");
    assert_eq!(changes.count(), 2);
}

/// Turned off in `gateway.toml` it is off, whoever else names it.
#[tokio::test]
async fn a_service_that_is_not_enabled_is_off() {
    let off = "[services.mcp-echo]\nenabled = false\n";
    let named = [("MCP_SERVICES", "mcp-echo"), ("MCP_ECHO_ENABLED", "true")];
    let auth = Auth::start_with_file(&named, "").await;
    assert_eq!(echo(&auth).await, 401);
    auth.write_file(off);
    until_read(&auth, 1).await;
    assert_eq!(echo(&auth).await, 403);
    assert_eq!(auth.get(ECHO, METADATA).await.status, 404);
}

#[tokio::test]
async fn a_wrong_list_is_refused_with_one_line_and_the_services_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (auth, list) = start_with_list(directory.path(), "mcp-fetch\nmcp-echo\n").await;
    for (wrong, said) in [
        ("mcp-fetch\nmcp_echo\n", "MCP_SERVICES"),
        ("mcp-fetch\nauth\n", "name the service otherwise"),
        (&"mcp-a\n".repeat(20_000), "bytes (at most"),
    ] {
        let before = refusals(&auth, said);
        write(&list, wrong);
        wait::until_true("the refusal is logged", PATIENCE, || {
            refusals(&auth, said) > before
        })
        .await
        .unwrap();
        assert_eq!(echo(&auth).await, 401, "{said}");
        assert_eq!(refusals(&auth, said), before + 1, "{said}");
    }
    std::fs::remove_file(&list).unwrap();
    wait::until_true("its absence is logged", PATIENCE, || {
        refusals(&auth, "cannot be read") == 1
    })
    .await
    .unwrap();
    assert_eq!(echo(&auth).await, 401);
    write(&list, "");
    until_read(&auth, 1).await;
    assert_eq!(echo(&auth).await, 403);
    // The server itself is still there.
    assert_eq!(auth.get(AUTH, "/health").await.status, 200);
}
