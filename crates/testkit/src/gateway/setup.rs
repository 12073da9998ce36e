//! What is to be started.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use anyhow::{Context as _, Result};

use super::{Gateway, parts};
use crate::github::{GitHub, User};
use crate::network;
use crate::process::Logs;
use crate::traefik::{self, Traefik};

/// Who says who a person is.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Our own sign-in page; [`super::USERNAME`] and [`super::OTHER_USERNAME`] may come in.
    Local,
    /// A fake GitHub with the users `octocat` (583231), `hubot` (480938) and `mona` (9919), of which these may come in.
    GitHub {
        /// The value of `ALLOWED_GITHUB_USERS`.
        allowed: String,
    },
}

/// Where the authorization server remembers.
#[derive(Debug, Clone)]
pub enum Store {
    /// Nowhere.
    Memory,
    /// In a redb file in the gateway's directory.
    Redb,
    /// In a Redis.
    Redis {
        /// `redis://127.0.0.1:PORT`.
        url: String,
        /// Its password.
        password: String,
    },
}

/// The gateway to be started; awaiting it starts it.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(super) provider: Provider,
    pub(super) store: Store,
    pub(super) services: Vec<(String, Vec<String>)>,
    pub(super) auth_settings: Vec<(String, String)>,
    pub(super) proxy_settings: Vec<(String, String)>,
    pub(super) traefik_settings: Vec<(String, String)>,
    pub(super) log_level: String,
    pub(super) more_instances: usize,
    pub(super) more_replicas: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            provider: Provider::Local,
            store: Store::Memory,
            services: Vec::new(),
            auth_settings: Vec::new(),
            proxy_settings: Vec::new(),
            traefik_settings: Vec::new(),
            log_level: "info".to_owned(),
            more_instances: 0,
            more_replicas: 0,
        }
    }
}

impl Setup {
    /// Chooses the identity provider; `local` if nothing is said.
    #[must_use]
    pub fn with_provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Chooses the store; memory if nothing is said.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Adds an MCP service: a name such as `mcp-fetch` and the command of its stdio server.
    #[must_use]
    pub fn with_service<Word: Into<String>>(
        mut self,
        name: &str,
        command: impl IntoIterator<Item = Word>,
    ) -> Self {
        let command = command.into_iter().map(Into::into).collect();
        self.services.push((name.to_owned(), command));
        self
    }

    /// Adds `mcp-fetch` with the real fetch server, which may fetch from this machine.
    #[must_use]
    pub fn with_fetch(self) -> Self {
        let program = crate::binaries::tool("mcp-server-fetch");
        let program = program.display().to_string();
        self.with_service("mcp-fetch", [program, "--allow-private-ips".to_owned()])
    }

    /// Adds `mcp-echo` with our diagnostic server.
    #[must_use]
    pub fn with_echo(self) -> Self {
        let program = crate::binaries::mcp_echo().display().to_string();
        self.with_service("mcp-echo", [program])
    }

    /// Sets a variable of the authorization server.
    #[must_use]
    pub fn with_auth_setting(mut self, variable: &str, value: &str) -> Self {
        self.auth_settings
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of every `mcp-proxy`.
    #[must_use]
    pub fn with_proxy_setting(mut self, variable: &str, value: &str) -> Self {
        self.proxy_settings
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of Traefik's start.
    #[must_use]
    pub fn with_traefik_setting(mut self, variable: &str, value: &str) -> Self {
        self.traefik_settings
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Sets `LOG_LEVEL` of our processes.
    #[must_use]
    pub fn with_log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Starts this many more instances of the authorization server, on the same store.
    #[must_use]
    pub fn with_more_instances(mut self, count: usize) -> Self {
        self.more_instances = count;
        self
    }

    /// Starts this many more replicas of every MCP service.
    #[must_use]
    pub fn with_more_replicas(mut self, count: usize) -> Self {
        self.more_replicas = count;
        self
    }

    async fn launch(self) -> Result<Gateway> {
        let logs = Logs::default();
        let directory = tempfile::tempdir().context("a directory for the gateway")?;
        // The issuer names Traefik's port, so it is chosen before Traefik starts; auth comes back at its own after a kill.
        let public_port = network::free_port()?;
        let github = match &self.provider {
            Provider::Local => None,
            Provider::GitHub { .. } => Some(GitHub::start(
                &format!("http://auth.localhost:{public_port}/callback").parse()?,
                [
                    User::new(583_231, "octocat"),
                    User::new(480_938, "hubot"),
                    User::new(9_919, "mona").in_team("acme", "robots"),
                ],
            )?),
        };
        let addresses = parts::Addresses {
            public_port,
            auth_port: network::free_port()?,
        };
        let (auth, auth_address) =
            parts::start_auth(&self, &logs, directory.path(), addresses, github.as_ref()).await?;
        let mut others = Vec::new();
        for _ in 0..self.more_instances {
            let addresses = parts::Addresses {
                public_port,
                auth_port: network::free_port()?,
            };
            others.push(
                parts::start_auth(&self, &logs, directory.path(), addresses, github.as_ref())
                    .await?,
            );
        }
        let mut proxies = Vec::new();
        for (service, command) in &self.services {
            let mut ports = Vec::new();
            for _ in 0..self.more_replicas {
                ports.push(network::free_port()?);
            }
            if !ports.is_empty() {
                ports.push(network::free_port()?);
            }
            for place in 0..=self.more_replicas {
                let directory = directory.path();
                let start =
                    parts::start_proxy(&self, &logs, directory, service, command, &ports, place);
                proxies.push(start.await?);
            }
        }
        let services = proxies
            .chunk_by(|one, next| one.service == next.service)
            .filter_map(|replicas| {
                let addresses = replicas.iter().map(|proxy| proxy.address).collect();
                Some((replicas.first()?.service.clone(), addresses))
            })
            .collect();
        let traefik = Traefik::start(
            traefik::Settings {
                port: public_port,
                auth: std::iter::once(auth_address)
                    .chain(others.iter().map(|(_, address)| *address))
                    .collect(),
                services,
                variables: &self.traefik_settings,
            },
            directory.path(),
            &logs,
        )
        .await?;
        let mut gateway = Gateway {
            logs,
            github,
            setup: self,
            public_port,
            auth_address,
            auth: Some(auth),
            others,
            proxies,
            traefik,
            directory,
        };
        parts::wait_for_auth(public_port).await?;
        for proxy in &mut gateway.proxies {
            parts::wait_for_proxy(proxy).await?;
        }
        Ok(gateway)
    }
}

impl IntoFuture for Setup {
    type Output = Result<Gateway>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.launch())
    }
}
