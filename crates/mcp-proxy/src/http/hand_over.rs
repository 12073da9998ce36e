//! Requests for what another replica has: handed to it as they came, its answer streamed back as it comes
//! (docs/decisions/0018).

use std::sync::Arc;

use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chassis::telemetry::REQUEST_ID_HEADER;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use tracing::{debug, warn};

use crate::app::State;
use crate::http::error::Refusal;
use crate::http::headers::SESSION_ID;
use crate::http::named;
use crate::http::origin::single;
use crate::http::post;
use crate::http::relay::{self, Kind};
use crate::identity::Identity;
use crate::replicas::{Failure, HANDED_OVER_BY, Owner, Peer, Replicas};
use crate::session::Session;

/// Where a session is.
#[derive(Debug)]
pub enum Place {
    /// In this process.
    Here(Arc<Session>),
    /// In another replica, if it is anywhere.
    There(Elsewhere),
}

/// Another replica, which has what a request is for.
#[derive(Debug)]
pub struct Elsewhere {
    replicas: Arc<Replicas>,
    peer: Peer,
}

/// The session of a request, if it is the caller's; another replica looks for itself.
pub async fn session(
    request: &HttpRequest,
    state: &State,
    identity: Option<&Identity>,
) -> Result<Place, Refusal> {
    let refusal = match post::session(request, state, identity) {
        Ok(session) => return Ok(Place::Here(session)),
        Err(refusal) => refusal,
    };
    if !matches!(refusal, Refusal::SessionUnknown) {
        return Err(refusal);
    }
    let id =
        single(request.headers(), &SESSION_ID).map_err(|_| Refusal::BadHeader("Mcp-Session-Id"))?;
    let owner = elsewhere(request, state, id.unwrap_or_default()).await;
    owner.map(Place::There).ok_or(refusal)
}

/// The other replica whose session or parked call this is.
pub async fn elsewhere(request: &HttpRequest, state: &State, id: &str) -> Option<Elsewhere> {
    let replicas = state.replicas.as_ref()?;
    let by = request.headers().get(HANDED_OVER_BY);
    let by = by.and_then(|value| value.to_str().ok());
    match Box::pin(replicas.owner(id, by)).await {
        Owner::There(peer) => Some(Elsewhere {
            replicas: Arc::clone(replicas),
            peer,
        }),
        Owner::Here => None,
        Owner::Nobody => {
            replicas.counted.owner_unknown.inc();
            None
        }
    }
}

impl Elsewhere {
    /// Hands a message over. `gone`: the refusal if the replica is not there any more.
    pub async fn message(
        self,
        request: &HttpRequest,
        text: &str,
        gone: Refusal,
    ) -> Result<HttpResponse, Refusal> {
        let in_flight = self.replicas.begin();
        let body = Bytes::copy_from_slice(text.as_bytes());
        let (answer, replicas) = self.send(request, body, gone).await?;
        Ok(relay::answer(answer, Kind::Call(in_flight), replicas))
    }

    /// Hands a GET or a DELETE over.
    pub async fn bare(self, request: &HttpRequest, state: &State) -> Result<HttpResponse, Refusal> {
        let gone = Refusal::SessionUnknown;
        let (answer, replicas) = self.send(request, Bytes::new(), gone).await?;
        // What only listens goes on through another replica when this one stops.
        let stop = state.stopping.clone().cancelled_owned();
        Ok(relay::answer(
            answer,
            Kind::Listener(Box::pin(stop)),
            replicas,
        ))
    }

    async fn send(
        self,
        request: &HttpRequest,
        body: Bytes,
        gone: Refusal,
    ) -> Result<(hyper::Response<Incoming>, Arc<Replicas>), Refusal> {
        let Self { replicas, peer } = self;
        let mut headers = headers(request.headers(), replicas.name().as_str());
        // Both logs name it alike.
        let id = named::request_id(request).map(|id| id.as_header());
        if let Some(Ok(id)) = id.map(|id| HeaderValue::from_bytes(id.as_bytes())) {
            headers.insert(REQUEST_ID_HEADER, id);
        }
        let method = hyper::Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|_| Refusal::MethodNotAllowed)?;
        debug!(to = %peer.address, "handing a request over");
        let sent = replicas
            .client
            .send(peer.address, method, "/mcp", headers, body);
        match Box::pin(sent).await {
            Ok(answer) => {
                replicas.counted.answered.inc();
                Ok((answer, replicas))
            }
            Err(Failure::Unreachable) => {
                warn!(replica = %peer.address, "a replica is gone, and with it what a request was for");
                replicas.counted.unreachable.inc();
                replicas.gone(&peer);
                Err(gone)
            }
            Err(Failure::Broken) => {
                replicas.counted.broken.inc();
                Err(Refusal::ReplicaLost)
            }
        }
    }
}

/// The headers of a request as they came, but for those of its connection.
fn headers(came: &HeaderMap, by: &str) -> hyper::HeaderMap {
    let named: Vec<&str> = came
        .get_all(CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let mut headers = hyper::HeaderMap::with_capacity(came.len());
    for (name, value) in came {
        let dropped = relay::is_of_connection(name)
            || [CONTENT_LENGTH, EXPECT].contains(name)
            || named
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name.as_str()));
        if dropped {
            continue;
        }
        // Both libraries have the same rules for headers, each in its own types.
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let Ok(by) = HeaderValue::from_str(by) {
        headers.insert(HANDED_OVER_BY, by);
    }
    headers
}
