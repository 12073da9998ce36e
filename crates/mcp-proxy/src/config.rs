//! The settings: table `[proxy]` of `gateway.toml`, and the environment over it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::{ConfigError, FileKey, Kind, Loaded, Seconds, Secret, Section, Setting};
use chassis::telemetry::{LOG_FORMAT, LOG_LEVEL, LogConfig};
use serde::{Deserialize, Serialize};

use crate::resources::ResourceLimits;
use crate::senders::{IDENTITY_FROM, Named};
use crate::template::Template;
use crate::tools::rules::{RuleConfig, Rules, ToolsConfig};

/// Every setting that has an environment variable.
pub const SETTINGS: &[Setting] = &[
    Setting::text("HOST", "host", "Address of the public listener; 0.0.0.0 in a container"),
    Setting::integer("PORT", "port", "Port of the public listener; 0 takes a free one"),
    Setting::text("PRIVATE_HOST", "private_host", "Address of the private listener (health, metrics)"),
    Setting::integer("PRIVATE_PORT", "private_port", "Port of the private listener; 0 takes a free one"),
    Setting::text("ADDRESS_FILE", "address_file", "File to write the bound addresses into"),
    Setting::list("MCP_COMMAND", "command", "The MCP server's command and arguments; normally given after `--`")
        .how("Write it after `--`: mcp-proxy -- mcp-server-fetch")
        .example("mcp-server-fetch,--ignore-robots-txt"),
    Setting::list("MCP_ENV", "env.pass", "Names of variables that the MCP server gets besides PATH, HOME, LANG, LC_ALL, TZ and TMPDIR")
        .example("GITHUB_TOKEN"),
    Setting::text("CHILD_SHARING", "child.sharing", "Who shares an MCP server process: session (nobody), person (one person's sessions) or shared (everybody; only for servers that keep nothing between calls)"),
    Setting::boolean("CHILD_WARM_SPARE", "child.warm_spare", "Keep one MCP server process ready, so that nobody waits for its start; not possible with {user.*}"),
    Setting::integer("CHILD_MEMORY_BYTES", "child.limits.memory_bytes", "Memory of one MCP server process in bytes, not counting reserved address space; none if not set").unit("bytes")
        .example("536870912"),
    Setting::integer("CHILD_OPEN_FILES", "child.limits.open_files", "Open files of one MCP server process; none if not set")
        .example("1024"),
    Setting::integer("CHILD_PROCESSES", "child.limits.processes", "Processes and threads of the user that MCP servers run as; none if not set, and none for root")
        .example("256"),
    Setting::integer("CHILD_CPU_SECONDS", "child.limits.cpu_seconds", "Processor time in seconds after which an MCP server process is ended; none if not set").unit("seconds")
        .example("3600"),
    Setting::list("TOOLS_ALLOW", "tools.allow", "Names of the tools that may be called, with * and ?; all if not set. Rules by login and scope stand in the file")
        .example("read_*,search"),
    Setting::list("TOOLS_DENY", "tools.deny", "Names of tools that may not be called, with * and ?")
        .example("delete_*"),
    Setting::list("ALLOWED_HOSTS", "allowed_hosts", "Host names this service answers to besides loopback ones; *.name for all below a name")
        .example("mcp-fetch.example.com"),
    Setting::list("ALLOWED_ORIGINS", "allowed_origins", "Origins whose pages may call this service besides loopback ones")
        .example("https://app.example.com"),
    Setting::list("REPLICAS", "replicas", "The replicas of this service, this one included: host:port of each, or a name that stands for all. A request for a session of another one is handed to it")
        .example("tasks.mcp-fetch:3000"),
    Setting::list(IDENTITY_FROM, "identity_from", "Who may send identity headers: host names, addresses and networks; a request from any other address is refused, but for one that a replica hands over. Anybody if not set")
        .example("traefik,10.0.0.0/8"),
    Setting::boolean("REQUIRE_IDENTITY", "require_identity", "Answer only to requests with the gateway's identity headers"),
    Setting::integer("MAX_SESSIONS", "limits.sessions", "MCP server processes in all"),
    Setting::integer("MAX_SESSIONS_PER_SUBJECT", "limits.sessions_per_subject", "MCP server processes of one person"),
    Setting::integer("MAX_LEASES", "limits.leases", "MCP server processes in all that serve one modern call at a time"),
    Setting::integer("MAX_LEASES_PER_SUBJECT", "limits.leases_per_subject", "Such processes of one person"),
    Setting::seconds("PARKED_TIMEOUT", "limits.parked", "Time in which a client answers what an MCP server asks in a modern call"),
    Setting::integer("MAX_IN_FLIGHT", "limits.in_flight", "Requests in flight per MCP server process"),
    Setting::integer("MAX_MESSAGE_BYTES", "limits.message_bytes", "Largest message in bytes, either way").unit("bytes"),
    Setting::seconds("SESSION_TIMEOUT", "limits.session_idle", "Life of a session without a request"),
    Setting::seconds("REQUEST_TIMEOUT", "limits.request", "Time without answer or progress after which a request is given up"),
    Setting::seconds("REQUEST_TOTAL_TIMEOUT", "limits.request_total", "Time after which a request is given up although it makes progress"),
    Setting::seconds("PING_TIMEOUT", "limits.ping", "Time in which an MCP server that left a request unanswered must answer a ping, or it is ended"),
    Setting::seconds("INITIALIZE_TIMEOUT", "limits.initialize", "Time for the answer to initialize"),
    Setting::seconds("SESSION_LIFE", "limits.session_life", "Life of a session in all"),
    Setting::seconds("SESSION_LEFT_ALONE", "limits.session_left_alone", "Time without a request after which a session may be ended for a new one of the same person, who has too many"),
    Setting::seconds("STREAM_LIFE", "limits.stream_life", "Life of a stream that only listens; the client opens another one with a token that is looked at again"),
    Setting::seconds("STREAM_AFTER", "limits.stream_after", "Time after which a waiting answer becomes an event stream, so that it can be kept alive"),
    Setting::seconds("KEEP_ALIVE", "limits.keep_alive", "Silence after which an event stream gets a comment"),
    Setting::integer("REPLAY_BYTES", "limits.replay_bytes", "Bytes of events remembered per session, for clients that lost a stream").unit("bytes"),
    Setting::seconds("SHUTDOWN_DRAIN", "limits.shutdown_drain", "Time after SIGTERM in which requests are still taken, while /health/ready and /replica say 503 and connections are given back; for several replicas"),
    Setting::seconds("SHUTDOWN_GRACE", "limits.shutdown_grace", "Time for requests in flight after SIGTERM"),
    LOG_LEVEL,
    LOG_FORMAT,
];

