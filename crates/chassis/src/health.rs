//! Whether a service is ready, and the small client that asks.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A check that has not answered after this time has failed.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// The time of [`healthcheck`] in all.
const CLIENT_LIMIT: Duration = Duration::from_secs(2);

/// More of an answer than this is not read.
const LONGEST_ANSWER: u64 = 64 * 1024;

type Outcome = Result<(), String>;
type Ask = dyn Fn() -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// What must be well before a service is ready; clones are the same.
///
/// Latches are set by whoever knows (the listener is up, the child answered), checks are asked each time.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    latches: Mutex<BTreeMap<&'static str, Outcome>>,
    checks: Mutex<Vec<(&'static str, Weight, Arc<Ask>)>>,
    stopping: AtomicBool,
}

/// What a bad answer means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// No work may be sent here.
    NotReady,
    /// Somebody should look, but the work is done.
    Degraded,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Readiness {
    /// Ready at once, until something is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something that is not ready yet ("starting") until its latch says so.
    #[must_use]
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch {
            readiness: self.clone(),
            name,
        };
        latch.not_ready("starting");
        latch
    }

    /// Adds a question that is asked at every report; no answer within 1 s counts as a problem.
    pub fn check<F, Fut>(&self, name: &'static str, ask: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, Weight::NotReady, ask);
    }

    /// Adds a question whose answer changes nothing about being ready: an error is told as degraded, for whoever looks.
    pub fn watch<F, Fut>(&self, name: &'static str, ask: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, Weight::Degraded, ask);
    }

    fn add<F, Fut>(&self, name: &'static str, weight: Weight, ask: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, weight, Arc::new(move || Box::pin(ask()))));
    }

    /// Says that the service is ending: it is never ready again, so that no new work is sent to it.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Asks everything, all checks at the same time.
    pub async fn report(&self) -> Report {
        let mut checks: Vec<Check> = self
            .0
            .latches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, outcome)| Check::new(name, outcome.clone()))
            .collect();
        let asked: Vec<_> = self
            .0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut answers = tokio::task::JoinSet::new();
        for (name, weight, ask) in asked {
            answers.spawn(async move {
                let outcome = tokio::time::timeout(CHECK_LIMIT, ask())
                    .await
                    .unwrap_or_else(|_| {
                        Err(format!("no answer within {} s", CHECK_LIMIT.as_secs()))
                    });
                match weight {
                    Weight::NotReady => Check::new(name, outcome),
                    Weight::Degraded => Check {
                        name,
                        problem: None,
                        degraded: outcome.err(),
                    },
                }
            });
        }
        while let Some(answer) = answers.join_next().await {
            checks.push(answer.unwrap_or_else(|error| Check {
                name: "check",
                problem: Some(error.to_string()),
                degraded: None,
            }));
        }
        if self.0.stopping.load(Ordering::Acquire) {
            checks.push(Check::new("service", Err("stopping".to_owned())));
        }
        checks.sort_by_key(|check| check.name);
        Report {
            ready: checks.iter().all(|check| check.problem.is_none()),
            checks,
        }
    }
}

/// One thing that can be ready or not.
#[derive(Clone, Debug)]
pub struct Latch {
    readiness: Readiness,
    name: &'static str,
}

impl Latch {
    /// It is ready.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// It is not ready, for this reason.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, outcome: Outcome) {
        self.readiness
            .0
            .latches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.name, outcome);
    }
}

/// The state of a service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether work may be sent to it.
    pub ready: bool,
    /// What it depends on, in alphabetical order.
    pub checks: Vec<Check>,
}

/// One line of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Why it is not ready; absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What somebody should look at although it is ready; absent if there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
}

impl Check {
    fn new(name: &'static str, outcome: Outcome) -> Self {
        Self {
            name,
            problem: outcome.err(),
            degraded: None,
        }
    }
}

/// Why a service does not count as healthy; one line.
#[derive(Debug, Error)]
pub enum HealthcheckError {
    /// Nothing listens there, or the connection broke.
    #[error("no service answers on {address}: {reason}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// It took too long.
    #[error("{address} did not answer within {} s", CLIENT_LIMIT.as_secs())]
    TooSlow {
        /// Where it was asked.
        address: SocketAddr,
    },
    /// It answered, but not with 200.
    #[error("not ready: {answer}")]
    NotReady {
        /// What it said.
        answer: String,
    },
}

/// Asks the private listener of a service whether it is ready. For the `healthcheck` subcommand, which a container without a shell
/// or curl can run; 2 s in all.
pub async fn healthcheck(private: SocketAddr) -> Result<(), HealthcheckError> {
    let answer = tokio::time::timeout(CLIENT_LIMIT, ask(private))
        .await
        .map_err(|_| HealthcheckError::TooSlow { address: private })?
        .map_err(|reason| HealthcheckError::Unreachable {
            address: private,
            reason,
        })?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or((answer.as_str(), ""));
    let status = head.split(' ').nth(1);
    if status == Some("200") {
        return Ok(());
    }
    let said = if body.is_empty() { head } else { body };
    Err(HealthcheckError::NotReady {
        answer: crate::telemetry::untrusted(said.trim()).to_string(),
    })
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /health/ready HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_latch_begins_as_starting() {
        let readiness = Readiness::new();
        assert!(readiness.report().await.ready);
        let latch = readiness.latch("child");
        let report = readiness.report().await;
        assert!(!report.ready);
        assert_eq!(
            report.checks,
            [Check::new("child", Err("starting".to_owned()))]
        );
        latch.ready();
        assert!(readiness.report().await.ready);
        latch.not_ready("exited with status 1");
        assert!(!readiness.report().await.ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_a_problem() {
        let readiness = Readiness::new();
        readiness.check("store", || async { Ok(()) });
        readiness.check("upstream", std::future::pending);
        let report = readiness.report().await;
        assert!(!report.ready);
        assert_eq!(
            report.checks,
            [
                Check::new("store", Ok(())),
                Check::new("upstream", Err("no answer within 1 s".to_owned())),
            ]
        );
    }

    #[tokio::test]
    async fn what_is_degraded_is_ready() {
        let readiness = Readiness::new();
        readiness.watch("disk", || async { Err("nearly full".to_owned()) });
        let report = readiness.report().await;
        assert!(report.ready);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"ready":true,"checks":[{"name":"disk","degraded":"nearly full"}]}"#
        );
    }

    #[tokio::test]
    async fn a_stopping_service_is_never_ready() {
        let readiness = Readiness::new();
        readiness.latch("listener").ready();
        readiness.stop();
        assert!(!readiness.report().await.ready);
    }

    #[tokio::test]
    async fn nobody_listening_is_told() {
        let address = crate::listen::bind("test", "127.0.0.1:0".parse().unwrap())
            .unwrap()
            .local_addr()
            .unwrap();
        let error = healthcheck(address).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("no service answers on {address}: ")),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_hangs_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = healthcheck(address).await.unwrap_err().to_string();
        assert_eq!(error, format!("{address} did not answer within 2 s"));
    }
}
