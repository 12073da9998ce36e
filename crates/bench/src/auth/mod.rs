//! What `bench-auth` measures: `mcp-auth` on each store, a handler that checks nothing, and both behind Traefik.

pub mod fill;
pub mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;
use testkit::binaries::built;
use testkit::gateway::{JWT_SECRET, USERNAME};
use testkit::network::free_port;
use testkit::process::{self, Command, Logs, Process};
use testkit::redis::RedisServer;
use testkit::traefik::{self, Traefik};

use crate::wrk::Load;

/// The service that is asked for.
pub const SERVICE: &str = "mcp-bench";
/// A service whose tokens live for ten seconds.
pub const BRIEF: &str = "mcp-brief";

/// Rules and lifetimes are looked at, as in an installation that has some.
const GATEWAY_TOML: &str = r#"
[services.mcp-bench]
users = ["ada"]
[services.mcp-brief]
access_token_lifetime = 10
"#;

/// Limits that would refuse the sign-ins of a benchmark. `/verify` has no other than the one on requests in flight.
const UNLIMITED: [&str; 8] = [
    "LIMIT_REGISTER",
    "LIMIT_AUTHORIZE",
    "LIMIT_SIGN_IN",
    "LIMIT_PASSWORDS",
    "LIMIT_PASSWORDS_OF_NAME",
    "LIMIT_TOKEN",
    "LIMIT_TOKEN_FAILURES",
    "LIMIT_ADDRESS",
];

/// Where `mcp-auth` keeps what it knows.
#[derive(Clone, Debug)]
pub enum Store {
    /// Nowhere.
    Memory,
    /// In a file.
    Redb(PathBuf),
    /// In a Redis with the password of the tests.
    Redis(String),
}

/// Everything about the start of `mcp-auth`, so that it can be started again in the same way.
#[derive(Debug)]
pub struct Settings {
    /// Its store.
    pub store: Store,
    /// The port in public URLs: Traefik's.
    pub public_port: u16,
    /// The private listener.
    pub private_port: u16,
    /// Answers of `/verify` that may wait for the store at once, if not as many as usual.
    pub verify_in_flight: Option<usize>,
    directory: TempDir,
    password_hash: String,
}

impl Settings {
    /// Settings with ports and a directory of their own. A redb store is made in that directory.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub fn new(store: &Store) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("gateway.toml"), GATEWAY_TOML)?;
        Ok(Self {
            store: store.clone(),
            public_port: free_port()?,
            private_port: free_port()?,
            verify_in_flight: None,
            directory,
            password_hash: tokens::password_hash()?,
        })
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    ///
    /// If it cannot be executed.
    pub fn spawn(&self) -> Result<(Process, PathBuf)> {
        let file = self.directory.path().join("addresses");
        let _ = std::fs::remove_file(&file);
        let mut command = Command::new("auth", built("mcp-auth"))
            .current_dir(self.directory.path())
            .keep_stdout()
            .env("ADDRESS_FILE", &file)
            .env("PORT", "0")
            .env("PRIVATE_PORT", self.private_port.to_string())
            .env("DOMAIN", "localhost")
            .env("PUBLIC_SCHEME", "http")
            .env("PUBLIC_PORT", self.public_port.to_string())
            .env("MCP_SERVICES", format!("{SERVICE},{BRIEF}"))
            .env("GATEWAY_JWT_SECRET", JWT_SECRET)
            .env("IDENTITY_PROVIDER", "local")
            .env("LOCAL_USERS", format!("{USERNAME}:{}", self.password_hash))
            .env("SHUTDOWN_DRAIN", "0")
            // More than a large store has.
            .env("MAX_CLIENTS", "1000000");
        for limit in UNLIMITED {
            command = command.env(limit, "0");
        }
        if let Some(limit) = self.verify_in_flight {
            command = command.env("LIMIT_VERIFY_IN_FLIGHT", limit.to_string());
        }
        command = match &self.store {
            Store::Memory => command.env("STORE", "memory"),
            Store::Redb(path) => command.env("STORE", "redb").env("STORE_PATH", path),
            Store::Redis(url) => command
                .env("STORE", "redis")
                .env("REDIS_URL", url)
                .env("REDIS_PASSWORD", RedisServer::PASSWORD),
        };
        let mut process = command.start(&Logs::default())?;
        // Its log is written as in production, and read by somebody who does nothing with it.
        if let Some(mut stdout) = process.take_stdout() {
            std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        }
        Ok((process, file))
    }
}

