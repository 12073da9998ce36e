//! A real provider of OpenID Connect: npm `oidc-provider`, run by Node.

use anyhow::Result;
use serde_json::json;
use url::Url;

use crate::binaries;
use crate::process::{Command, Logs, Process};

/// The client id of the gateway there.
pub const CLIENT_ID: &str = "gateway";

/// Its secret, with characters that Basic authentication must encode first.
pub const CLIENT_SECRET: &str = "0123456789:%/+ of the gateway";

/// A running provider; it ends when it is dropped.
#[derive(Debug)]
pub struct Provider {
    _process: Process,
}

impl Provider {
    /// Starts one at `http://127.0.0.1:PORT`, which is its issuer, that signs ID tokens by `algorithm`. It knows the gateway
    /// by its callback, and everybody: whoever signs in is the login that they type, and `ada` is in the group `staff`.
    ///
    /// # Errors
    ///
    /// If it does not listen in time.
    pub async fn start(port: u16, callback: &Url, algorithm: &str, logs: &Logs) -> Result<Self> {
        let client = json!({
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uri": callback,
            "algorithm": algorithm,
        });
        let name = format!("openid-{port}");
        let process = Command::new(&name, binaries::tool("node"))
            .arg(binaries::workspace().join("tests/clients/openid_provider.mjs"))
            .args([port.to_string(), client.to_string()])
            .env("GATEWAY_TOOLS", binaries::tools())
            .start(logs)?;
        logs.wait_for(&format!("{name}: listening")).await?;
        Ok(Self { _process: process })
    }
}
