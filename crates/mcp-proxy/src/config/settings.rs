//! Every setting in words: its variable, its key in `gateway.toml`, and what it is.

use chassis::config::{FileKey, Kind, Section, Setting};
use chassis::telemetry::{LOG_FORMAT, LOG_LEVEL};

use crate::senders::IDENTITY_FROM;

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

#[cfg(test)]
mod tests {
    use chassis::config::{Reference, Secret};

    use super::*;
    use crate::config::Config;
    use crate::tools::rules::RuleConfig;

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
