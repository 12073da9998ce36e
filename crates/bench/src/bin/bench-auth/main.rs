//! `just bench-auth`: see the README of this crate.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is measured is printed, progress beside it"
)]

mod compare;
mod life;
mod revocation;
mod speed;

use anyhow::Result;
use bench::auth::tokens;
use bench::auth::{Auth, Front, Plain, SERVICE, Settings, Store};
use bench::wrk::Shape;
use clap::Parser;
use tempfile::TempDir;
use testkit::mcp_client::Registered;
use testkit::redis::RedisServer;

/// Measures mcp-auth, interleaved with a handler that checks nothing.
#[derive(Debug, Parser)]
struct Cli {
    /// Seconds of load for each target and round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Rounds; the middle one counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Clients in the large store; ten sessions each.
    #[arg(long, default_value_t = bench::auth::fill::CLIENTS)]
    clients: usize,
    /// The stores that are filled.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Filled::Redb, Filled::Redis])]
    filled: Vec<Filled>,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Nothing but load on this store's /verify, for a profiler: memory, redb or redis.
    #[arg(long)]
    only: Option<String>,
}

/// A store that many records fit into.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Filled {
    Redb,
    Redis,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Part {
    /// Good tokens, directly and through Traefik.
    Good,
    /// Tokens that count for nothing.
    Forged,
    /// A store with many clients and sessions.
    Stored,
    /// Memory.
    Memory,
    /// From the start until ready.
    Start,
    /// Until another instance knows of a revocation.
    Revocation,
    /// A store that hangs.
    Overload,
}

/// What all parts share.
#[derive(Debug)]
struct Bench {
    shape: Shape,
    rounds: usize,
    /// The service behind each Traefik.
    backend: Plain,
    redis: RedisServer,
    files: TempDir,
}

impl Bench {
    fn stores(&self) -> Result<[(&'static str, Store); 3]> {
        Ok([
            ("memory", Store::Memory),
            ("redb", self.redb()?),
            ("redis", Store::Redis(self.redis.url())),
        ])
    }

    /// A file that is not there yet; it goes at the end of the run.
    fn redb(&self) -> Result<Store> {
        let file = tempfile::Builder::new().tempfile_in(&self.files)?;
        Ok(Store::Redb(file.into_temp_path().to_path_buf()))
    }
}

/// `mcp-auth` on a store, with the real Traefik in front.
#[derive(Debug)]
struct Site {
    name: String,
    auth: Auth,
    front: Front,
    client: Registered,
}

impl Site {
    async fn start(name: &str, store: &Store, bench: &Bench) -> Result<Self> {
        eprintln!("starting mcp-auth on {name}");
        Self::around(name, Auth::start(Settings::new(store)?).await?, bench).await
    }

    async fn around(name: &str, auth: Auth, bench: &Bench) -> Result<Self> {
        let front = auth.behind_traefik(bench.backend.address).await?;
        let client = tokens::register(auth.settings.public_port, SERVICE).await?;
        Ok(Self {
            name: name.to_owned(),
            auth,
            front,
            client,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let bench = Bench {
        shape: Shape {
            connections: cli.connections,
            seconds: cli.seconds,
        },
        rounds: cli.rounds,
        backend: Plain::start().await?,
        // Synced each second, as in docker-compose.yml.
        redis: RedisServer::start_with(&["appendfsync everysec"]).await?,
        files: tempfile::tempdir()?,
    };
    if let Some(only) = &cli.only {
        return speed::profile(&bench, only).await;
    }
    let wanted = |part| cli.parts.is_empty() || cli.parts.contains(&part);
    println!(
        "load average {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    if wanted(Part::Start) {
        life::start(&bench).await?;
    }
    if wanted(Part::Good) || wanted(Part::Forged) {
        let mut sites = Vec::new();
        for (name, store) in bench.stores()? {
            sites.push(Site::start(name, &store, &bench).await?);
        }
        if wanted(Part::Good) {
            speed::good(&bench, &sites).await?;
        }
        if wanted(Part::Forged) {
            speed::forged(&bench, &sites).await?;
        }
    }
    if wanted(Part::Memory) {
        life::memory(&bench).await?;
    }
    if wanted(Part::Revocation) {
        revocation::revocation(&bench).await?;
    }
    if wanted(Part::Overload) {
        revocation::overload().await?;
    }
    if wanted(Part::Stored) {
        speed::stored(&bench, &cli.filled, cli.clients).await?;
    }
    println!(
        "\nload average {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    Ok(())
}
