//! The whole service: from settings to listening to the end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use chassis::config::{Environment, Loaded, Section, find_file, load};
use chassis::health::Readiness;
use chassis::metrics::Metrics;
use chassis::private::{self, Private};
use chassis::shutdown::Shutdown;
use chassis::{health, listen, telemetry};
use tokio::time::Instant;
use tracing::info;

use crate::calls::Patience;
use crate::child::{Command, POLITE, Spawner, TERMINATING};
use crate::children::{Bounds, Children};
use crate::cli::{Action, Cli, Serve};
use crate::config::{Config, SETTINGS, child_environment, validate};
use crate::http::origin::Allowed;
use crate::routes;
use crate::session::Limits;
use crate::sessions::Sessions;

/// How often idle sessions and overdue calls are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long an answer waits for a client that has stopped reading before the service ends.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The names this service is called by.
    pub allowed: Allowed,
    /// The sessions of the older revisions.
    pub sessions: Arc<Sessions>,
}

/// Does what the command line asks for.
pub fn main(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let environment = Environment::from_process();
    match cli.action {
        Some(Action::Config { config }) => {
            let loaded = settings(
                &environment,
                &Serve {
                    config,
                    ..Serve::default()
                },
            )?;
            #[expect(clippy::print_stdout, reason = "it is what this subcommand is for")]
            {
                print!("{}", loaded.table());
            }
            Ok(())
        }
        Some(Action::Healthcheck { config }) => {
            let loaded = settings(
                &environment,
                &Serve {
                    config,
                    ..Serve::default()
                },
            )?;
            let address = address(&loaded.config.private_host, loaded.config.private_port)?;
            runtime.block_on(health::healthcheck(address))?;
            Ok(())
        }
        None => {
            let loaded = settings(&environment, &cli.serve)?;
            validate(&loaded)?;
            telemetry::init(&loaded.config.log)?;
            runtime.block_on(run(loaded.config, &environment))
        }
    }
}

fn settings(environment: &Environment, flags: &Serve) -> anyhow::Result<Loaded<Config>> {
    let file = find_file(environment, flags.config.as_deref())?;
    let mut loaded: Loaded<Config> = load(
        environment,
        file.as_deref(),
        Section::Table("proxy"),
        SETTINGS,
    )?;
    let config = &mut loaded.config;
    if let Some(host) = &flags.host {
        config.host.clone_from(host);
    }
    if let Some(port) = flags.port {
        config.port = port;
    }
    if let Some(file) = &flags.address_file {
        config.address_file = Some(file.clone());
    }
    if !flags.command.is_empty() {
        config.command.clone_from(&flags.command);
    }
    Ok(loaded)
}

fn address(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let host: IpAddr = host
        .parse()
        .with_context(|| format!("`{host}` is not an IP address"))?;
    Ok(SocketAddr::new(host, port))
}

async fn run(config: Config, environment: &Environment) -> anyhow::Result<()> {
    let command = command(&config, environment)?;
    command.check()?;
    let public = listen::bind("public", address(&config.host, config.port)?)?;
    let private = listen::bind(
        "private",
        address(&config.private_host, config.private_port)?,
    )?;
    let addresses = [
        ("public", public.local_addr()?),
        ("private", private.local_addr()?),
    ];
    let grace = config.limits.shutdown_grace.duration();

    let shutdown = Shutdown::new();
    // The children are given their own time after the requests in flight.
    shutdown.listen_for_signals(grace + POLITE + TERMINATING + Duration::from_secs(2))?;
    let readiness = Readiness::new();
    let latch = readiness.latch("mcp-server");
    latch.ready();
    let metrics = Metrics::new("mcp-proxy");

    let children = Children::new(
        Spawner::new()?,
        command,
        Bounds {
            total: config.limits.sessions,
            per_subject: config.limits.sessions_per_subject,
            backlog_bytes: config.limits.message_bytes,
        },
    );
    let limits = Limits {
        in_flight: config.limits.in_flight,
        patience: Patience {
            silent: config.limits.request.duration(),
            total: config.limits.request_total.duration(),
            cancelled: Duration::from_secs(5),
        },
        replay_bytes: config.limits.replay_bytes,
        reader_bytes: config.limits.replay_bytes.max(1024 * 1024),
        idle: config.limits.session_idle.duration(),
    };
    let sessions = Arc::new(Sessions::new(
        children.clone(),
        limits,
        config.limits.message_bytes,
    ));
    let state = Data::new(State {
        allowed: Allowed::new(&config.allowed_hosts, &config.allowed_origins),
        sessions: Arc::clone(&sessions),
        config: config.clone(),
    });

    let soft = shutdown.soft().clone();
    let server =
        HttpServer::new(move || App::new().app_data(state.clone()).configure(routes::public))
            .workers(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
            .disable_signals()
            .client_request_timeout(HEAD_TIMEOUT)
            .shutdown_timeout(grace.as_secs())
            .listen(public)?
            .run();
    let private = private::serve(
        private,
        Private {
            readiness: readiness.clone(),
            metrics,
        },
        |_| {},
    )?;
    let (public_handle, private_handle) = (server.handle(), private.handle());
    let (server, private) = (tokio::spawn(server), tokio::spawn(private));
    if let Some(file) = &config.address_file {
        listen::announce(file, &addresses)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    info!(public = %addresses[0].1, private = %addresses[1].1, program = config.command.first().map(String::as_str), "listening");

    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !soft.is_cancelled() {
        tokio::select! {
            _ = sweep.tick() => sessions.sweep(Instant::now()),
            () = soft.cancelled() => {}
        }
    }

    readiness.stop();
    sessions.drain();
    tokio::select! {
        () = public_handle.stop(true) => {}
        () = tokio::time::sleep(grace) => {}
        () = shutdown.hard().cancelled() => {}
    }
    sessions.close_all();
    while children.count() > 0 && !shutdown.hard().is_cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    private_handle.stop(false).await;
    server.abort();
    private.abort();
    info!("stopped");
    Ok(())
}

fn command(config: &Config, environment: &Environment) -> anyhow::Result<Command> {
    let (program, arguments) = config.command.split_first().context("no command")?;
    Ok(Command {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: child_environment(&config.env, environment)
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        guard: std::env::current_exe().context("cannot find this program's own file")?,
    })
}
