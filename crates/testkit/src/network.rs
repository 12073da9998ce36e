//! The network of a test is this machine: names below `localhost` lead to the loopback address, all others nowhere.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
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
    http_client_at(None)
}

/// [`http_client`], whose connections come from this address of this machine: all of 127.0.0.0/8 are, on Linux.
///
/// # Errors
///
/// If TLS cannot be set up.
pub fn http_client_at(address: Option<IpAddr>) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .local_address(address)
        .dns_resolver(Arc::new(OnlyThisMachine))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .user_agent("mcp-gateway-testkit")
        .build()
        .context("the HTTP client of the tests")
}

/// Where [`free_port`] looks: below the ports that systems give to outgoing connections and to port 0 (from 32768 on Linux,
/// 49152 elsewhere), so that no connection of a neighbour takes one between the choice and the use.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The locks on the ports this process was given; they end with it.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port for programs that cannot choose one themselves, or that must come back at the same one. No other test on this machine
/// is given it while this process runs.
///
/// # Errors
///
/// If there is none.
pub fn free_port() -> Result<u16> {
    let locks = std::env::temp_dir().join("mcp-gateway-test-ports");
    std::fs::create_dir_all(&locks).with_context(|| locks.display().to_string())?;
    // Processes begin at different places, so that they seldom meet.
    let length = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(7919) % length;
    for step in 0..length {
        let port = PORTS.start + u16::try_from((begin + step) % length)?;
        let lock = File::create(locks.join(port.to_string()))?;
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            TAKEN
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(lock);
            return Ok(port);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
