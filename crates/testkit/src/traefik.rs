//! The real Traefik with the shipped files, on a free port.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::process::{self, Command, Logs, Process};
use crate::wait::{self, PATIENCE};
use crate::{binaries, network};

/// What Traefik is to be started with.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The port of the entry point `web`; 0 = a free one.
    pub port: u16,
    /// The instances of the authorization server; with more than one, Traefik asks them by way of itself.
    pub auth: Vec<SocketAddr>,
    /// Names of the MCP services, and the addresses of their replicas.
    pub services: Vec<(String, Vec<SocketAddr>)>,
    /// More variables.
    pub variables: &'a [(String, String)],
}

/// A running Traefik.
#[derive(Debug)]
pub struct Traefik {
    /// Its process.
    pub process: Process,
    /// Its entry point `web`.
    pub address: SocketAddr,
}

impl Traefik {
    /// Starts it and waits until it has its routes. `directory` takes its address file.
    ///
    /// # Errors
    ///
    /// If it does not start; what it wrote is in the logs.
    pub async fn start(settings: Settings<'_>, directory: &Path, logs: &Logs) -> Result<Self> {
        let address_file = directory.join("traefik.address");
        let backends: Vec<String> = settings
            .services
            .iter()
            .map(|(name, replicas)| {
                let urls: Vec<String> = replicas
                    .iter()
                    .map(|address| format!("http://{address}"))
                    .collect();
                format!("{name}={}", urls.join("|"))
            })
            .collect();
        let auth: Vec<String> = settings
            .auth
            .iter()
            .map(|address| format!("http://{address}"))
            .collect();
        let mut command = Command::new("traefik", "python3")
            .arg(binaries::workspace().join("traefik/start.py"))
            .arg("--address-file")
            .arg(&address_file)
            .args(["--web", &format!("127.0.0.1:{}", settings.port)])
            .arg("--traefik")
            .arg(binaries::tool("traefik"))
            .env("DOMAIN", "localhost")
            .env("PUBLIC_SCHEME", "http")
            .env("AUTH_URL", auth.join(","))
            .env("MCP_BACKENDS", backends.join(","))
            // The limits are a test of their own; here they would make stories depend on their neighbours' speed.
            .env("RATE_LIMIT_REGISTER", "100000")
            .env("RATE_LIMIT_SIGN_IN", "100000");
        if settings.auth.len() > 1 {
            command = command.args(["--verify", "127.0.0.1:0"]);
        }
        for (variable, value) in settings.variables {
            command = command.env(variable, value);
        }
        let mut process = command.start(logs)?;
        let address = process::address(&mut process, &address_file, "web").await?;
        wait_for_routes(address).await?;
        Ok(Self { process, address })
    }
}

/// Traefik answers 404 until it has read its routes; then the metadata routes lead to auth, be it there or not.
async fn wait_for_routes(address: SocketAddr) -> Result<()> {
    let http = network::http_client()?;
    let url = format!("http://auth.localhost:{}/health", address.port());
    wait::until("Traefik to have its routes", PATIENCE, || {
        let request = http.get(&url).send();
        async move { (request.await.ok()?.status() != 404).then_some(()) }
    })
    .await
}
