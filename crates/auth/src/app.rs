//! The service: built from its configuration, then run until it is told to stop.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as ActixApp, HttpServer};
use anyhow::Context as _;
use chassis::health::Readiness;
use chassis::listen;
use chassis::metrics::Metrics;
use chassis::peer::TrustedProxies;
use chassis::private::{self, Private};
use chassis::shutdown::{self, Shutdown, Stopping};
use chassis::telemetry::Traced;
use oauth::{Clock, Entropy, ScopeSet, SystemClock, SystemEntropy};
use store::{Backend, EmbeddedBackend, MemoryBackend, RedisBackend, RedisOptions, Store};
use tokio::sync::Semaphore;

use crate::admin::token::AdminTokens;
use crate::client_document::{ClientDocuments, Internet, Network};
use crate::clock_check::ClockCheck;
use crate::counted::Counted;
use crate::disk::Disk;
use crate::flow::decisions::Decisions;
use crate::gauges;
use crate::http::challenge::Challenges;
use crate::idp::IdentityProvider;
use crate::idp::directory::Directory;
use crate::keys::{Keys, Surroundings};
use crate::limits::Limits;
use crate::measured::Measured;
use crate::policy::{CurrentSites, Policy, Watch};
use crate::settings::{PeopleSettings, Registration, Settings, StoreSettings, TokenSettings};
use crate::sweep;

/// How long a stop may take: requests in flight are finished, then the rest is cut.
const STOP_LIMIT: Duration = Duration::from_secs(25);
/// How long after the start the library that signs is made ready.
const SEED_AFTER: Duration = Duration::from_millis(500);

/// What every request may use. Shared by all workers.
pub(crate) struct AppState {
    /// The issuer identifier, made once.
    pub(crate) issuer: String,
    /// What is remembered across restarts.
    pub(crate) store: Store,
    /// Signing keys and the key of refresh tokens.
    pub(crate) keys: Arc<Keys>,
    /// Access tokens that were found good.
    pub(crate) decisions: Decisions,
    /// What others are answered.
    pub(crate) challenges: Challenges,
    /// Who knows the people.
    pub(crate) provider: IdentityProvider,
    /// Which services there are, who may use which, and what else the operator rules.
    pub(crate) policy: Policy,
    /// How long what is known of people counts.
    pub(crate) people: PeopleSettings,
    /// Who still is a member, if GitHub may be asked.
    pub(crate) directory: Option<Directory>,
    /// Lifetimes and bounds.
    pub(crate) tokens: TokenSettings,
    /// Who may register a client.
    pub(crate) registration: Registration,
    /// Clients that are known by a metadata document.
    pub(crate) documents: ClientDocuments,
    /// What is counted.
    pub(crate) counted: Counted,
    /// How often what may be asked.
    pub(crate) limits: Limits,
    /// Places for answers of `/verify` that wait for the store.
    pub(crate) verifying: Semaphore,
    /// Wall-clock time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Chance.
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl AppState {
    /// The scopes that clients may have, as the rules stand now.
    pub(crate) fn offered_scopes(&self) -> ScopeSet {
        self.policy.rules().offered_scopes()
    }

    /// The hosts and their URLs, as they stand now. Whoever needs the rules too takes them from there (`Rules::sites`), so that
    /// both are of one moment.
    pub(crate) fn sites(&self) -> CurrentSites {
        CurrentSites(self.policy.rules())
    }
}

/// The service, listening but not yet answering.
pub(crate) struct App {
    state: Data<AppState>,
    private: Private,
    trusted_proxies: TrustedProxies,
    admin_tokens: Data<AdminTokens>,
    public_listener: TcpListener,
    private_listener: TcpListener,
    address_file: Option<std::path::PathBuf>,
    drain: Duration,
    /// Reads the rules again when they change.
    watch: Option<Watch>,
    /// Whoever follows the requests, if traces are exported.
    traced: Option<Traced>,
}

impl App {
    /// Opens the store, the keys and the listeners. Fails with one line that says what to do.
    pub(crate) async fn build(settings: Settings) -> anyhow::Result<Self> {
        Self::build_on(settings, Arc::new(Internet), Arc::new(SystemClock)).await
    }

