//! Reads the configuration again when its files change, or on SIGHUP, and puts the new rules in place of the old ones.
//!
//! Files are looked at five times a second instead of being watched: a file that is mounted into a container, or that is a link
//! into a directory which is exchanged as a whole, gives no reliable notice.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::Context as _;
use chassis::config::{self, ConfigError, Environment, Loaded};
use chassis::shutdown::Shutdown;
use oauth::{ServiceName, Sites};
use store::Event;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::AppState;
use crate::config::{Config, SECTION, SETTINGS};
use crate::idp::IdentityProvider;
use crate::settings::{ProviderSettings, Settings};

/// How often the files are looked at. A change counts when two looks in a row see the same, so that a file which is being
/// written is not read half.
const EVERY: Duration = Duration::from_millis(200);

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    environment: Environment,
    /// `--config`
    explicit: Option<PathBuf>,
}

/// What tells one state of a file from another; `None` while it is not there.
type Mark = Option<(u64, u64, i64, i64)>;

impl Source {
    pub(crate) const fn new(environment: Environment, explicit: Option<PathBuf>) -> Self {
        Self {
            environment,
            explicit,
        }
    }

    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Reads everything.
    pub(crate) fn load(&self) -> Result<Loaded<Config>, ConfigError> {
        let file = config::find_file(&self.environment, self.explicit.as_deref())?;
        config::load::<Config>(&self.environment, file.as_deref(), SECTION, SETTINGS)
    }

    /// The state of every file that the configuration is read from.
    fn marks(&self) -> Vec<Mark> {
        let file = config::find_file(&self.environment, self.explicit.as_deref());
        let files = SETTINGS
            .iter()
            .flat_map(|setting| setting.files(&self.environment))
            .map(PathBuf::from);
        std::iter::once(file.ok().flatten())
            .chain(files.map(Some))
            .map(|path| {
                let found = std::fs::metadata(path?).ok()?;
                Some((found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
            })
            .collect()
    }
}

/// Follows the source until the service stops.
pub(crate) struct Watch {
    source: Source,
    /// What the rules in force were read from.
    taken: Vec<Mark>,
}

impl Watch {
    /// To be made before the configuration is read for the first time: what changes after that is noticed.
    pub(crate) fn new(source: Source) -> Self {
        let taken = source.marks();
        Self { source, taken }
    }

    pub(crate) async fn follow(
        mut self,
        state: Data<AppState>,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        let mut hangups = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
        let mut seen = self.taken.clone();
        loop {
            let is_asked = tokio::select! {
                () = shutdown.soft().cancelled() => return Ok(()),
                _ = hangups.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let now = self.source.marks();
            let is_settled = now == seen;
            seen = now;
            if is_asked || (is_settled && seen != self.taken) {
                self.taken.clone_from(&seen);
                self.read_again(&state).await;
            }
        }
    }

    async fn read_again(&self, state: &AppState) {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || {
            let loaded = source.load()?;
            Settings::check(&loaded, source.environment())
        });
        match read.await {
            Ok(Ok(settings)) => take(state, settings),
            Ok(Err(error)) => {
                tracing::error!(%error, "the changed configuration is refused; the rules stay as they were");
            }
            Err(error) => tracing::error!(%error, "the configuration could not be read again"),
        }
    }
}

/// Puts the new rules in force, with the services that there are now. First the rules, then the memory: a decision that was begun
/// before is not remembered after. The public address stays what it is: it stands in keys, cookies and tokens of this process.
fn take(state: &AppState, settings: Settings) {
    let rules = settings.rules.at_address_of(&state.sites());
    tell_of_services(&state.sites(), rules.sites());
    if let (IdentityProvider::Local(local), ProviderSettings::Local(users)) =
        (&state.provider, settings.provider)
    {
        local.replace(users);
    }
    state.keys.allow_token_life(rules.longest_access_token());
    state.policy.replace(Arc::new(rules));
    state.decisions.learn(Event::Everything);
    tracing::info!(target: "audit", event = "rules_changed", "the configuration was read again: its rules count from now on");
}

/// Which services are new, and which are gone.
fn tell_of_services(before: &Sites, now: &Sites) {
    let missing_in = |other: &Sites, sites: &Sites| {
        let missing = sites
            .services()
            .filter(|name| other.service(name.as_str()).is_none());
        missing
            .map(ServiceName::as_str)
            .collect::<Vec<_>>()
            .join(",")
    };
    let (added, removed) = (missing_in(before, now), missing_in(now, before));
    if !added.is_empty() || !removed.is_empty() {
        tracing::info!(target: "audit", event = "services_changed", added, removed, "services were added or removed");
    }
}
