//! For the tests of this crate: the service on a network and with a clock of the test's own. Not an interface.
//!
//! The network is below every check of what may be fetched, and no configuration reaches it.

use std::net::SocketAddr;
use std::sync::Arc;

use chassis::config::{self, Environment, Section};
use chassis::shutdown::Shutdown;
use oauth::Clock;

use crate::app::App;
use crate::client_document::Internet;
pub use crate::client_document::{ClientDocuments, DocumentError, DocumentPolicy, Network};
use crate::config::{Config, SETTINGS};
use crate::keys::Keys;
use crate::settings::Settings;

/// A running service.
pub struct Service {
    /// Where its public listener is.
    pub address: SocketAddr,
    /// Where its private listener is.
    pub private: SocketAddr,
    keys: Arc<Keys>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// What every instance does each half minute: look for changes of the keys, and make those that are due.
    pub async fn keep_keys_up(&self) -> anyhow::Result<()> {
        Ok(self.keys.keep_up().await?)
    }
}

/// Runs the service on the Internet, with a clock of the test's own.
pub async fn start_at(settings: &[(&str, &str)], clock: Arc<dyn Clock>) -> anyhow::Result<Service> {
    start(settings, Arc::new(Internet), clock).await
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
    let service = Service {
        address: app.public_address()?,
        private: app.private_address()?,
        keys: app.keys(),
    };
    tokio::spawn(app.run(Shutdown::new()));
    Ok(service)
}

/// The token of the administration API that belongs to a `GATEWAY_JWT_SECRET`.
#[must_use]
pub fn admin_token(secret: &str) -> String {
    let secret = chassis::config::Secret::new(secret.to_owned());
    crate::admin::token::of_secret(&secret).to_string()
}