/// The part of `gateway.toml` that is this binary's.
pub const SECTION: Section = Section::Table("proxy");

/// What only the file can set. `NAME` stands for a name of the operator's.
pub const FILE_KEYS: &[FileKey] = &[
    FileKey::new(
        "env.set.NAME",
        Kind::Text,
        "A variable that the MCP server gets, with its value; {user.id} and {user.login} become the person",
    ),
    FileKey::new(
        "rules[].logins",
        Kind::List,
        "The people of this rule, by login, with * and ?; all if not set. The first rule that fits decides",
    ),
    FileKey::new(
        "rules[].scopes",
        Kind::List,
        "Scopes that a token must have for this rule to fit",
    ),
    FileKey::new(
        "rules[].tools.allow",
        Kind::List,
        "The tools that these people may call, with * and ?; all if not set",
    ),
    FileKey::new(
        "rules[].tools.deny",
        Kind::List,
        "The tools that these people may not call, with * and ?",
    ),
    FileKey::new(
        "limits.lease_wait",
        Kind::Seconds,
        "Time that a modern call waits for a process when there are as many as there may be",
    ),
];

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

/// Checks what the types do not.
pub fn validate(loaded: &Loaded<Config>) -> Result<(), ConfigError> {
    let config = &loaded.config;
    if config.command.first().is_none_or(String::is_empty) {
        return Err(loaded.missing("command"));
    }
    for (key, value) in [
        ("host", &config.host),
        ("private_host", &config.private_host),
    ] {
        if value.parse::<IpAddr>().is_err() {
            return Err(loaded.invalid(key, "is not an IP address such as 127.0.0.1 or 0.0.0.0"));
        }
    }
    for (key, value) in [
        ("limits.sessions", config.limits.sessions),
        (
            "limits.sessions_per_subject",
            config.limits.sessions_per_subject,
        ),
        ("limits.leases", config.limits.leases),
        (
            "limits.leases_per_subject",
            config.limits.leases_per_subject,
        ),
        ("limits.in_flight", config.limits.in_flight),
        ("limits.message_bytes", config.limits.message_bytes),
    ] {
        if value == 0 {
            return Err(loaded.invalid(key, "must be at least 1"));
        }
    }
    for place in &config.replicas {
        if !is_place(place) {
            let wrong = format!("`{place}` is not host:port, such as tasks.mcp-fetch:3000");
            return Err(loaded.invalid("replicas", wrong));
        }
    }
    Named::parse(&config.identity_from)
        .map_err(|wrong| loaded.invalid("identity_from", wrong.to_string()))?;
    if config.limits.shutdown_drain.get() > LONGEST_DRAIN {
        return Err(loaded.invalid("limits.shutdown_drain", "must be at most 20 seconds"));
    }
    rules(loaded)?;
    validate_placeholders(loaded)
}

