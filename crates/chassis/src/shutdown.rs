//! Ending in order: first the soft token (take no new work, finish what is there), then the hard one (end now).

use std::io;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Application data of a service that is going to stop: cancelled when that begins.
#[derive(Clone, Debug)]
pub struct Stopping(pub CancellationToken);

impl Stopping {
    /// Has the stop of the service that got this request begun?
    #[must_use]
    pub fn has_begun(request: &HttpRequest) -> bool {
        request
            .app_data::<Self>()
            .is_some_and(|stopping| stopping.0.is_cancelled())
    }
}

/// The middleware that ends kept connections with the next answer once the service is [`Stopping`].
///
/// A proxy that keeps a connection would else send its next request just as the listener goes, and could not know whether
/// it was taken (RFC 9112 section 9.6).
pub async fn give_connections_back<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    if Stopping::has_begun(response.request()) {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// The two steps of a shutdown and the tasks it waits for; clones are the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled at the first signal: listeners stop accepting, sessions say goodbye.
    soft: CancellationToken,
    /// Cancelled at the second signal or when the time is over: whoever still runs ends at once.
    hard: CancellationToken,
    /// What must have ended before the process does.
    tasks: TaskTracker,
}

impl Shutdown {
    /// A shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The token for work that ends in order.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// The token for work that must end now.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// The tasks that [`Shutdown::finish`] waits for.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Begins the shutdown on SIGTERM or SIGINT; a second signal, or `limit` after the first, makes it hard.
    ///
    /// Call it inside the main runtime. An error means that the process may not handle signals.
    pub fn listen_for_signals(&self, limit: Duration) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if shutdown.soft.is_cancelled() {
                    tracing::warn!(signal = name, "second signal: ending now");
                    shutdown.hard.cancel();
                } else {
                    tracing::info!(signal = name, limit_s = limit.as_secs(), "shutting down");
                    shutdown.begin(limit);
                }
            }
        });
        Ok(())
    }

    /// Begins the shutdown; after `limit` it becomes hard. Call it inside a runtime that lives until the end.
    pub fn begin(&self, limit: Duration) {
        self.soft.cancel();
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(limit) => {
                    tracing::warn!(limit_s = limit.as_secs(), "time is over: ending now");
                    shutdown.hard.cancel();
                }
                () = shutdown.hard.cancelled() => {}
                () = shutdown.tasks.wait() => {}
            }
        });
    }

    /// Waits until all tracked tasks have ended, or the shutdown becomes hard. Tells whether they all ended.
    pub async fn finish(&self) -> bool {
        self.tasks.close();
        tokio::select! {
            biased;
            () = self.tasks.wait() => true,
            () = self.hard.cancelled() => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn finish_waits_for_tracked_tasks() {
        let shutdown = Shutdown::new();
        let soft = shutdown.soft().clone();
        shutdown
            .tasks()
            .spawn(async move { soft.cancelled().await });
        shutdown.begin(LONG);
        assert!(shutdown.finish().await);
        assert!(!shutdown.hard().is_cancelled());
    }

    #[tokio::test]
    async fn the_limit_makes_it_hard() {
        let shutdown = Shutdown::new();
        shutdown.tasks().spawn(std::future::pending::<()>());
        shutdown.begin(Duration::ZERO);
        assert!(!shutdown.finish().await);
        assert!(shutdown.hard().is_cancelled());
    }
}
