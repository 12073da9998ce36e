//! The HTTP client that reaches the other replicas, and nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::rt::Executor;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use tokio::runtime::Handle;

use super::{LEAVING, Name, PATH};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a replica may take to say its name.
const ASK: Duration = Duration::from_secs(1);
/// Bytes of a name, with room.
const LONGEST_NAME: usize = 64;
/// How long a connection is kept for the next request. Less than the other side keeps it (5 s), so that no request meets
/// its end.
const IDLE: Duration = Duration::from_secs(3);
/// Connections kept for each replica.
const KEPT: usize = 64;
/// After which silence the machine of a replica is asked whether it is there, how often and how many times: an answer may
/// take long, and a machine that is gone ends no connection.
const SILENCE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// The client.
#[derive(Clone, Debug)]
pub struct Client(Pool<HttpConnector, Full<Bytes>>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there: the request was not sent.
    Unreachable,
    /// The connection broke before the answer.
    Broken,
}

/// What came of asking somebody for their name.
#[derive(Debug)]
pub(super) enum Asked {
    /// A replica.
    Named(Name),
    /// Nobody, or something else.
    Nobody,
    /// It took too long.
    Silent,
}

/// Runs connections in the runtime of the process: they outlive the worker that asked for them.
#[derive(Clone, Debug)]
struct OnRuntime(Handle);

impl<F> Executor<F> for OnRuntime
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

impl Client {
    pub(super) fn new(runtime: Handle) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(SILENCE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(PROBES));
        let mut builder = Pool::builder(OnRuntime(runtime));
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT);
        Self(builder.build(connector))
    }

    /// Sends a request to a replica. Dropping the answer, or waiting for it no longer, ends the connection.
    pub async fn send(
        &self,
        to: SocketAddr,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{to}{path}")
            .parse()
            .map_err(|_| Failure::Unreachable)?;
        *request.headers_mut() = headers;
        self.0.request(request).await.map_err(|error| {
            if error.is_connect() {
                Failure::Unreachable
            } else {
                Failure::Broken
            }
        })
    }

    /// Tells a replica that this one, of the name `own`, ends.
    pub(super) async fn goodbye(&self, address: SocketAddr, own: &Name) {
        let mut headers = HeaderMap::new();
        if let Ok(own) = own.as_str().parse() {
            headers.insert(LEAVING, own);
        }
        let sent = self.send(address, Method::GET, PATH, headers, Bytes::new());
        // Who does not answer sends nothing either.
        drop(tokio::time::timeout(ASK, sent).await);
    }

    /// Asks whoever is there for their name.
    pub(super) async fn ask(&self, address: SocketAddr) -> Asked {
        let answer = async {
            let answer = self
                .send(address, Method::GET, PATH, HeaderMap::new(), Bytes::new())
                .await
                .ok()?;
            let text = Limited::new(answer.into_body(), LONGEST_NAME)
                .collect()
                .await
                .ok()?
                .to_bytes();
            Name::parse(std::str::from_utf8(&text).ok()?)
        };
        match tokio::time::timeout(ASK, answer).await {
            Ok(Some(name)) => Asked::Named(name),
            Ok(None) => Asked::Nobody,
            Err(_) => Asked::Silent,
        }
    }
}