/// A running `mcp-auth`.
#[derive(Debug)]
pub struct Auth {
    /// How it was started.
    pub settings: Settings,
    /// Its process.
    pub process: Process,
    /// The public listener.
    pub address: SocketAddr,
}

impl Auth {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn start(settings: Settings) -> Result<Self> {
        let (mut process, file) = settings.spawn()?;
        let address = process::address(&mut process, &file, "public").await?;
        Ok(Self {
            settings,
            process,
            address,
        })
    }

    /// The real Traefik in front of it, at the port that is in its URLs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn behind_traefik(&self, backend: SocketAddr) -> Result<Front> {
        Front::start(self.settings.public_port, self.address, backend).await
    }

    /// The question that Traefik asks, asked directly.
    #[must_use]
    pub fn load(&self, tokens: &[String]) -> Load {
        verification(self.address, SERVICE, self.settings.public_port, tokens)
    }
}

/// A handler of actix-web that checks nothing; as the authorization server and as the service behind Traefik.
#[derive(Debug)]
pub struct Plain {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    _directory: TempDir,
}

impl Plain {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("addresses");
        let command = Command::new("plain", built("bench-plain")).arg(&file);
        let mut process = command.start(&Logs::default())?;
        let address = process::address(&mut process, &file, "public").await?;
        Ok(Self {
            process,
            address,
            _directory: directory,
        })
    }

    /// The same question as to [`Auth::load`].
    #[must_use]
    pub fn load(&self, tokens: &[String]) -> Load {
        verification(self.address, SERVICE, 8080, tokens)
    }
}

/// A Traefik with the shipped configuration. Its access log is written, but nowhere.
#[derive(Debug)]
pub struct Front {
    /// Its process and address.
    pub traefik: Traefik,
    _directory: TempDir,
}

impl Front {
    /// Traefik that asks `auth` before it hands requests on to `backend`.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn start(port: u16, auth: SocketAddr, backend: SocketAddr) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = ("TRAEFIK_ACCESSLOG_FILEPATH", "/dev/null");
        let settings = traefik::Settings {
            port,
            auth: vec![auth],
            services: [SERVICE, BRIEF]
                .map(|service| (service.to_owned(), vec![backend]))
                .into(),
            variables: &[(log.0.to_owned(), log.1.to_owned())],
        };
        let traefik = Traefik::start(settings, directory.path(), &Logs::default()).await?;
        Ok(Self {
            traefik,
            _directory: directory,
        })
    }

    /// A request of a client.
    #[must_use]
    pub fn load(&self, tokens: &[String]) -> Load {
        let port = self.traefik.address.port();
        Load {
            url: format!("http://127.0.0.1:{port}/mcp"),
            headers: vec![format!("Host: {SERVICE}.localhost:{port}")],
            tokens: tokens.to_vec(),
        }
    }
}

/// What Traefik sends with forwardAuth, header for header.
#[must_use]
pub fn verification(address: SocketAddr, service: &str, port: u16, tokens: &[String]) -> Load {
    Load {
        url: format!("http://{address}/verify?resource={service}"),
        headers: vec![
            format!("X-Forwarded-Host: {service}.localhost:{port}"),
            "X-Forwarded-For: 127.0.0.1".to_owned(),
            "X-Forwarded-Method: POST".to_owned(),
            "X-Forwarded-Proto: http".to_owned(),
            "X-Forwarded-Uri: /mcp".to_owned(),
        ],
        tokens: tokens.to_vec(),
    }
}
