//! The whole gateway on this machine: the real `mcp-auth`, the real `mcp-proxy` per service, the real Traefik with the shipped
//! files, all on free ports, and nothing left when it is dropped.

mod parts;
mod setup;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use url::Url;

pub use self::setup::{Provider, Setup, Store};
use crate::github::GitHub;
use crate::mcp_client::{Granted, McpClient, Registered};
use crate::person::{Credentials, Person};
use crate::process::{Logs, Process};
use crate::traefik::Traefik;
use crate::wait;

/// Who can sign in with the provider `local`.
pub const USERNAME: &str = "ada";

/// Who can as well.
pub const OTHER_USERNAME: &str = "grace";

/// Both have the same password.
pub const PASSWORD: &str = "correct horse battery staple";

/// The secret the gateway is started with.
pub const JWT_SECRET: &str = "testkit-secret-0123456789-abcdefghijklmnop";

/// Longer than the service takes at most to end.
const STOP: std::time::Duration = std::time::Duration::from_secs(40);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// What every process wrote.
    pub logs: Logs,
    /// The fake GitHub, with the provider `github`.
    pub github: Option<GitHub>,
    setup: Setup,
    public_port: u16,
    auth_address: SocketAddr,
    /// `None` while it is down.
    auth: Option<Process>,
    /// The other instances of the authorization server.
    others: Vec<(Process, SocketAddr)>,
    proxies: Vec<parts::Proxy>,
    traefik: Traefik,
    directory: TempDir,
}

/// SIGTERM, and a good end within the limits of the process.
async fn end(process: &mut Process, name: &str) -> Result<()> {
    process.signal(crate::process::Signal::TERM)?;
    let status = process.wait(STOP).await?;
    if !status.success() {
        anyhow::bail!("{name} ended with {status}");
    }
    Ok(())
}

impl Gateway {
    /// Says what to start; awaiting the result starts it and returns when every part is ready.
    #[must_use]
    pub fn start() -> Setup {
        Setup::default()
    }

