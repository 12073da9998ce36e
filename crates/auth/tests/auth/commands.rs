//! The operator's commands, against a running service.

use insta::assert_snapshot;
use serde_json::Value;

use crate::service::{Auth, run, settings};
use crate::sign_in::{confidential_client, signed_in};

/// Standard output of a command that went well.
fn said(auth: &Auth, arguments: &[&str]) -> String {
    let (code, out, error) = ran(auth, arguments);
    assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

/// Exit code, standard output and standard error.
fn ran(auth: &Auth, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", auth.private);
    let arguments = [arguments, &["--url", &url]].concat();
    let output = run(&arguments, &settings(&[]), auth.directory(), "");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(auth: &Auth, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&said(auth, &arguments)).unwrap()
}

#[tokio::test]
async fn clients_are_listed_shown_and_deleted() {
    let auth = Auth::start().await;
    assert_snapshot!(said(&auth, &["clients"]), @"CLIENT ID  NAME  KIND  REGISTERED  LAST USED  ENDS");
    let client = confidential_client(&auth).await;
    let listed = said(&auth, &["clients", "list"]);
    let line = listed.lines().nth(1).unwrap();
    assert!(
        line.contains(&client.id) && line.contains("registered"),
        "{listed}"
    );
    let shown = json(&auth, &["clients", "show", &client.id]);
    assert_eq!(shown["client_name"], "Test");
    assert_eq!(shown["has_secret"], true);
    // Nobody is there to be asked.
    let (code, _, error) = ran(&auth, &["clients", "delete", &client.id]);
    assert_eq!(code, 1);
    let error = error.replace(&client.id, "[id]");
    assert_snapshot!(error, @"mcp-auth: Delete the client [id]? Its sessions end with it. Nobody can answer here: add --yes");
    assert!(said(&auth, &["clients", "delete", &client.id, "--yes"]).contains("is deleted"));
    let (code, _, error) = ran(&auth, &["clients", "show", &client.id]);
    assert_eq!(code, 1);
    assert_snapshot!(error, @"mcp-auth: there is no client of this id");
}

#[tokio::test]
async fn an_operators_client_is_created_with_a_secret() {
    let auth = Auth::start().await;
    let created = json(
        &auth,
        &["clients", "create", "nightly", "--service", "mcp-fetch"],
    );
    assert!(
        created["client_secret"]
            .as_str()
            .unwrap()
            .starts_with("mcp_cs_")
    );
    let shown = said(&auth, &["clients", "show", "nightly"]);
    assert!(
        shown.contains("operator") && shown.contains("mcp-fetch"),
        "{shown}"
    );
    let (code, _, error) = ran(
        &auth,
        &["clients", "create", "other", "--service", "mcp-nowhere"],
    );
    assert_eq!(code, 1);
    assert!(
        error.contains("mcp-nowhere") && error.contains("is no service of this gateway"),
        "{error}"
    );
}

#[tokio::test]
async fn sessions_and_people_are_found_by_name_and_ended() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let sessions = json(&auth, &["sessions", "list", "--user", "ADA"]);
    assert_eq!(sessions[0]["client_id"], client.id.as_str());
    let id = sessions[0]["id"].as_str().unwrap();
    assert_eq!(json(&auth, &["grants"])[0]["id"], id);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    said(&auth, &["sessions", "revoke", id, "-y"]);
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let (_, tokens) = signed_in(&auth).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    assert!(said(&auth, &["users"]).contains("local:ada"));
    assert_snapshot!(said(&auth, &["users", "revoke", "ada", "--yes"]), @"every session is ended of local:ada");
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let (code, _, error) = ran(&auth, &["users", "revoke", "bob", "--yes"]);
    assert_eq!(code, 1);
    assert_snapshot!(error, @"mcp-auth: nobody of the name bob has ever signed in");
    assert_snapshot!(said(&auth, &["users", "forget-pin", "ada", "--yes"]), @"free again: local:ada");
    let stats = json(&auth, &["stats"]);
    assert_eq!((&stats["clients"], &stats["users"]), (&2.into(), &1.into()));
    assert_snapshot!(said(&auth, &["purge", "--dry-run"]), @"2 dead sessions would be removed");
    assert_snapshot!(said(&auth, &["purge", "--yes"]), @"2 dead sessions and 0 expired records removed");
}

#[tokio::test]
async fn keys_are_listed_and_rotated() {
    let auth = Auth::start().await;
    let keys = json(&auth, &["keys"]);
    assert_eq!(keys[0]["state"], "current");
    assert!(said(&auth, &["keys", "rotate"]).contains("is published and signs from"));
    assert!(said(&auth, &["keys", "rotate"]).contains("a rotation is under way"));
    let states: Vec<Value> = json(&auth, &["keys"])
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["state"].clone())
        .collect();
    assert_eq!(states, ["current", "next"]);
    assert!(said(&auth, &["keys", "compromised", "--yes"]).contains("signs now"));
    assert_eq!(json(&auth, &["keys"]).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_service_that_does_not_answer_or_has_another_secret_is_one_line() {
    let auth = Auth::start().await;
    let place = tempfile::tempdir().unwrap();
    let other = settings(&[
        ("PRIVATE_PORT", &auth.private.port().to_string()),
        (
            "GATEWAY_JWT_SECRET",
            "another-secret-0123456789-abcdefghijkl",
        ),
    ]);
    let output = run(&["clients"], &other, place.path(), "");
    let error = String::from_utf8(output.stderr).unwrap();
    let error = error.replace(&auth.private.port().to_string(), "[port]");
    assert_snapshot!(error.trim(), @"mcp-auth: the service at http://127.0.0.1:[port]/ refuses this configuration's GATEWAY_JWT_SECRET: use the configuration that the service has");
    let port = auth.private.port().to_string();
    let ours = settings(&[("PRIVATE_PORT", &port)]);
    drop(auth);
    let output = run(&["clients"], &ours, place.path(), "");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr)
        .unwrap()
        .replace(&port, "[port]");
    assert_snapshot!(error.trim(), @"mcp-auth: no service answers at http://127.0.0.1:[port]/ (PRIVATE_HOST, PRIVATE_PORT): is mcp-auth running there? --url names another address");
}
