//! For the tests of this crate: the service on a network and with a clock of the test's own. Not an interface.
//!
//! The network is below every check of what may be fetched, and no configuration reaches it.

use std::net::SocketAddr;
use std::sync::Arc;

use chassis::config::{self, Environment, Section};
use chassis::shutdown::Shutdown;
use oauth::Clock;

use crate::app::App;
pub use crate::client_document::{ClientDocuments, DocumentError, DocumentPolicy, Network};
use crate::config::{Config, SETTINGS};
use crate::settings::Settings;

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where its public listener is.
    pub address: SocketAddr,
}

/// Runs the service with exactly these settings for as long as the runtime of the caller lives.
pub async fn start(
    settings: &[(&str, &str)],
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Service> {
    let environment = Environment::from_pairs(settings.iter().copied());
    let loaded = config::load::<Config>(&environment, None, Section::Except(&["proxy"]), SETTINGS)?;
    let app = App::build_on(Settings::check(&loaded, &environment)?, network, clock).await?;
    let address = app.public_address()?;
    tokio::spawn(app.run(Shutdown::new()));
    Ok(Service { address })
}
