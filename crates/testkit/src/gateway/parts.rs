//! How each process of the gateway is started, and how one sees that it is ready.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::{JWT_SECRET, OTHER_USERNAME, PASSWORD, Provider, Setup, Store, USERNAME};
use crate::github::{CLIENT_ID, CLIENT_SECRET, GitHub};
use crate::process::{self, Command, Logs, Process};
use crate::wait::{self, PATIENCE};
use crate::{binaries, network};

/// Limits that are off in tests of other things.
const UNLIMITED: [&str; 7] = [
    "LIMIT_REGISTER",
    "LIMIT_AUTHORIZE",
    "LIMIT_SIGN_IN",
    "LIMIT_TOKEN",
    "LIMIT_TOKEN_FAILURES",
    "LIMIT_REVOKE",
    "LIMIT_ADDRESS",
];

/// The ports that must be known before the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) public_port: u16,
    pub(super) auth_port: u16,
}

/// A running `mcp-proxy`.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) service: String,
    pub(super) server: Vec<String>,
    pub(super) replicas: Vec<u16>,
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    private: SocketAddr,
}

pub(super) async fn start_auth(
    setup: &Setup,
    logs: &Logs,
    directory: &Path,
    addresses: Addresses,
    github: Option<&GitHub>,
) -> Result<(Process, SocketAddr)> {
    let address_file = directory.join(format!("auth-{}.address", addresses.auth_port));
    // A file of an earlier start would be taken for the answer of this one.
    let _ = std::fs::remove_file(&address_file);
    let services: Vec<&str> = setup
        .services
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let mut command = Command::new("auth", binaries::mcp_auth())
        .current_dir(directory)
        .env("ADDRESS_FILE", &address_file)
        .env("HOST", "127.0.0.1")
        .env("PORT", addresses.auth_port.to_string())
        .env("PRIVATE_PORT", "0")
        .env("DOMAIN", "localhost")
        .env("PUBLIC_SCHEME", "http")
        .env("PUBLIC_PORT", addresses.public_port.to_string())
        .env("MCP_SERVICES", services.join(","))
        .env("GATEWAY_JWT_SECRET", JWT_SECRET)
        .env("LOG_LEVEL", &setup.log_level)
        .env("LOG_FORMAT", "json")
        // Nobody balances between instances, but where a test says so.
        .env("SHUTDOWN_DRAIN", "0");
    // All clients and people of a test come from one address.
    for limit in UNLIMITED {
        command = command.env(limit, "0");
    }
    command = match &setup.store {
        Store::Memory => command.env("STORE", "memory"),
        Store::Redb => command
            .env("STORE", "redb")
            .env("STORE_PATH", directory.join("auth.redb")),
        Store::Redis { url, password } => command
            .env("STORE", "redis")
            .env("REDIS_URL", url)
            .env("REDIS_PASSWORD", password),
    };
    command = match (&setup.provider, github) {
        (Provider::GitHub { allowed }, Some(github)) => {
            let command = command
                .env("IDENTITY_PROVIDER", "github")
                .env("GITHUB_CLIENT_ID", CLIENT_ID)
                .env("GITHUB_CLIENT_SECRET", CLIENT_SECRET)
                .env("GITHUB_URL", github.url())
                .env("GITHUB_API_URL", github.api_url());
            if allowed.is_empty() {
                command
            } else {
                command.env("ALLOWED_GITHUB_USERS", allowed)
            }
        }
        _ => command
            .env("IDENTITY_PROVIDER", "local")
            .env("LOCAL_USERS", local_users()?),
    };
    for (variable, value) in &setup.auth_settings {
        command = command.env(variable, value);
    }
    let mut process = command.start(logs)?;
    let address = process::address(&mut process, &address_file, "public").await?;
    Ok((process, address))
}

fn local_users() -> Result<String> {
    let hash = password_hash()?;
    Ok(format!("{USERNAME}:{hash} {OTHER_USERNAME}:{hash}"))
}

/// The hash of [`PASSWORD`] as `mcp-auth hash-password` makes it for an operator.
fn password_hash() -> Result<String> {
    let mut child = std::process::Command::new(binaries::mcp_auth())
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("mcp-auth hash-password")?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{PASSWORD}")?;
    }
    let mut hash = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut hash)?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("mcp-auth hash-password ended with {status}");
    }
    Ok(hash.trim().to_owned())
}

/// Starts one `mcp-proxy`. `replicas`: the ports of all that serve this service, of which this is the one at `place`; empty
/// where there is one alone, which takes a free port.
pub(super) async fn start_proxy(
    setup: &Setup,
    logs: &Logs,
    directory: &Path,
    service: &str,
    server: &[String],
    replicas: &[u16],
    place: usize,
) -> Result<Proxy> {
    let port = replicas.get(place).copied().unwrap_or_default();
    let address_file = directory.join(format!("{service}-{place}.address"));
    // A file of an earlier start would be taken for the answer of this one.
    let _ = std::fs::remove_file(&address_file);
    let mut command = Command::new(service, binaries::mcp_proxy())
        .current_dir(directory)
        .env("PRIVATE_PORT", "0")
        .env("ALLOWED_HOSTS", format!("{service}.localhost"))
        .env("REQUIRE_IDENTITY", "true")
        .env("LOG_LEVEL", &setup.log_level)
        .env("LOG_FORMAT", "json");
    for (variable, value) in &setup.proxy_settings {
        command = command.env(variable, value);
    }
    if !replicas.is_empty() {
        let places: Vec<String> = replicas
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        command = command.env("REPLICAS", places.join(","));
    }
    let mut process = command
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .arg("--address-file")
        .arg(&address_file)
        .arg("--")
        .args(server)
        .start(logs)?;
    let address = process::address(&mut process, &address_file, "public").await?;
    let private = process::address(&mut process, &address_file, "private").await?;
    Ok(Proxy {
        service: service.to_owned(),
        server: server.to_owned(),
        replicas: replicas.to_owned(),
        process,
        address,
        private,
    })
}

/// Until `/health` of the authorization server is answered through Traefik.
pub(super) async fn wait_for_auth(public_port: u16) -> Result<()> {
    let url = format!("http://auth.localhost:{public_port}/health");
    wait_for_ok("the authorization server behind Traefik", &url).await
}

/// Until the child answered its first probe.
pub(super) async fn wait_for_proxy(proxy: &mut Proxy) -> Result<()> {
    let url = format!("http://{}/health/ready", proxy.private);
    wait_for_ok(&proxy.service, &url).await
}

async fn wait_for_ok(what: &str, url: &str) -> Result<()> {
    let http = network::http_client()?;
    wait::until(&format!("{what} to be ready at {url}"), PATIENCE, || {
        let request = http.get(url).send();
        async move {
            let answer = request.await.ok()?;
            answer.status().is_success().then_some(())
        }
    })
    .await
}
