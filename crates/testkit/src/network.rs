//! The network of a test is this machine: names below `localhost` lead to the loopback address, all others nowhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves `localhost` and everything below it to 127.0.0.1, as RFC 6761 section 6.3 asks, without asking the system: many
/// systems do not resolve `auth.localhost`.
#[derive(Debug, Clone, Copy)]
struct OnlyThisMachine;

impl Resolve for OnlyThisMachine {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        let here = name == "localhost" || name.ends_with(".localhost");
        Box::pin(async move {
            if here {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                Ok(Box::new(std::iter::once(address)) as Addrs)
            } else {
                Err(format!("{name} is not on this machine").into())
            }
        })
    }
}

/// An HTTP client for tests: no redirect is followed, no proxy is used, nothing outside this machine is reached, 20 s in all.
///
/// # Errors
///
/// If TLS cannot be set up.
pub fn http_client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(Arc::new(OnlyThisMachine))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .user_agent("mcp-gateway-testkit")
        .build()
        .context("the HTTP client of the tests")
}

/// A port that was free a moment ago, for programs that cannot be told to choose one and say which (Traefik).
///
/// # Errors
///
/// If the system has none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}
