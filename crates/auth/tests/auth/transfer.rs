//! Backup, restore and import: the commands, between real stores.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::json;
use testkit::redis::RedisServer;

use crate::answer::answer;
use crate::service::{AUTH, Auth, JWT_SECRET, in_redis, run, settings};
use crate::sign_in::{Client, Tokens, code, public_client, redemption, signed_in, tokens};

const FILE: [(&str, &str); 2] = [("STORE", "redb"), ("STORE_PATH", "auth.redb")];

fn settings_of(redis: &RedisServer) -> Vec<(String, String)> {
    settings(&in_redis(&redis.url()))
}

/// What a command that succeeded wrote on standard output.
fn succeed(
    arguments: &[&str],
    settings: &[(String, String)],
    directory: &Path,
    input: &str,
) -> String {
    let output = run(arguments, settings, directory, input);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a command that refused.
fn refuse(
    arguments: &[&str],
    settings: &[(String, String)],
    directory: &Path,
    input: &str,
) -> String {
    let output = run(arguments, settings, directory, input);
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// The records of a backup, without its first and its last line.
fn records(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().skip(1).collect();
    lines.pop();
    lines
}

/// While the service runs it has the file, and is asked for the backup; what it said.
async fn back_up_while_it_runs(auth: &Auth, files: &[(String, String)], here: &Path) -> String {
    // At an address where nobody answers the command says so.
    let nobody = format!(
        "http://127.0.0.1:{}",
        testkit::network::free_port().unwrap()
    );
    let unanswered = refuse(&["backup", "b.jsonl", "--url", &nobody], files, here, "");
    assert!(unanswered.contains("no service answers"), "{unanswered}");
    assert!(!here.join("b.jsonl").exists());
    let url = format!("http://{}", auth.private);
    let printed = succeed(&["backup", "-", "--url", &url], files, here, "");
    assert_eq!(
        succeed(&["backup", "running.jsonl", "--url", &url], files, here, ""),
        ""
    );
    let written = std::fs::read_to_string(here.join("running.jsonl")).unwrap();
    assert_eq!(records(&printed), records(&written));
    assert!(
        written.lines().last().unwrap().contains("sha256"),
        "{written}"
    );
    let anybody = testkit::network::http_client().unwrap();
    let refused = answer(anybody.get(format!("{url}/admin/backup"))).await;
    assert_eq!(refused.status, 401);
    written
}

/// Out of a store file into Redis: what lived lives on, what was spent or revoked stays so.
#[tokio::test]
async fn a_backup_moves_everything_to_another_store() {
    let mut auth = Auth::start_with(&FILE).await;
    let (client, first) = signed_in(&auth).await;
    let second = Tokens::of(&auth.refresh(&client, &first.refresh).await);
    let revoked = tokens(&auth, &client).await;
    let form = [
        ("token", revoked.refresh.as_str()),
        ("client_id", &client.id),
    ];
    assert_eq!(auth.post("/revoke", &form).await.status, 200);
    let unspent = code(&auth, &client.id).await;

    let (here, files) = (auth.directory().to_owned(), settings(&FILE));
    let running = back_up_while_it_runs(&auth, &files, &here).await;
    auth.kill().await;
    assert_eq!(succeed(&["backup", "b.jsonl"], &files, &here, ""), "");
    let mode = std::fs::metadata(here.join("b.jsonl"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(&here)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".mcp-auth"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let text = std::fs::read_to_string(here.join("b.jsonl")).unwrap();
    // Nothing happened in between, so that it is the same but for its instant.
    assert_eq!(records(&running), records(&text));
    for secret in [
        &first.access,
        &first.refresh,
        &second.access,
        &second.refresh,
        &revoked.refresh,
        &unspent,
        &client.registration_token,
        JWT_SECRET,
    ] {
        assert!(!text.contains(secret), "{secret}");
    }

    let redis = RedisServer::start().await.unwrap();
    let target = settings_of(&redis);
    let would = succeed(&["restore", "b.jsonl", "--dry-run"], &target, &here, "");
    assert!(would.starts_with("would restore "), "{would}");
    assert!(would.contains("1 client"), "{would}");
    redis
        .command("EXISTS mcp-auth:keyring:main", ":0")
        .await
        .unwrap();
    for _ in 0..2 {
        let done = succeed(&["restore", "-"], &target, &here, &text);
        assert!(done.starts_with("restored "), "{done}");
    }
    let changes: Vec<_> = target
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let moved = Auth::start_with(&changes).await;
    assert_eq!(moved.verify(&second.access).await.status, 200);
    assert_eq!(moved.verify(&revoked.access).await.status, 401);
    let again = Tokens::of(&moved.refresh(&client, &first.refresh).await);
    assert_eq!(
        again.refresh, second.refresh,
        "the spent token is spent, with its grace"
    );
    let redeemed = moved.post("/token", &redemption(&client, &unspent)).await;
    assert_eq!(redeemed.status, 200);

    // There is more in it now than in the backup.
    let refused = refuse(&["restore", "b.jsonl"], &target, &here, "");
    assert!(refused.contains("--clear"), "{refused}");
    assert_eq!(moved.verify(&second.access).await.status, 200);
    let newcomer = public_client(&moved).await;
    let done = succeed(&["restore", "b.jsonl", "--clear"], &target, &here, "");
    assert!(done.contains("were removed before"), "{done}");
    // The service runs on and sees the store as it was, without the client of after.
    assert_eq!(moved.verify(&second.access).await.status, 200);
    let gone = moved.refresh(&newcomer, &second.refresh).await;
    assert_ne!(gone.status, 200);
    // And out of Redis into a new file, through a pipe.
    let piped = succeed(&["backup", "-"], &target, &here, "");
    let elsewhere = tempfile::tempdir().unwrap();
    succeed(&["restore", "-"], &files, elsewhere.path(), &piped);
    assert!(elsewhere.path().join("auth.redb").exists());
    let same = succeed(
        &["restore", "-", "--dry-run"],
        &files,
        elsewhere.path(),
        &piped,
    );
    assert!(!same.contains("removing"), "{same}");
}

const OTHER_SECRET: &str = "another-secret-0123456789-abcdefghijk";

/// Restored keys that the service could not open would keep it from starting.
#[tokio::test]
async fn a_backup_needs_the_secret_that_sealed_its_keys() {
    let mut auth = Auth::start_with(&FILE).await;
    let (client, first) = signed_in(&auth).await;
    let here = auth.directory().to_owned();
    auth.kill().await;
    let text = succeed(&["backup", "-"], &settings(&FILE), &here, "");

    let redis = RedisServer::start().await.unwrap();
    let with = |name: &str, value: &str| {
        let mut settings = settings_of(&redis);
        settings.retain(|(known, _)| known != name);
        settings.push((name.to_owned(), value.to_owned()));
        settings
    };
    let mut target = with("GATEWAY_JWT_SECRET", OTHER_SECRET);
    assert_snapshot!(refuse(&["restore", "-"], &target, &here, &text), @"mcp-auth: the keys in the backup were sealed with another GATEWAY_JWT_SECRET than the present one: set GATEWAY_JWT_SECRET_PREVIOUS to the one of that time; nothing was restored");
    let tried = refuse(&["restore", "-", "--dry-run"], &target, &here, &text);
    assert!(tried.contains("sealed with another"), "{tried}");
    redis
        .command("EXISTS mcp-auth:keyring:main", ":0")
        .await
        .unwrap();

    target.push((
        "GATEWAY_JWT_SECRET_PREVIOUS".to_owned(),
        JWT_SECRET.to_owned(),
    ));
    let done = succeed(&["restore", "-"], &target, &here, &text);
    assert!(done.starts_with("restored "), "{done}");
    let changes: Vec<_> = target
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let moved = Auth::start_with(&changes).await;
    assert_eq!(moved.verify(&first.access).await.status, 200);
    let refreshed = moved.refresh(&client, &first.refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}

#[test]
fn a_backup_that_cannot_be_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let files = settings(&FILE);
    assert_snapshot!(refuse(&["backup", "b"], &files, here, ""), @"mcp-auth: there is no store file auth.redb: set STORE_PATH to the one that the service uses");
    assert_snapshot!(refuse(&["backup", "b"], &settings(&[]), here, ""), @"mcp-auth: STORE is memory, which ends with its process: set STORE=redb or STORE=redis");
    assert_snapshot!(refuse(&["restore", "b"], &files, here, ""), @"mcp-auth: the backup b cannot be read: No such file or directory (os error 2)");
    assert_snapshot!(refuse(&["restore", "-"], &files, here, "hello\n"), @"mcp-auth: line 1 is not one of a backup of mcp-auth: it is not the first line of one");
    assert!(!here.join("auth.redb").exists(), "nothing was made");
}

const LONG_SECRET: &str = "Zk3vQ0dKx2sZb1yq9fTnL7wHcR5uJpEaGmXiVoBtY8M";
const MANAGEMENT: &str = "reg-4T1oXhYxZ0c9b8a7LmNpQrStUvWxYz0123456789AbC";

/// Writes what the gateway in Python keeps of five clients, and tokens of theirs.
async fn python_gateway(redis: &RedisServer) {
    let client = json!({
        "client_id": "client_old", "client_secret": LONG_SECRET, "client_secret_expires_at": 0,
        "client_id_issued_at": 1_750_000_000, "redirect_uris": "[\"http://localhost:7777/callback\"]",
        "client_name": "Claude", "scope": "openid profile email", "created_at": 1_750_000_000,
        "response_types": "[\"code\"]", "grant_types": "[\"authorization_code\", \"refresh_token\"]",
        "registration_access_token": MANAGEMENT,
    });
    let ended = json!({"client_secret": LONG_SECRET, "client_secret_expires_at": 1_750_000_000,
        "redirect_uris": "[\"https://a.example/cb\"]", "client_name": "Ended"});
    let weak = json!({"client_secret": "short", "client_secret_expires_at": 0,
        "redirect_uris": "[\"https://a.example/cb\"]", "client_name": "Weak\u{1b}[31m\u{202e}"});
    let plain = json!({"client_secret": LONG_SECRET, "client_secret_expires_at": 0,
        "redirect_uris": "[\"http://a.example/cb\"]", "client_name": "Plain"});
    for (id, value) in [
        ("client_old", client),
        ("ended", ended),
        ("weak", weak),
        ("plain", plain),
    ] {
        let command = format!("SET oauth:client:{id} '{value}'");
        redis.command(&command, "+OK").await.unwrap();
    }
    let hash = format!(
        "HSET oauth:client:first-release client_secret {LONG_SECRET} redirect_uris '[\"https://a.example/cb\"]' client_name First created_at 1700000000"
    );
    redis.command(&hash, ":4").await.unwrap();
    for key in [
        "oauth:refresh:topsecret",
        "oauth:token:a",
        "oauth:token:b",
        "oauth:code:topsecret",
    ] {
        redis
            .command(&format!("SET {key} {{}}"), "+OK")
            .await
            .unwrap();
    }
}

/// The registrations of the gateway that was here before, in its Redis: its clients sign in with what they have.
#[tokio::test]
async fn the_clients_of_the_python_gateway_are_taken_over() {
    let redis = RedisServer::start().await.unwrap();
    python_gateway(&redis).await;
    let target = settings_of(&redis);
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let would = succeed(&["import", "--dry-run"], &target, here, "");
    assert_snapshot!(would, @r"
    client_old                        Claude                    taken
    ended                             Ended                     left out: its registration has ended
    first-release                     First                     taken
    plain                             Plain                     left out: http://a.example/cb: http is allowed only for 127.0.0.1, [::1] and localhost; use https
    weak                              Weak\u{1b}[31m\u{202e}    left out: its secret has less than 32 characters; it must register again
    2 clients would be taken, 0 were here already, 3 left out.
    Not taken: 1 code (authorization codes: they live for a year there and a minute here).
    Not taken: 1 refresh (refresh tokens: they are bound to no service; people sign in once more).
    Not taken: 2 token (access tokens: they name no service; clients get new ones).
    ");
    redis
        .command("EXISTS mcp-auth:client:client_old", ":0")
        .await
        .unwrap();
    succeed(&["import"], &target, here, "");
    let again = succeed(&["import"], &target, here, "");
    assert!(
        again.contains("0 clients taken, 2 were here already"),
        "{again}"
    );
    // Into another store, whose own Redis would have another password: the one in the address counts.
    let from = redis.url().replacen(
        "redis://",
        &format!("redis://:{}@", RedisServer::PASSWORD),
        1,
    );
    let mut file = settings(&FILE);
    file.push(("REDIS_PASSWORD".to_owned(), "another".to_owned()));
    let taken = succeed(&["import", "--from", &from], &file, here, "");
    assert!(taken.contains("2 clients taken"), "{taken}");
    redis
        .command(
            "EXISTS oauth:client:client_old oauth:refresh:topsecret",
            ":2",
        )
        .await
        .unwrap();

    let changes: Vec<_> = target
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let auth = Auth::start_with(&changes).await;
    let client = Client {
        id: "client_old".to_owned(),
        secret: Some(LONG_SECRET.to_owned()),
        registration_token: MANAGEMENT.to_owned(),
    };
    let tokens = tokens(&auth, &client).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let wrong = Client {
        secret: Some(LONG_SECRET.replace('Z', "Y")),
        ..client.clone()
    };
    let refused = auth.refresh(&wrong, &tokens.refresh).await;
    assert_eq!(refused.status, 401);
    let managed = auth
        .request("GET", AUTH, "/register/client_old")
        .bearer_auth(MANAGEMENT);
    assert_eq!(answer(managed).await.text("client_name"), "Claude");
    let keys = auth
        .request("GET", AUTH, "/register/client_old")
        .bearer_auth(LONG_SECRET);
    assert_eq!(answer(keys).await.status, 401);
}
