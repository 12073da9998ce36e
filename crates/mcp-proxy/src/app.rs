//! The whole service: from settings to listening to the end.

mod parts;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Condition, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use chassis::config::{Environment, Loaded, Reference, find_file, load};
use chassis::health::Readiness;
use chassis::metrics::Metrics;
use chassis::private::{self, Private};
use chassis::shutdown::{Shutdown, Stopping, give_connections_back};
use chassis::{health, listen, telemetry};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::about::{self, About};
use crate::child::{POLITE, Spawner, TERMINATING};
use crate::children::Children;
use crate::cli::{Action, Cli, Serve};
use crate::config::{self, Config, FILE_KEYS, SECTION, SETTINGS, validate};
use crate::http::body::Room;
use crate::http::error::Refusal;
use crate::http::gate::{self, Gate};
use crate::http::named;
use crate::http::origin::Allowed;
use crate::metrics::Counted;
use crate::modern::era::{Verdict, probe};
use crate::modern::pool::Pool;
use crate::modern::translation::leases::Leases;
use crate::replicas::Replicas;
use crate::routes;
use crate::sessions::Sessions;
use crate::tools::reload::{InForce, Reload};

use parts::{bounds, command, gate, leases, pool, replicas, sessions};

/// How often idle sessions and overdue calls are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Milliseconds after which a connection whose other side takes nothing is given up.
const UNREAD: u32 = 30_000;
/// How long the last answers may take to reach their clients.
const FLUSHING: Duration = Duration::from_secs(2);
/// How often it is looked whether what should end has ended.
const POLL: Duration = Duration::from_millis(10);
/// How long killed children may take to be reaped.
const KILLING: Duration = Duration::from_millis(500);
/// What the end needs besides the times of requests and children.
const ENDING: Duration = Duration::from_secs(3);

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The names this service is called by.
    pub allowed: Allowed,
    /// Who may say who calls, where not everybody may.
    pub gate: Option<Gate>,
    /// Room for large messages.
    pub room: Room,
    /// The sessions of the older revisions.
    pub sessions: Arc<Sessions>,
    /// The shared children of 2026-07-28.
    pub pool: Arc<Pool>,
    /// Who may call which tool.
    pub tools: InForce,
    /// The older children that serve 2026-07-28.
    pub leases: Arc<Leases>,
    /// Its processes.
    pub children: Children,
    /// What the MCP server says of itself.
    pub about: About,
    /// What the MCP server speaks.
    pub verdict: Verdict,
    /// What is counted.
    pub counted: Counted,
    /// The other replicas, where there are some.
    pub replicas: Option<Arc<Replicas>>,
    /// May work be sent here?
    pub readiness: Readiness,
    /// Cancelled when no new request is taken any more.
    pub stopping: CancellationToken,
}

impl State {
    fn sweep(&self, now: Instant) {
        self.sessions.sweep(now);
        self.pool.sweep(now);
        self.leases.sweep(now);
    }

    fn drain(&self) {
        self.sessions.drain();
        self.pool.drain();
        self.leases.drain();
    }

    fn in_flight(&self) -> usize {
        let of_others = self.replicas.as_ref();
        self.sessions.in_flight()
            + self.pool.in_flight()
            + self.leases.in_flight()
            + of_others.map_or(0, |replicas| replicas.in_flight())
    }

    /// The answer to a request in a session of this process, which is ending. Where there are replicas its client had
    /// better open another one, which the balancer sends to one of them.
    #[must_use]
    pub fn ending(&self) -> Refusal {
        match self.replicas {
            Some(_) => Refusal::SessionUnknown,
            None => Refusal::Stopping,
        }
    }

    fn close_all(&self) {
        self.sessions.close_all();
        self.pool.close_all();
        self.leases.close_all();
    }
}

