//! What is counted. Labels come from closed sets: never a person, a tool or anything else a client can choose.

use chassis::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// The counters of one service; clones share them.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Answers by status.
    pub answers: Family<Answered, Counter>,
    /// Seconds from the head of a POST to the head of its answer.
    pub seconds: Histogram,
    /// Open sessions of the older revisions.
    pub sessions: Gauge,
    /// MCP server processes, the ending ones included.
    pub children: Gauge,
    /// MCP server processes that serve one modern call at a time.
    pub leases: Gauge,
    /// Modern calls that wait for their client to come back.
    pub parked: Gauge,
    /// MCP server processes that were started.
    pub started: Counter,
    /// MCP server processes that ended, by cause.
    pub ended: Family<Ended, Counter>,
    /// Requests to MCP servers, by what became of them.
    pub calls: Calls,
    /// Bytes of messages to MCP servers.
    pub bytes_in: Counter,
    /// Bytes of messages from MCP servers.
    pub bytes_out: Counter,
    /// Calls of tools that the rules do not allow.
    pub tools_refused: Counter,
}

/// How a POST was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
}

/// What is counted where there are several replicas; clones share it.
#[derive(Clone, Debug)]
pub struct Replication {
    /// Other replicas that are known.
    pub peers: Gauge,
    /// Requests that another replica answered.
    pub answered: Counter,
    /// Requests for a replica that is not there any more, or never was.
    pub owner_unknown: Counter,
    /// Requests for a replica that nobody reaches any more.
    pub unreachable: Counter,
    /// Requests whose replica broke off before the answer, or in the middle of it.
    pub broken: Counter,
}

impl Replication {
    /// New counters, shown in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let handed_over = Family::<Call, Counter>::default();
        let of = |outcome| handed_over.get_or_create_owned(&Call { outcome });
        let counted = Self {
            peers: Gauge::default(),
            answered: of("answered"),
            owner_unknown: of("owner_unknown"),
            unreachable: of("unreachable"),
            broken: of("broken"),
        };
        metrics.register(
            "mcp_replicas",
            "Other replicas of this service that are known",
            counted.peers.clone(),
        );
        metrics.register(
            "mcp_handed_over",
            "Requests for sessions and parked calls of other replicas, by what became of them",
            handed_over,
        );
        counted
    }
}

/// How an MCP server process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    /// `asked`, `success`, `failure`, `signal`, `silent` (it closed its standard output), `deaf` (its standard input) or
    /// `unknown`.
    pub cause: &'static str,
}

/// What became of requests to MCP servers: one counter for each outcome.
#[derive(Clone, Debug)]
pub struct Calls {
    /// With a result.
    pub answered: Counter,
    /// With an error of the MCP server.
    pub failed: Counter,
    /// Given up: no answer in time.
    pub timed_out: Counter,
    /// Cancelled by the client.
    pub cancelled: Counter,
    /// The process ended before the answer.
    pub lost: Counter,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    outcome: &'static str,
}

impl Calls {
    fn new(family: &Family<Call, Counter>) -> Self {
        let of = |outcome| family.get_or_create_owned(&Call { outcome });
        Self {
            answered: of("answered"),
            failed: of("failed"),
            timed_out: of("timed_out"),
            cancelled: of("cancelled"),
            lost: of("lost"),
        }
    }
}

/// Upper bounds in seconds: from a trivial call to a long one.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0,
];

impl Counted {
    /// New counters, shown in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let calls = Family::<Call, Counter>::default();
        let counted = Self {
            answers: Family::default(),
            seconds: Histogram::new(SECONDS),
            sessions: Gauge::default(),
            children: Gauge::default(),
            leases: Gauge::default(),
            parked: Gauge::default(),
            started: Counter::default(),
            ended: Family::default(),
            calls: Calls::new(&calls),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            tools_refused: Counter::default(),
        };
        metrics.register(
            "mcp_post_answers",
            "Answers to POST by status",
            counted.answers.clone(),
        );
        metrics.register(
            "mcp_post_duration_seconds",
            "Time to the head of the answer to a POST",
            counted.seconds.clone(),
        );
        metrics.register("mcp_sessions", "Open sessions", counted.sessions.clone());
        metrics.register(
            "mcp_children",
            "MCP server processes",
            counted.children.clone(),
        );
        metrics.register(
            "mcp_leases",
            "MCP server processes that serve one modern call at a time",
            counted.leases.clone(),
        );
        metrics.register(
            "mcp_parked_calls",
            "Modern calls that wait for their client to come back",
            counted.parked.clone(),
        );
        metrics.register(
            "mcp_children_started",
            "MCP server processes started",
            counted.started.clone(),
        );
        metrics.register(
            "mcp_children_ended",
            "MCP server processes that ended, by cause",
            counted.ended.clone(),
        );
        metrics.register(
            "mcp_calls",
            "Requests to MCP servers, by what became of them",
            calls,
        );
        metrics.register(
            "mcp_bytes_in",
            "Bytes of messages to MCP servers",
            counted.bytes_in.clone(),
        );
        metrics.register(
            "mcp_bytes_out",
            "Bytes of messages from MCP servers",
            counted.bytes_out.clone(),
        );
        metrics.register(
            "mcp_tools_refused",
            "Calls of tools that the rules do not allow",
            counted.tools_refused.clone(),
        );
        counted
    }
}