    /// The same on another network, for the documents of clients, and with another clock.
    pub(crate) async fn build_on(
        settings: Settings,
        network: Arc<dyn Network>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let disk = Disk::of_store(&settings.store, settings.free_space);
        let is_shared = matches!(settings.store, StoreSettings::Redis { .. });
        let metrics = Metrics::new("mcp_auth");
        let counted = Counted::new(&metrics);
        let store = Store::new(Arc::new(Measured::new(
            open_store(settings.store).await?,
            counted.clone(),
        )));
        let readiness = Readiness::new();
        let feed = store.backend().events();
        let key_feed = store.backend().events();
        let connected = feed.connected();
        let decisions = Decisions::new(feed.is_connected());
        tokio::spawn(decisions.clone().follow(feed));
        let surroundings = Surroundings {
            store: store.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            decisions: decisions.clone(),
            latch: readiness.latch("keys"),
        };
        let admin_tokens = AdminTokens::new(&settings.keys.secret, settings.keys.previous.as_ref());
        let keys = Arc::new(Keys::load(&settings.keys, surroundings).await?);
        tokio::spawn(Arc::clone(&keys).follow(key_feed));
        let clock_check = ClockCheck::begin(
            store.clone(),
            Arc::clone(&clock),
            readiness.latch("clock"),
            counted.clone(),
        )
        .await;
        tokio::spawn(clock_check.follow());
        tokio::spawn(gauges::show(
            Arc::clone(&keys),
            decisions.clone(),
            connected,
            Arc::clone(&clock),
            counted.clone(),
            disk.clone(),
        ));
        add_checks(&readiness, &store, disk);
        let documents = ClientDocuments::new(settings.documents, network, Arc::clone(&clock))
            .context("the certificates that the system trusts cannot be read")?;
        let state = AppState {
            verifying: Semaphore::new(settings.limits.verify_in_flight),
            limits: Limits::new(
                &settings.limits,
                is_shared.then(|| store.clone()),
                counted.clone(),
            ),
            counted,
            documents,
            registration: settings.registration,
            issuer: settings.sites.issuer(),
            provider: IdentityProvider::new(
                settings.provider,
                &settings.sites,
                Arc::clone(&clock),
            )?,
            store,
            keys,
            decisions,
            challenges: Challenges::default(),
            policy: Policy::new(settings.rules),
            people: settings.people,
            directory: settings
                .directory
                .map(|(api_url, token)| Directory::new(api_url, token))
                .transpose()?,
            tokens: settings.tokens,
            clock,
            entropy,
        };
        Ok(Self {
            state: Data::new(state),
            trusted_proxies: settings.trusted_proxies,
            admin_tokens: Data::new(admin_tokens),
            private: Private { readiness, metrics },
            public_listener: listen::bind("public listener (HOST, PORT)", settings.public)?,
            private_listener: listen::bind(
                "private listener (PRIVATE_HOST, PRIVATE_PORT)",
                settings.private,
            )?,
            address_file: settings.address_file,
            drain: settings.drain,
            watch: None,
            traced: None,
        })
    }

    /// With rules that are read again when they change.
    pub(crate) fn following(mut self, watch: Watch) -> Self {
        self.watch = Some(watch);
        self
    }

    /// With traces of the requests.
    pub(crate) fn traced(mut self, traced: Option<Traced>) -> Self {
        self.traced = traced;
        self
    }

    /// Where the public listener is.
    pub(crate) fn public_address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.public_listener.local_addr()
    }

