//! What comes before everything else where `IDENTITY_FROM` is set: whether the other side of the connection may say who
//! calls. A replica may, when it hands a request over; and replicas may ask each other for their names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::web::Data;
use tokio::time::Instant;
use tracing::warn;

use crate::app::State;
use crate::http::error::Refusal;
use crate::replicas::{self, HANDED_OVER_BY};
use crate::request_id::{REQUEST_ID, RequestId};
use crate::senders::{IDENTITY_FROM, Senders};

/// How often an address that is refused is told of.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Addresses that are remembered as told at most.
const MOST_TOLD: usize = 1024;

/// Lets nobody in but those who may say who calls.
#[derive(Debug)]
pub struct Gate {
    senders: Senders,
    /// When it was last told that an address was refused.
    told: Mutex<HashMap<IpAddr, Instant>>,
}

impl Gate {
    /// A gate for these.
    #[must_use]
    pub fn new(senders: Senders) -> Self {
        Self {
            senders,
            told: Mutex::default(),
        }
    }

    /// Is this address to be told of? `false` if it was less than a minute ago.
    fn tells(&self, peer: IpAddr, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |last: &Instant| now.duration_since(*last) < TOLD_EVERY;
        if told.get(&peer).is_some_and(recent) {
            return false;
        }
        told.retain(|_, last| recent(last));
        if told.len() == MOST_TOLD {
            return false;
        }
        told.insert(peer, now);
        true
    }
}

/// The middleware. 403 for everybody else, whatever they ask for.
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let state = request.app_data::<Data<State>>();
    let gate = state.and_then(|state| Some((state, state.gate.as_ref()?)));
    let Some((state, gate)) = gate else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let peer = request
        .peer_addr()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip())
        .to_canonical();
    if gate.senders.are_known_at(peer)
        || is_replica(state, &request, peer).await
        || gate.senders.are_at(peer).await
    {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    // Nothing that came is looked at, not even the id that it may have.
    let id = RequestId::of(&HeaderMap::new());
    if gate.tells(peer, Instant::now()) {
        warn!(
            request_id = %id,
            %peer,
            setting = IDENTITY_FROM,
            allowed = ?state.config.identity_from,
            "refused a request: this address is none of those that may send identity headers; told once a minute"
        );
    }
    let mut response = Refusal::NotFromGateway.answer(None);
    response.headers_mut().insert(REQUEST_ID, id.as_header());
    Ok(request.into_response(response).map_into_right_body())
}

/// Is this a request between replicas? One is handed over by a peer that answers at this address, or asks for our name.
async fn is_replica(state: &State, request: &ServiceRequest, peer: IpAddr) -> bool {
    let Some(replicas) = &state.replicas else {
        return false;
    };
    match request.headers().get(HANDED_OVER_BY) {
        Some(name) => match name.to_str() {
            Ok(name) => replicas.is_peer(name, peer).await,
            Err(_) => false,
        },
        None => request.path() == replicas::PATH && replicas.may_be_at(peer).await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::senders::Named;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn an_address_is_told_of_once_a_minute_and_few_are_remembered() {
        let gate = Gate::new(Senders::start(Named::default(), &Handle::current()));
        let start = Instant::now();
        let peer = |last: u32| IpAddr::from((0x0a00_0000 + last).to_be_bytes());
        assert!(gate.tells(peer(1), start));
        assert!(!gate.tells(peer(1), start + 59 * SECOND));
        assert!(gate.tells(peer(1), start + 60 * SECOND));
        for other in 2..5000 {
            gate.tells(peer(other), start + 61 * SECOND);
        }
        assert_eq!(gate.told.lock().unwrap().len(), MOST_TOLD);
        assert!(gate.tells(peer(5000), start + 200 * SECOND));
        assert_eq!(gate.told.lock().unwrap().len(), 1);
    }
}
