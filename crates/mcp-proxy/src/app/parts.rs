//! What the settings mean for the parts of the service.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chassis::config::Environment;
use chassis::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::calls::Patience;
use crate::children::{Bounds, Children};
use crate::command::CommandLine;
use crate::config::{Config, child_environment};
use crate::http::gate::Gate;
use crate::metrics::{Counted, Replication};
use crate::modern::pool::Pool;
use crate::modern::translation::leases::{self, Leases};
use crate::replicas::{Replicas, Tag};
use crate::senders::{Named, Senders};
use crate::session::Limits;
use crate::sessions::{self, Sessions};
use crate::template::Template;
use crate::tools::reload::InForce;

/// Bytes that may wait for one reader of an event stream.
const READER_BYTES: usize = 1024 * 1024;

pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        total: config.limits.sessions,
        per_subject: config.limits.sessions_per_subject,
        backlog_bytes: config.limits.message_bytes,
        line_bytes: config.limits.message_bytes,
        spare: config.child.warm_spare,
    }
}

/// The other replicas, looked for until `stop`; none where `REPLICAS` is not set.
pub(super) fn replicas(
    config: &Config,
    children: &Children,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<Replicas>>> {
    if config.replicas.is_empty() {
        return Ok(None);
    }
    let runtime = children.runtime();
    let counted = Replication::new(metrics);
    let replicas = Replicas::new(config.replicas.clone(), runtime.clone(), counted);
    let replicas = Arc::new(replicas.context("the system gave no random bits")?);
    runtime.spawn(Arc::clone(&replicas).follow(stop.clone()));
    Ok(Some(replicas))
}

/// Who may say who calls; nobody asks where `IDENTITY_FROM` is not set.
pub(super) fn gate(config: &Config, children: &Children) -> anyhow::Result<Option<Gate>> {
    if config.identity_from.is_empty() {
        return Ok(None);
    }
    let named = Named::parse(&config.identity_from)?;
    Ok(Some(Gate::new(Senders::start(named, children.runtime()))))
}

pub(super) fn sessions(
    children: &Children,
    config: &Config,
    replica: Option<Tag>,
    counted: &Counted,
    tools: &InForce,
) -> Arc<Sessions> {
    let bounds = sessions::Bounds {
        total: config.limits.sessions,
        per_subject: config.limits.sessions_per_subject,
        initialize: config.limits.initialize.duration(),
    };
    Arc::new(Sessions::new(
        children.clone(),
        limits(config),
        counted.clone(),
        config.child.sharing,
        bounds,
        replica,
        tools.clone(),
    ))
}

pub(super) fn pool(
    children: &Children,
    config: &Config,
    counted: &Counted,
    tools: &InForce,
) -> Arc<Pool> {
    Arc::new(Pool::new(
        children.clone(),
        limits(config),
        counted.calls.clone(),
        config.child.sharing,
        tools.clone(),
    ))
}

pub(super) fn leases(
    children: &Children,
    config: &Config,
    replica: Option<Tag>,
    counted: &Counted,
) -> anyhow::Result<Arc<Leases>> {
    let bounds = leases::Bounds {
        total: config.limits.leases,
        per_subject: config.limits.leases_per_subject,
        wait: config.limits.lease_wait.duration(),
        parked: config.limits.parked.duration(),
        handshake: config.limits.initialize.duration(),
    };
    let leases = Leases::new(
        children.clone(),
        limits(config),
        bounds,
        replica,
        counted.clone(),
    );
    leases.context("the system gave no random bits")
}

fn limits(config: &Config) -> Limits {
    Limits {
        in_flight: config.limits.in_flight,
        patience: Patience {
            silent: config.limits.request.duration(),
            total: config.limits.request_total.duration(),
        },
        ping: config.limits.ping.duration(),
        replay_bytes: config.limits.replay_bytes,
        reader_bytes: config.limits.replay_bytes.max(READER_BYTES),
        idle: config.limits.session_idle.duration(),
        left_alone: config.limits.session_left_alone.duration(),
        life: config.limits.session_life.duration(),
    }
}

pub(super) fn command(config: &Config, environment: &Environment) -> anyhow::Result<CommandLine> {
    let (program, arguments) = config.command.split_first().context("no command")?;
    let arguments = arguments.iter().map(|text| Template::parse(text));
    Ok(CommandLine {
        program: program.into(),
        arguments: arguments.collect::<Result<_, _>>()?,
        environment: child_environment(&config.env, environment)?,
        resources: config.child.limits,
        guard: guard()?,
    })
}

/// This program. The link of the system leads to it even after its file was replaced.
fn guard() -> anyhow::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        return Ok(link);
    }
    std::env::current_exe().context("cannot find this program's own file")
}