/// Seconds that a drain may take: whoever stops the process waits for it and for the requests in flight.
const LONGEST_DRAIN: u64 = 20;

/// A host and a port that is not 0.
fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        url::Host::parse(host).is_ok() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The rules for tools.
pub fn rules(loaded: &Loaded<Config>) -> Result<Rules, ConfigError> {
    let Config { tools, rules, .. } = &loaded.config;
    Rules::new(tools, rules).map_err(|wrong| {
        // Which of the two it is decides which line is named.
        let key = match Rules::new(tools, &[]) {
            Ok(_) => "rules",
            Err(_) => "tools",
        };
        loaded.invalid(key, wrong)
    })
}

/// Placeholders of the person are known, and there is a person.
fn validate_placeholders(loaded: &Loaded<Config>) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let texts = config
        .command
        .iter()
        .map(|text| ("command", text.as_str()))
        .chain(
            config
                .env
                .set
                .values()
                .map(|secret| ("env.set", secret.expose())),
        );
    for (key, text) in texts {
        let template = Template::parse(text).map_err(|wrong| loaded.invalid(key, wrong))?;
        if !template.names_person() {
            continue;
        }
        if !config.require_identity {
            let wrong = "has a placeholder of the person, but nobody says who calls: set REQUIRE_IDENTITY=true";
            return Err(loaded.invalid(key, wrong));
        }
        if config.child.sharing == Sharing::Shared {
            let wrong = "has a placeholder of the person, but everybody shares one process: set CHILD_SHARING to session or person";
            return Err(loaded.invalid(key, wrong));
        }
    }
    let first = config.command.first().map(|text| Template::parse(text));
    if matches!(first, Some(Ok(program)) if program.names_person()) {
        return Err(loaded.invalid(
            "command",
            "has a placeholder of the person in the name of the program: only arguments may have one",
        ));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use chassis::config::Reference;

    use super::*;

    #[test]
    fn every_key_is_described() {
        let mut config = Config::default();
        config
            .env
            .set
            .insert("NAME".to_owned(), Secret::new(String::new()));
        config.rules.push(RuleConfig::default());
        let missing = Reference::missing(&config, SETTINGS, FILE_KEYS);
        assert!(
            missing.is_empty(),
            "neither in SETTINGS nor in FILE_KEYS: {missing:?}"
        );
    }
}