    /// The issuer: `http://auth.localhost:PORT`, no slash at the end.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://auth.localhost:{}", self.public_port)
    }

    /// An address at the authorization server, through Traefik.
    ///
    /// # Errors
    ///
    /// If `path` is not one.
    pub fn auth_url(&self, path: &str) -> Result<Url> {
        Url::parse(&self.issuer())?
            .join(path)
            .with_context(|| format!("{path} is not a path"))
    }

    /// The MCP endpoint of a service as a client is given it: `http://mcp-fetch.localhost:PORT/mcp`.
    ///
    /// # Errors
    ///
    /// If `service` is not a host label.
    pub fn mcp_url(&self, service: &str) -> Result<Url> {
        Url::parse(&format!(
            "http://{service}.localhost:{}/mcp",
            self.public_port
        ))
        .with_context(|| format!("{service} is not a service name"))
    }

    /// The name of every host that a client asks for, all below `localhost`.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let services = self.setup.services.iter().map(|(name, _)| name.as_str());
        std::iter::once("auth")
            .chain(services)
            .map(|name| format!("{name}.localhost"))
    }

    /// Traefik's port, for requests that no HTTP library would send.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.public_port))
    }

    /// The authorization server itself, past Traefik.
    #[must_use]
    pub fn auth_address(&self) -> SocketAddr {
        self.auth_address
    }

    /// The `mcp-proxy` of a service itself, past Traefik.
    ///
    /// # Errors
    ///
    /// If no such service was started.
    pub fn proxy_address(&self, service: &str) -> Result<SocketAddr> {
        let proxy = self.proxies.iter().find(|proxy| proxy.service == service);
        Ok(proxy
            .with_context(|| format!("no service {service}"))?
            .address)
    }

    /// A person who may sign in, with a fresh browser.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn person(&self) -> Result<Person> {
        self.person_named(match &self.setup.provider {
            Provider::Local => USERNAME,
            Provider::GitHub { .. } => "octocat",
        })
    }

    /// A person of this name, with a fresh browser.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn person_named(&self, name: &str) -> Result<Person> {
        Person::new(match &self.setup.provider {
            Provider::Local => Credentials::Local {
                username: name.to_owned(),
                password: PASSWORD.to_owned(),
            },
            Provider::GitHub { .. } => Credentials::GitHub {
                login: name.to_owned(),
            },
        })
    }

    /// A client of a service that knows nothing but its address.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be built.
    pub fn client(&self, service: &str) -> Result<McpClient> {
        McpClient::new(self.mcp_url(service)?)
    }

    /// A client that found its way from the address of a service and registered.
    ///
    /// # Errors
    ///
    /// If discovery or registration is refused.
    pub async fn register(&self, service: &str) -> Result<Registered> {
        self.client(service)?.discover().await?.register().await
    }

    /// The same, for which [`Gateway::person`] agreed and signed in, with its first tokens.
    ///
    /// # Errors
    ///
    /// If any step on the way is refused.
    pub async fn sign_in(&self, service: &str) -> Result<Granted> {
        let registered = self.register(service).await?;
        registered.authorize(&self.person()?).await?.token().await
    }

    /// The ids of the processes that serve; their groups hold every child.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        let mut ids = vec![self.traefik.process.id()];
        ids.extend(self.auth.iter().map(Process::id));
        ids.extend(self.others.iter().map(|(process, _)| process.id()));
        ids.extend(self.proxies.iter().map(|proxy| proxy.process.id()));
        ids
    }

    /// `kill -9` to the authorization server, as a power cut does it.
    ///
    /// # Errors
    ///
    /// If it was not running.
    pub async fn kill_auth(&mut self) -> Result<()> {
        let mut auth = self.auth.take().context("mcp-auth is not running")?;
        auth.kill().await
    }

    /// SIGTERM to the (first) authorization server, as a rolling restart does it; returns when it has ended.
    ///
    /// # Errors
    ///
    /// If it was not running, or does not end well within its own limits.
    pub async fn stop_auth(&mut self) -> Result<()> {
        let mut auth = self.auth.take().context("mcp-auth is not running")?;
        end(&mut auth, "mcp-auth").await
    }

    /// SIGTERM to each other instance of the authorization server, one after the other; each is started again at its address
    /// before the next one goes.
    ///
    /// # Errors
    ///
    /// If one does not end well, or does not come back.
    pub async fn restart_others(&mut self) -> Result<()> {
        for (process, address) in &mut self.others {
            end(process, "mcp-auth").await?;
            let (again, _) = parts::start_auth(
                &self.setup,
                &self.logs,
                self.directory.path(),
                parts::Addresses {
                    public_port: self.public_port,
                    auth_port: address.port(),
                },
                self.github.as_ref(),
            )
            .await?;
            *process = again;
        }
        Ok(())
    }

    /// The address of each replica of a service, past Traefik.
    #[must_use]
    pub fn replicas(&self, service: &str) -> Vec<SocketAddr> {
        self.proxies
            .iter()
            .filter(|proxy| proxy.service == service)
            .map(|proxy| proxy.address)
            .collect()
    }

    /// SIGTERM to the replica at this address; returns when another process serves there and is ready.
    ///
    /// # Errors
    ///
    /// If there is none, or it does not end well or does not come back.
    pub async fn restart_replica(&mut self, address: SocketAddr) -> Result<()> {
        let mut found = self.proxies.iter_mut();
        let proxy = found
            .find(|proxy| proxy.address == address)
            .context("no such replica")?;
        end(&mut proxy.process, &proxy.service).await?;
        let ports = &proxy.replicas;
        let place = ports.iter().position(|port| *port == address.port());
        *proxy = parts::start_proxy(
            &self.setup,
            &self.logs,
            self.directory.path(),
            &proxy.service,
            &proxy.server,
            ports,
            place.context("a proxy that has no replicas")?,
        )
        .await?;
        parts::wait_for_proxy(proxy).await
    }

    /// Waits until Traefik sends requests of others to what serves at this address, an instance of the authorization server or a
    /// replica. Whoever stops the next one sooner leaves Traefik with none that it knows to be well.
    ///
    /// # Errors
    ///
    /// If it does not, or nobody asks for anything.
    pub async fn until_asked(&self, address: SocketAddr) -> Result<()> {
        let asked = format!("\"ServiceURL\":\"http://{address}\"");
        let times = || self.logs.text().matches(&asked).count();
        let before = times();
        let what = format!("a request to {address}");
        wait::until_true(&what, wait::PATIENCE, || times() > before).await
    }

    /// Starts the authorization server again, at the same address on the same store.
    ///
    /// # Errors
    ///
    /// If it does not become ready.
    pub async fn start_auth(&mut self) -> Result<()> {
        let (auth, _) = parts::start_auth(
            &self.setup,
            &self.logs,
            self.directory.path(),
            parts::Addresses {
                public_port: self.public_port,
                auth_port: self.auth_address.port(),
            },
            self.github.as_ref(),
        )
        .await?;
        self.auth = Some(auth);
        parts::wait_for_auth(self.public_port).await
    }
}
