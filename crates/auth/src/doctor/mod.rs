//! `mcp-auth doctor`: walks the installation from outside, the way each kind of client does, and says in plain words what they
//! would trip over.

mod discovery;
mod endpoint;
mod installation;
mod probe;
mod registration;
mod report;

use std::net::SocketAddr;

use chassis::config::Loaded;
use clap::Args;
use url::Url;

use self::probe::Prober;
pub(crate) use self::report::Report;
use crate::config::Config;
use crate::settings::Settings;

/// What is looked at, and how.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Connect to this address instead of what the names resolve to, as with a name that is not public yet.
    #[arg(long, value_name = "IP:PORT")]
    connect: Option<SocketAddr>,
    /// The site of a client that runs in a browser; must be in `MCP_CORS_ORIGINS`.
    #[arg(long, value_name = "ORIGIN", default_value = "http://localhost:6274")]
    origin: String,
    /// Do not register a client (it is deleted again).
    #[arg(long)]
    no_registration: bool,
}

impl Doctor {
    /// Looks at everything. Fails only where nothing can be looked at.
    pub(crate) async fn examine(
        &self,
        loaded: &Loaded<Config>,
        settings: &Settings,
        private: &Url,
    ) -> anyhow::Result<Report> {
        let prober = Prober::new(&settings.sites, self.connect)?;
        let mut report = Report::default();
        installation::examine(&prober, loaded, settings, private, &mut report).await;
        let is_reached = discovery::issuer(&prober, settings, &mut report).await;
        if is_reached && !self.no_registration {
            registration::examine(&prober, settings, &mut report).await;
        }
        for service in settings.sites.services() {
            let is_public = settings.rules.is_public(service);
            let answers = endpoint::examine(&prober, settings, service, &self.origin, &mut report);
            if answers.await && !is_public {
                discovery::service(&prober, settings, service, &mut report).await;
            }
        }
        Ok(report)
    }
}