    /// Where the private listener is.
    pub(crate) fn private_address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.private_listener.local_addr()
    }

    /// The keys of the service.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.state.keys)
    }

    /// Answers until the first signal, then finishes what is in flight.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        shutdown.listen_for_signals(STOP_LIMIT)?;
        let readiness = self.private.readiness.clone();
        let addresses = [
            ("public", self.public_listener.local_addr()?),
            ("private", self.private_listener.local_addr()?),
        ];
        let (state, trusted_proxies) = (self.state.clone(), self.trusted_proxies.clone());
        let traced = self.traced;
        let stopping = Stopping(shutdown.soft().clone());
        let public = HttpServer::new(move || {
            ActixApp::new()
                .app_data(state.clone())
                .app_data(trusted_proxies.clone())
                .app_data(stopping.clone())
                .configure(|config| {
                    if let Some(traced) = &traced {
                        config.app_data(traced.clone());
                    }
                })
                .wrap(from_fn(shutdown::give_connections_back))
                .app_data(chassis::telemetry::QuietPaths(&["/verify"]))
                .wrap(from_fn(crate::http::public_service::hide))
                .wrap(from_fn(crate::http::head::bounded))
                .wrap(from_fn(chassis::telemetry::name_answer))
                .wrap(chassis::telemetry::request_logger())
                .configure(crate::routes::public)
        })
        .workers(std::thread::available_parallelism().map_or(2, usize::from))
        .disable_signals()
        .client_request_timeout(Duration::from_secs(5))
        .shutdown_timeout(STOP_LIMIT.as_secs())
        .listen(self.public_listener)?
        .run();
        let (admin_state, admin_tokens) = (self.state.clone(), self.admin_tokens);
        let admin_proxies = self.trusted_proxies;
        let private = private::serve(self.private_listener, self.private, move |config| {
            config
                .app_data(admin_state.clone())
                .app_data(admin_tokens.clone())
                .app_data(admin_proxies.clone())
                .configure(crate::routes::private);
        })?;
        let (public_handle, private_handle) = (public.handle(), private.handle());
        shutdown.tasks().spawn(sweep::follow(
            self.state.store.clone(),
            Arc::clone(&self.state.clock),
            self.state.counted.clone(),
            shutdown.clone(),
        ));
        if let Some(watch) = self.watch {
            let (state, shutdown) = (self.state.clone(), shutdown.clone());
            let follow = watch.follow(state, shutdown.clone());
            shutdown.tasks().spawn(async move {
                if let Err(error) = follow.await {
                    tracing::error!(error = %format!("{error:#}"), "changes of the configuration are not followed");
                }
            });
        }
        if let Some(file) = &self.address_file {
            listen::announce(file, &addresses)
                .with_context(|| format!("ADDRESS_FILE {} could not be written", file.display()))?;
        }
        tracing::info!(address = %addresses[0].1, private = %addresses[1].1, issuer = %self.state.issuer,
            services = self.state.sites().services().count(), "mcp-auth is listening");
        tokio::spawn(get_ready_to_sign());
        let private = tokio::spawn(private);
        let public = tokio::spawn(public);
        shutdown.soft().cancelled().await;
        readiness.stop();
        if !self.drain.is_zero() {
            // Whoever balances between instances has to see it first; meanwhile a request that still comes here is answered.
            tracing::info!(
                drain_s = self.drain.as_secs(),
                "stopping: giving connections back"
            );
            tokio::select! {
                () = tokio::time::sleep(self.drain) => {}
                () = shutdown.hard().cancelled() => {}
            }
        }
        tracing::info!("stopping: finishing requests in flight");
        tokio::select! {
            () = public_handle.stop(true) => {}
            () = shutdown.hard().cancelled() => public_handle.stop(false).await,
        }
        private_handle.stop(false).await;
        shutdown.finish().await;
        public.await??;
        private.await??;
        Ok(())
    }
}

/// Saves the first who gets a token the wait, and not at the cost of those who wait for readiness: it keeps a processor busy.
async fn get_ready_to_sign() {
    tokio::time::sleep(SEED_AFTER).await;
    if let Err(error) = tokio::task::spawn_blocking(crate::keys::seed_generator).await {
        tracing::debug!(%error, "the first token will take longer");
    }
}

/// What readiness asks each time.
fn add_checks(readiness: &Readiness, store: &Store, disk: Option<Disk>) {
    let store = store.clone();
    readiness.check("store", move || {
        let store = store.clone();
        async move {
            store
                .backend()
                .ping()
                .await
                .map_err(|error| error.to_string())
        }
    });
    if let Some(disk) = disk {
        readiness.watch("disk", move || std::future::ready(disk.complaint()));
    }
}

pub(crate) async fn open_store(settings: StoreSettings) -> anyhow::Result<Arc<dyn Backend>> {
    Ok(match settings {
        StoreSettings::Memory => Arc::new(MemoryBackend::new()),
        StoreSettings::Embedded(path) => Arc::new(EmbeddedBackend::open(&path).await?),
        StoreSettings::Redis {
            url,
            password,
            sentinel_password,
            prefix,
        } => {
            let options = RedisOptions {
                url,
                password: password.map(|password| password.expose().to_owned()),
                sentinel_password: sentinel_password.map(|password| password.expose().to_owned()),
                prefix,
            };
            Arc::new(RedisBackend::open(options).await?)
        }
    })
}