/// Does what the command line asks for.
pub fn main(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads().div_ceil(2))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let environment = Environment::from_process();
    match cli.action {
        Some(Action::Config {
            reference: true, ..
        }) => {
            print(&serde_json::to_string_pretty(&reference())?);
            Ok(())
        }
        Some(Action::Config { config, .. }) => {
            let loaded = settings(
                &environment,
                &Serve {
                    config,
                    ..Serve::default()
                },
            )?;
            print(&loaded.table());
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
            telemetry::init(&loaded.config.log, None)?;
            runtime.block_on(run(loaded, environment, cli.serve))
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
fn print(text: &str) {
    println!("{}", text.trim_end());
}

/// Every setting in words.
#[must_use]
pub fn reference() -> Reference {
    Reference::new::<Config>("mcp-proxy", SECTION, SETTINGS, FILE_KEYS)
}

fn settings(environment: &Environment, flags: &Serve) -> anyhow::Result<Loaded<Config>> {
    let file = find_file(environment, flags.config.as_deref())?;
    let mut loaded: Loaded<Config> = load(environment, file.as_deref(), SECTION, SETTINGS)?;
    let config = &mut loaded.config;
    if let Some(host) = flags.host {
        config.host = host.to_string();
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

async fn run(loaded: Loaded<Config>, environment: Environment, flags: Serve) -> anyhow::Result<()> {
    let file = find_file(&environment, flags.config.as_deref())?;
    let reload = Reload::new(file)?;
    let rules = InForce::new(config::rules(&loaded)?);
    let config = loaded.config;
    let command = command(&config, &environment)?;
    command.render(None).check()?;
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
    let drain = config.limits.shutdown_drain.duration();
    // The children are given their own time after the requests in flight.
    shutdown.listen_for_signals(drain + grace + POLITE + TERMINATING + ENDING)?;

    let shown = Private {
        readiness: Readiness::new(),
        metrics: Metrics::new("mcp-proxy"),
    };
    let counted = Counted::new(&shown.metrics);
    let children = Children::new(Spawner::new()?, command, bounds(&config), counted.clone());
    let about = About::default();
    let verdict = probe(
        children.clone(),
        shown.readiness.latch("mcp-server"),
        about.clone(),
        config.limits.initialize.duration(),
        shutdown.soft().clone(),
    );
    let replicas = replicas(&config, &children, &shown.metrics, shutdown.soft())?;
    let replica = replicas.as_ref().map(|replicas| replicas.tag());
    let stopping = CancellationToken::new();
    let state = State {
        allowed: Allowed::new(&config.allowed_hosts, &config.allowed_origins),
        gate: gate(&config, &children)?,
        room: Room::new(config.limits.message_bytes),
        sessions: sessions(&children, &config, replica, &counted, &rules),
        pool: pool(&children, &config, &counted, &rules),
        children: children.clone(),
        about,
        tools: rules.clone(),
        leases: leases(&children, &config, replica, &counted)?,
        verdict,
        counted,
        replicas,
        readiness: shown.readiness.clone(),
        stopping: stopping.clone(),
        config,
    };
    let state = Data::new(state);

    let server = serve(public, state.clone(), Stopping(shutdown.soft().clone()))?;
    let (shown_by, readiness) = (state.clone(), shown.readiness.clone());
    let private = private::serve(private, shown.clone(), move |routes| {
        about::routes(routes, shown_by.clone(), readiness.clone());
    })?;
    let (public_handle, private_handle) = (server.handle(), private.handle());
    let (server, private) = (tokio::spawn(server), tokio::spawn(private));
    let [(_, public_address), (_, private_address)] = addresses;
    if let Some(file) = &state.config.address_file {
        listen::announce(file, &addresses)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let program = state.config.command.first().map(String::as_str);
    info!(public = %public_address, private = %private_address, program, "listening");

    let told = state.clone();
    tokio::spawn(reload.run(
        rules,
        move || {
            let loaded = settings(&environment, &flags)?;
            Ok(config::rules(&loaded)?)
        },
        move || {
            told.sessions.tools_changed();
            told.pool.tools_changed();
            told.leases.tools_changed();
        },
        shutdown.soft().clone(),
    ));
    sweep(&state, shutdown.soft()).await;

    shown.readiness.stop();
    if !drain.is_zero() {
        give_back(&state, &shutdown, drain).await;
    }
    stopping.cancel();
    finish(&state, &shutdown, &public_handle).await;
    private_handle.stop(false).await;
    server.abort();
    private.abort();
    info!("stopped");
    Ok(())
}

/// Answers for a while what still comes: whoever balances between replicas has to see first that this one stops.
async fn give_back(state: &State, shutdown: &Shutdown, drain: Duration) {
    info!(
        drain_s = drain.as_secs(),
        "stopping: giving connections back"
    );
    tokio::select! {
        () = sweep(state, shutdown.hard()) => {}
        () = tokio::time::sleep(drain) => {}
    }
}

/// Lets requests in flight come to their end, then ends every child.
async fn finish(state: &State, shutdown: &Shutdown, public: &ServerHandle) {
    let children = &state.children;
    children.close_spare();
    state.drain();
    let calls = async {
        while state.in_flight() > 0 {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = calls => {}
        () = tokio::time::sleep(state.config.limits.shutdown_grace.duration()) => {}
        () = shutdown.hard().cancelled() => {}
    }
    if let Some(replicas) = &state.replicas {
        tokio::select! {
            () = replicas.leave() => {}
            () = shutdown.hard().cancelled() => {}
        }
    }
    state.close_all();
    public.stop(true).await;
    let gone = async {
        while children.count() > 0 {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = shutdown.hard().cancelled() => {
            children.kill();
            tokio::time::sleep(KILLING).await;
        }
    }
}

/// Ends what is idle or overdue until the service is about to stop.
async fn sweep(state: &State, stop: &CancellationToken) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => {
                let now = Instant::now();
                state.sweep(now);
            }
            () = stop.cancelled() => return,
        }
    }
}

fn serve(listener: TcpListener, state: Data<State>, stopping: Stopping) -> std::io::Result<Server> {
    let drains = !state.config.limits.shutdown_drain.duration().is_zero();
    let guarded = state.gate.is_some();
    let app = move || {
        App::new()
            .app_data(state.clone())
            .app_data(stopping.clone())
            .wrap(Condition::new(drains, from_fn(give_connections_back)))
            .wrap(from_fn(named::name))
            // The last one is the first that a request meets.
            .wrap(Condition::new(guarded, from_fn(gate::guard)))
            .configure(routes::public)
    };
    let server = HttpServer::new(app)
        // The other half is for the children: a call needs both.
        .workers(threads().div_ceil(2))
        .disable_signals()
        .on_connect(|connection, _| {
            if let Some(stream) = connection.downcast_ref::<TcpStream>()
                && let Err(error) = set_tcp_user_timeout(stream, UNREAD)
            {
                debug!(%error, "cannot bound the life of a connection nobody reads");
            }
        })
        // A modern client cancels by closing its connection, so that has to be noticed.
        .h1_allow_half_closed(false)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(FLUSHING.as_secs())
        .listen(listener)?;
    Ok(server.run())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
