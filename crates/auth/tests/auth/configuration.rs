//! What the service says when it cannot start, and its other commands.

use std::process::Output;

use insta::assert_snapshot;

use crate::service::{Auth, JWT_SECRET, run, settings};

/// The one line with which a service with these settings refuses to start.
pub(crate) fn refused(changes: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&[], &settings(changes), directory.path(), "");
    said(&output).replace(&directory.path().display().to_string(), "[directory]")
}

/// The one line on stderr.
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

const GITHUB: [(&str, &str); 5] = [
    ("IDENTITY_PROVIDER", "github"),
    ("LOCAL_USERS", ""),
    ("GITHUB_CLIENT_ID", "id"),
    ("GITHUB_CLIENT_SECRET", "secret"),
    ("ALLOWED_GITHUB_USERS", "octocat"),
];

fn github(changes: &[(&'static str, &'static str)]) -> String {
    let all: Vec<(&str, &str)> = GITHUB.iter().chain(changes).copied().collect();
    refused(&all)
}

#[test]
fn what_is_missing_is_named_with_the_way_to_get_it() {
    assert_snapshot!(refused(&[("DOMAIN", "")]), @"mcp-auth: DOMAIN (domain in gateway.toml) is not set. Set DOMAIN=example.com, or DOMAIN=localhost to try it on a laptop.");
    assert_snapshot!(refused(&[("GATEWAY_JWT_SECRET", "")]), @"mcp-auth: GATEWAY_JWT_SECRET (tokens.secret in gateway.toml) is not set. Make one with: openssl rand -base64 48.");
    assert_snapshot!(refused(&[("LOCAL_USERS", "")]), @"mcp-auth: LOCAL_USERS (local.users in gateway.toml) is not set. Make a hash with: mcp-auth hash-password.");
    assert_snapshot!(github(&[("GITHUB_CLIENT_ID", "")]), @"mcp-auth: GITHUB_CLIENT_ID (github.client_id in gateway.toml) is not set. Make an OAuth app at https://github.com/settings/developers with the callback URL https://auth.DOMAIN/callback.");
    assert_snapshot!(github(&[("GITHUB_CLIENT_SECRET", "")]), @"mcp-auth: GITHUB_CLIENT_SECRET (github.client_secret in gateway.toml) is not set. Make one on the page of the OAuth app at https://github.com/settings/developers.");
}

/// A fault of the Python gateway: an empty list let everybody in.
#[test]
fn github_without_a_list_does_not_start() {
    assert_snapshot!(github(&[("ALLOWED_GITHUB_USERS", "")]), @"mcp-auth: ALLOWED_GITHUB_USERS (github.allowed_users in gateway.toml) is not set. Set ALLOWED_GITHUB_USERS=your-name, or ALLOWED_GITHUB_ORGS or ALLOWED_GITHUB_TEAMS; * admits everybody who has a GitHub account.");
    assert_eq!(
        github(&[("ALLOWED_GITHUB_USERS", " , ,")]),
        github(&[("ALLOWED_GITHUB_USERS", "")])
    );
}

