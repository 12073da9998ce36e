//! The settings: table `[proxy]` of `gateway.toml`, and the environment over it.

mod settings;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::{Seconds, Secret};
use chassis::telemetry::LogConfig;
use serde::{Deserialize, Serialize};

use crate::resources::ResourceLimits;
use crate::template::Template;
use crate::tools::rules::{RuleConfig, ToolsConfig};

pub use settings::{FILE_KEYS, SECTION, SETTINGS};
pub use validate::{rules, validate};

/// Variables of ours that every MCP server gets.
const ALWAYS_PASSED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// The settings of `mcp-proxy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the public listener.
    pub host: String,
    /// Port of the public listener.
    pub port: u16,
    /// Address of the private listener.
    pub private_host: String,
    /// Port of the private listener.
    pub private_port: u16,
    /// Where to write the bound addresses.
    pub address_file: Option<PathBuf>,
    /// The MCP server.
    pub command: Vec<String>,
    /// Its environment.
    pub env: Env,
    /// Its processes.
    pub child: ChildConfig,
    /// Host names answered to besides loopback ones.
    pub allowed_hosts: Vec<String>,
    /// Origins answered to besides loopback ones.
    pub allowed_origins: Vec<String>,
    /// The replicas of this service, this one included: `host:port` of each, or a name that stands for all.
    pub replicas: Vec<String>,
    /// Host names, addresses and networks from which identity headers are believed; anybody's if empty.
    pub identity_from: Vec<String>,
    /// Are the identity headers needed?
    pub require_identity: bool,
    /// The tools of those for whom no rule fits.
    pub tools: ToolsConfig,
    /// Tools by login and scope; the first rule that fits decides.
    pub rules: Vec<RuleConfig>,
    /// The bounds.
    pub limits: LimitsConfig,
    /// The log.
    pub log: LogConfig,
}

/// The environment of an MCP server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Env {
    /// Names of our variables that are passed on.
    pub pass: Vec<String>,
    /// Values that are set; hidden wherever settings are shown.
    pub set: BTreeMap<String, Secret>,
}

/// The processes of an MCP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChildConfig {
    /// Who shares one.
    pub sharing: Sharing,
    /// Is one kept ready before anybody asks for it?
    pub warm_spare: bool,
    /// What one may use of the machine.
    pub limits: ResourceLimits,
}

/// The bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// MCP server processes in all.
    pub sessions: usize,
    /// MCP server processes of one person.
    pub sessions_per_subject: usize,
    /// Processes in all that serve one modern call at a time.
    pub leases: usize,
    /// Such processes of one person.
    pub leases_per_subject: usize,
    /// Time that a modern call waits for such a process when there are as many as there may be.
    pub lease_wait: Seconds,
    /// Time in which a client answers what an MCP server asks in a modern call.
    pub parked: Seconds,
    /// Requests in flight per process.
    pub in_flight: usize,
    /// Largest message in bytes.
    pub message_bytes: usize,
    /// Bytes of events remembered per session.
    pub replay_bytes: usize,
    /// Life of a session without a request.
    pub session_idle: Seconds,
    /// Time for the answer to `initialize`, and for the probe.
    pub initialize: Seconds,
    /// Time without answer or progress.
    pub request: Seconds,
    /// Time for a request in all.
    pub request_total: Seconds,
    /// Time for the answer to a ping, which follows a request that was given up.
    pub ping: Seconds,
    /// Time after which a waiting answer becomes an event stream, so that it can be kept alive.
    pub stream_after: Seconds,
    /// Time without a request after which a session may be ended for a new one of the same person, who has too many.
    pub session_left_alone: Seconds,
    /// Life of a session in all.
    pub session_life: Seconds,
    /// Silence after which an event stream gets a comment.
    pub keep_alive: Seconds,
    /// Life of a stream that only listens: the client opens another one, and its token is looked at again.
    pub stream_life: Seconds,
    /// Time after SIGTERM in which requests are still taken.
    pub shutdown_drain: Seconds,
    /// Time for requests in flight after that.
    pub shutdown_grace: Seconds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 3000,
            private_host: "127.0.0.1".to_owned(),
            private_port: 9000,
            address_file: None,
            command: Vec::new(),
            env: Env::default(),
            child: ChildConfig::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            replicas: Vec::new(),
            identity_from: Vec::new(),
            require_identity: false,
            tools: ToolsConfig::default(),
            rules: Vec::new(),
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// Who shares a process of the MCP server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each session of an older revision has its own; requests of 2026-07-28 share one per person.
    #[default]
    Session,
    /// Sessions of one person share one, too.
    Person,
    /// Everybody shares one. Only for MCP servers that keep nothing between calls: what one person leaves there, another
    /// finds.
    Shared,
}

impl Default for ChildConfig {
    fn default() -> Self {
        Self {
            sharing: Sharing::default(),
            warm_spare: true,
            limits: ResourceLimits::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            sessions: 200,
            sessions_per_subject: 10,
            leases: 100,
            leases_per_subject: 8,
            lease_wait: Seconds::new(10),
            parked: Seconds::new(5 * 60),
            in_flight: 32,
            message_bytes: 16 * 1024 * 1024,
            replay_bytes: 256 * 1024,
            session_idle: Seconds::new(30 * 60),
            initialize: Seconds::new(30),
            request: Seconds::new(300),
            request_total: Seconds::new(60 * 60),
            ping: Seconds::new(10),
            stream_after: Seconds::new(10),
            session_left_alone: Seconds::new(60),
            session_life: Seconds::new(24 * 60 * 60),
            keep_alive: Seconds::new(15),
            stream_life: Seconds::new(15 * 60),
            shutdown_drain: Seconds::new(0),
            shutdown_grace: Seconds::new(25),
        }
    }
}

impl LimitsConfig {
    /// [`Self::stream_after`] as a duration.
    #[must_use]
    pub fn stream_after(&self) -> Duration {
        self.stream_after.duration()
    }
}

/// The environment of a child: what is always passed, what is configured, and nothing of ours besides. What is configured
/// may have placeholders.
pub fn child_environment(
    env: &Env,
    ours: &chassis::config::Environment,
) -> anyhow::Result<Vec<(String, Template)>> {
    let mut out = BTreeMap::new();
    for name in ALWAYS_PASSED {
        if let Some(value) = ours.get(name) {
            out.insert(name, Template::verbatim(value));
        }
    }
    for name in &env.pass {
        if let Some(value) = ours.get(name) {
            let template = Template::parse(value)
                .with_context(|| format!("{name}, which MCP_ENV passes on"))?;
            out.insert(name, template);
        }
    }
    for (name, value) in &env.set {
        out.insert(name, Template::parse(value.expose())?);
    }
    Ok(out
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}