#[test]
fn what_is_malformed_is_named_with_its_value() {
    assert_snapshot!(refused(&[("DOMAIN", "https://example.com")]), @r#"mcp-auth: DOMAIN (domain in gateway.toml) is "https://example.com" (environment variable DOMAIN), which is refused: "https://example.com" is not a domain: write a host name in lower case such as example.com, without scheme, port or final dot. Set DOMAIN=example.com, or DOMAIN=localhost to try it on a laptop."#);
    assert_snapshot!(refused(&[("DOMAIN", "Example.com")]), @r#"mcp-auth: DOMAIN (domain in gateway.toml) is "Example.com" (environment variable DOMAIN), which is refused: "Example.com" is not a domain: write a host name in lower case such as example.com, without scheme, port or final dot. Set DOMAIN=example.com, or DOMAIN=localhost to try it on a laptop."#);
    assert_snapshot!(refused(&[("DOMAIN", "example.com")]), @r#"mcp-auth: PUBLIC_SCHEME (public.scheme in gateway.toml) is "http" (environment variable PUBLIC_SCHEME), which is refused: http is allowed only for localhost, because tokens would cross the network in the clear; use https for example.com. scheme of public URLs: https, or http on localhost."#);
    assert_snapshot!(refused(&[("PUBLIC_SCHEME", "ftp")]), @r#"mcp-auth: PUBLIC_SCHEME (public.scheme in gateway.toml) is "ftp" (environment variable PUBLIC_SCHEME), which is refused: "ftp" is not a scheme: use https, or http on localhost. scheme of public URLs: https, or http on localhost."#);
    assert_snapshot!(refused(&[("PUBLIC_PORT", "65536")]), @r#"mcp-auth: PUBLIC_PORT (public.port in gateway.toml) is "65536" (environment variable PUBLIC_PORT), which is not a whole number from 0 to 65535. port in public URLs when it is not the scheme's own."#);
    assert_snapshot!(refused(&[("PORT", "http")]), @r#"mcp-auth: PORT (listen.port in gateway.toml) is "http" (environment variable PORT), which is not a whole number. port of the listener that Traefik calls; 0 takes a free one."#);
    assert_snapshot!(refused(&[("HOST", "localhost")]), @r#"mcp-auth: HOST (listen.host in gateway.toml) is "localhost" (environment variable HOST), which is not an IP address; use 127.0.0.1, or 0.0.0.0 in a container. address of the listener that Traefik calls."#);
    assert_snapshot!(refused(&[("MCP_SERVICES", "mcp_fetch")]), @r#"mcp-auth: MCP_SERVICES (service_names in gateway.toml) is "mcp_fetch" (environment variable MCP_SERVICES), which is refused: "mcp_fetch" is not a valid service name: a DNS label: lower-case letters, digits and inner hyphens, at most 63. the services behind the gateway; every MCP_<NAME>_ENABLED=true adds mcp-<name>."#);
    assert_snapshot!(refused(&[("MCP_SERVICES", "auth")]), @r#"mcp-auth: MCP_SERVICES (service_names in gateway.toml) is "auth" (environment variable MCP_SERVICES), which is the host of this server; name the service otherwise. the services behind the gateway; every MCP_<NAME>_ENABLED=true adds mcp-<name>."#);
    assert_snapshot!(refused(&[("STORE", "postgres")]), @r#"mcp-auth: STORE (store.kind in gateway.toml) is "postgres" (environment variable STORE), which is not a store; use redb, redis or memory. where state is kept: redb (one file), redis, or memory (lost at the end)."#);
    assert_snapshot!(refused(&[("IDENTITY_PROVIDER", "google")]), @r#"mcp-auth: IDENTITY_PROVIDER (identity_provider in gateway.toml) is "google" (environment variable IDENTITY_PROVIDER), which is not a provider; use github, oidc or local. who knows the people: github, oidc (any issuer of OpenID Connect), or local (names and hashes configured here)."#);
    assert_snapshot!(refused(&[("ACCESS_TOKEN_LIFETIME", "9")]), @r#"mcp-auth: ACCESS_TOKEN_LIFETIME (tokens.access_token_lifetime in gateway.toml) is "9" (environment variable ACCESS_TOKEN_LIFETIME), which must be between 10 and 2592000 seconds. life of an access token."#);
    assert_snapshot!(refused(&[("ACCESS_TOKEN_LIFETIME", "an hour")]), @r#"mcp-auth: ACCESS_TOKEN_LIFETIME (tokens.access_token_lifetime in gateway.toml) is "an hour" (environment variable ACCESS_TOKEN_LIFETIME), which is not a whole number of seconds. life of an access token."#);
    assert_snapshot!(refused(&[("REFRESH_GRACE", "301")]), @r#"mcp-auth: REFRESH_GRACE (tokens.refresh_grace in gateway.toml) is "301" (environment variable REFRESH_GRACE), which must be between 0 and 300 seconds. how long a spent refresh token still leads to its successor; 0 = strict."#);
    assert_snapshot!(refused(&[("JWT_ALGORITHM", "HS256")]), @r#"mcp-auth: JWT_ALGORITHM (tokens.algorithm in gateway.toml) is "HS256" (environment variable JWT_ALGORITHM), which is not an algorithm that is offered; use ES256, EdDSA or RS256. algorithm of access tokens: ES256, EdDSA or RS256; another one than before rotates the keys."#);
    assert_snapshot!(refused(&[("KEY_LIFETIME", "600")]), @r#"mcp-auth: KEY_LIFETIME (tokens.key_lifetime in gateway.toml) is "600" (environment variable KEY_LIFETIME), which must be 0, or at least 1320 seconds, twice KEY_PUBLISHED_BEFORE. how long a key signs access tokens before the next one takes over; 0 = until keys are rotated by command."#);
    assert_snapshot!(refused(&[("LOG_LEVEL", "loud")]), @r#"mcp-auth: LOG_LEVEL (log.level in gateway.toml) is "loud" (configuration), which is not a log level. Use one of error, warn, info, debug, trace, or a list such as "info,mcp_proxy=debug"."#);
    assert_snapshot!(github(&[("GITHUB_URL", "http://github.example")]), @r#"mcp-auth: GITHUB_URL (github.url in gateway.toml) is "http://github.example" (environment variable GITHUB_URL), which must be an https URL, because secrets are sent there. where GitHub's sign-in is; another one for GitHub Enterprise."#);
}

#[test]
fn a_secret_is_refused_without_being_shown() {
    assert_snapshot!(refused(&[("GATEWAY_JWT_SECRET", "short-hunter2")]), @"mcp-auth: GATEWAY_JWT_SECRET (tokens.secret in gateway.toml) is [hidden] (environment variable GATEWAY_JWT_SECRET), which must be at least 32 random characters. Make one with: openssl rand -base64 48.");
    assert_snapshot!(refused(&[("GATEWAY_JWT_SECRET", &"a".repeat(64))]), @"mcp-auth: GATEWAY_JWT_SECRET (tokens.secret in gateway.toml) is [hidden] (environment variable GATEWAY_JWT_SECRET), which must be at least 32 random characters. Make one with: openssl rand -base64 48.");
    assert_snapshot!(refused(&[("LOCAL_USERS", "ada:hunter2")]), @"mcp-auth: LOCAL_USERS (local.users in gateway.toml) is [hidden] (environment variable LOCAL_USERS), which is refused: the hash of ada is not an Argon2id hash; make one with: mcp-auth hash-password. Make a hash with: mcp-auth hash-password.");
    assert_snapshot!(refused(&[("LOCAL_USERS", "ada")]), @"mcp-auth: LOCAL_USERS (local.users in gateway.toml) is [hidden] (environment variable LOCAL_USERS), which is refused: entry 1 is not name:hash. Make a hash with: mcp-auth hash-password.");
    for line in [
        refused(&[("GATEWAY_JWT_SECRET", "short-hunter2")]),
        refused(&[("LOCAL_USERS", "ada:hunter2")]),
        refused(&[("LOCAL_USERS", "hunter2")]),
    ] {
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn a_secret_file_is_read_and_a_wrong_one_is_named() {
    assert_snapshot!(
        refused(&[("GATEWAY_JWT_SECRET", ""), ("GATEWAY_JWT_SECRET_FILE", "/nowhere/secret")]),
        @"mcp-auth: GATEWAY_JWT_SECRET_FILE names /nowhere/secret, which cannot be read: No such file or directory (os error 2). Put the value of GATEWAY_JWT_SECRET into that file, and nothing else."
    );
    assert_snapshot!(refused(&[("GATEWAY_JWT_SECRET_FILE", "/nowhere/secret")]), @"mcp-auth: GATEWAY_JWT_SECRET and GATEWAY_JWT_SECRET_FILE are both set. Keep one of them.");
}

#[test]
fn the_store_is_named_when_it_cannot_be_opened() {
    assert_snapshot!(
        refused(&[("STORE", "redb"), ("STORE_PATH", "/nowhere/auth.redb")]),
        @"mcp-auth: the store file /nowhere/auth.redb cannot be made: its directory does not exist; create it or set STORE_PATH"
    );
    assert_snapshot!(refused(&[("STORE", "redis"), ("REDIS_URL", "localhost:6379")]), @"mcp-auth: REDIS_URL is not an address of Redis (it must begin with redis:// or rediss:// and name a host): use redis://host:6379, or rediss://host:6379 for TLS, and REDIS_PASSWORD for the password");
}

#[tokio::test]
async fn a_second_instance_on_one_file_is_told_so() {
    let auth = Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await;
    let path = auth.directory().join("auth.redb");
    let second = settings(&[("STORE", "redb"), ("STORE_PATH", path.to_str().unwrap())]);
    let output = run(&[], &second, auth.directory(), "");
    let line = said(&output).replace(&auth.directory().display().to_string(), "[directory]");
    assert_snapshot!(line, @"mcp-auth: the store file [directory]/auth.redb is in use by another process: stop that one or set STORE_PATH to another file (several instances share one store with STORE=redis)");
}

#[tokio::test]
async fn a_wrong_secret_for_an_existing_store_is_told() {
    let auth = Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await;
    let store = tempfile::tempdir().unwrap();
    let copy = store.path().join("auth.redb");
    let auth = auth.kill_and_start().await;
    std::fs::copy(auth.directory().join("auth.redb"), &copy).unwrap();
    let other = settings(&[
        ("STORE", "redb"),
        ("STORE_PATH", copy.to_str().unwrap()),
        (
            "GATEWAY_JWT_SECRET",
            "another-secret-0123456789-abcdefghijkl",
        ),
    ]);
    assert_snapshot!(said(&run(&[], &other, store.path(), "")), @"mcp-auth: GATEWAY_JWT_SECRET does not open the keys in this store: it is not the secret that sealed them. Set the earlier value again (to change it, set GATEWAY_JWT_SECRET_PREVIOUS to the earlier value as well), or start with an empty store (everybody signs in anew)");
}

#[tokio::test]
async fn a_taken_port_is_one_line() {
    let auth = Auth::start().await;
    let port = auth.public.port().to_string();
    let line = refused(&[("PORT", &port)]).replace(&port, "[port]");
    assert_snapshot!(line, @"mcp-auth: the public listener (HOST, PORT) address 127.0.0.1:[port] is in use by another process. Stop that process or set another port.");
    let port = auth.private.port().to_string();
    let line = refused(&[("PRIVATE_PORT", &port)]).replace(&port, "[port]");
    assert_snapshot!(line, @"mcp-auth: the private listener (PRIVATE_HOST, PRIVATE_PORT) address 127.0.0.1:[port] is in use by another process. Stop that process or set another port.");
}

#[test]
fn a_configuration_file_is_read_and_its_mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let said_of = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(&[], &settings(&[("DOMAIN", "")]), directory.path(), "");
        said(&output).replace(&directory.path().display().to_string(), "[directory]")
    };
    assert_snapshot!(said_of("domain = 7"), @r#"mcp-auth: DOMAIN (domain in gateway.toml) is "7" (file gateway.toml), which is not a text in quotes. Set DOMAIN=example.com, or DOMAIN=localhost to try it on a laptop."#);
    assert_snapshot!(said_of("domian = \"localhost\""), @"mcp-auth: configuration file gateway.toml: unknown key domian. Known keys there: domain, public, service_names, services, listen, private, address_file, store, redis, identity_provider, github, oidc, local, people, tokens, clients, limits, client_rules, operator_clients, log.");
    assert_snapshot!(said_of("domain ="), @"mcp-auth: configuration file gateway.toml: TOML parse error at line 1, column 9:   |         ^. Correct that line; the format is TOML.");
    let output = run(
        &["--config", "/nowhere/gateway.toml"],
        &settings(&[]),
        directory.path(),
        "",
    );
    assert_snapshot!(said(&output), @"mcp-auth: configuration file /nowhere/gateway.toml: there is no such file. Name an existing file with --config or GATEWAY_CONFIG.");
}

#[test]
fn the_table_of_the_configuration_hides_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&[
        ("GITHUB_CLIENT_SECRET", "hunter2"),
        ("REDIS_PASSWORD", "hunter3"),
    ]);
    let output = run(&["config"], &settings, directory.path(), "");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for secret in [JWT_SECRET, "hunter2", "hunter3", "argon2"] {
        assert!(!table.contains(secret), "{table}");
    }
    let line = |variable: &str| {
        let line = table.lines().find(|line| line.starts_with(variable));
        let words: Vec<&str> = line.unwrap().split_ascii_whitespace().collect();
        words.join(" ")
    };
    assert_snapshot!(line("DOMAIN"), @"DOMAIN domain localhost environment variable DOMAIN");
    assert_snapshot!(line("GATEWAY_JWT_SECRET"), @"GATEWAY_JWT_SECRET tokens.secret [hidden] environment variable GATEWAY_JWT_SECRET");
    assert_snapshot!(line("LOCAL_USERS"), @"LOCAL_USERS local.users [hidden] environment variable LOCAL_USERS");
    assert_snapshot!(line("ACCESS_TOKEN_LIFETIME"), @"ACCESS_TOKEN_LIFETIME tokens.access_token_lifetime 3600 default");
    assert_snapshot!(line("GITHUB_CLIENT_ID"), @"GITHUB_CLIENT_ID github.client_id default");
}

#[test]
fn the_table_ends_with_what_the_service_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&[("ACCESS_TOKEN_LIFETIME", "1"), ("LOCAL_USERS", "")]);
    let output = run(&["config"], &settings, directory.path(), "");
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("DOMAIN"));
    let serve = run(&[], &settings, directory.path(), "");
    assert_eq!(output.stderr, serve.stderr);
    assert!(!output.stderr.is_empty());
}

#[tokio::test]
async fn a_hashed_password_signs_in() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["hash-password"], &[], directory.path(), "open sesame\n");
    assert!(output.status.success());
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
    assert_eq!(hash.lines().count(), 1);
    let auth = Auth::start_with(&[("LOCAL_USERS", &format!("bob:{}", hash.trim()))]).await;
    let client = crate::sign_in::public_client(&auth).await;
    let held = crate::sign_in::approve(&auth, &client.id, &[]).await;
    let granted = crate::sign_in::log_in(&auth, &held, "bob", "open sesame").await;
    assert_eq!(granted.status, 303);
}

#[test]
fn an_empty_password_is_not_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["hash-password"], &[], directory.path(), "\n");
    assert_snapshot!(said(&output), @"mcp-auth: the password is empty; write it to standard input");
}

#[tokio::test]
async fn the_health_check_tells_by_its_exit_code() {
    let auth = Auth::start().await;
    let port = auth.private.port().to_string();
    let settings = settings(&[("PRIVATE_PORT", &port)]);
    let output = run(&["healthcheck"], &settings, auth.directory(), "");
    assert!(output.status.success(), "{output:?}");
    let directory = tempfile::tempdir().unwrap();
    drop(auth);
    let output = run(&["healthcheck"], &settings, directory.path(), "");
    let line = said(&output);
    assert!(line.contains(&port), "{line}");
}

#[tokio::test]
async fn both_listeners_are_on_loopback_unless_told_otherwise() {
    let auth = Auth::start().await;
    assert!(auth.public.ip().is_loopback(), "{}", auth.public);
    assert!(auth.private.ip().is_loopback(), "{}", auth.private);
}
