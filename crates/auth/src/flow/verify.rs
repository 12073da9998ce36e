//! `/verify`: may the holder of this token use this service? The hot path of the gateway.

use std::sync::Arc;

use oauth::claims::{AccessClaims, InvalidClaims};
use oauth::{ServiceName, Timestamp};
use sha2::{Digest as _, Sha256};
use store::StoreError;

use super::decisions::{Decision, Fingerprint, Refused};
use crate::app::AppState;
use crate::counted::Verified;
use crate::keys::CheckError;

/// Why not.
#[derive(Debug)]
pub(crate) enum VerifyError {
    /// 401: malformed, forged, expired, revoked, or for another service.
    InvalidToken,
    /// 403: good, but without all the scopes that the service needs.
    InsufficientScope,
    /// 503.
    Store(StoreError),
    /// 503, at once: too many others wait for the store.
    Busy,
}

/// Decides. A token is known by its SHA-256 from an earlier check, as a good one or as one that never can be, or its signature,
/// its claims and then the store are asked, in this order: a forged token never reaches the store.
pub(crate) async fn verify(
    state: &AppState,
    token: &str,
    service: &ServiceName,
) -> Result<Arc<Decision>, VerifyError> {
    let now = state.clock.now();
    let fingerprint: Fingerprint = Sha256::digest(token.as_bytes()).into();
    if let Some(decision) = state.decisions.get(&fingerprint) {
        if decision.service != *service {
            return Err(VerifyError::InvalidToken);
        }
        if decision.holds(now) {
            state.counted.verified(Verified::Remembered);
            return Ok(decision);
        }
    }
    if state
        .decisions
        .is_refused(&fingerprint, now, state.keys.ring_number())
    {
        return Err(VerifyError::InvalidToken);
    }
    let begun = state.decisions.begin();
    let claims = state.keys.check(token).await.map_err(|error| match error {
        CheckError::Forged => {
            state.decisions.refuse(fingerprint, Refused::From(i64::MIN));
            VerifyError::InvalidToken
        }
        CheckError::UnknownKey(looked) => {
            let refused = Refused::OnRing(looked.ring, looked.again_at);
            state.decisions.refuse(fingerprint, refused);
            VerifyError::InvalidToken
        }
        CheckError::Store(error) => VerifyError::Store(error),
    })?;
    claims
        .check(&state.issuer, &state.sites().resource(service), now)
        .map_err(|error| {
            if error == InvalidClaims::Expired {
                let refused = Refused::From(claims.counts_until());
                state.decisions.refuse(fingerprint, refused);
            }
            VerifyError::InvalidToken
        })?;
    // What was found good before needs no place, so a store that hangs stops nobody who is known.
    let _place = state
        .verifying
        .try_acquire()
        .map_err(|_| VerifyError::Busy)?;
    let alive = alive(state, &claims, service, now)
        .await
        .map_err(VerifyError::Store)?
        .ok_or(VerifyError::InvalidToken)?;
    // Loaded after the decision was begun: rules that change in between keep it from being remembered.
    let rules = state.policy.rules();
    // Last, so that a token which is bad in two ways is told as bad and not as narrow.
    if !rules.needed_scopes(service).is_subset(&claims.scope) {
        return Err(VerifyError::InsufficientScope);
    }
    let decision = Arc::new(Decision {
        service: service.clone(),
        scope: claims.scope.to_string(),
        holds_until: alive.until(&claims),
        claims,
    });
    state
        .decisions
        .remember(fingerprint, Arc::clone(&decision), begun);
    state.counted.verified(Verified::Allowed);
    Ok(decision)
}

/// What the store says of a token that counts.
pub(crate) struct Alive {
    /// The instant at which something ends on which it rests, unless it is prolonged before.
    until: Option<Timestamp>,
}

impl Alive {
    /// The second from which on the store must be asked again.
    fn until(&self, claims: &AccessClaims) -> i64 {
        let end = claims.counts_until();
        self.until.map_or(end, |until| until.as_second().min(end))
    }
}

/// Whether the session behind a token of ours for this service is found alive, and whoever it belongs to may still use the
/// service. `None`: not.
pub(crate) async fn alive(
    state: &AppState,
    claims: &AccessClaims,
    service: &ServiceName,
    now: Timestamp,
) -> Result<Option<Alive>, StoreError> {
    if claims.sub.is_client() {
        return machine_alive(state, claims, service, now).await;
    }
    let living = state
        .store
        .living_person(
            &claims.sid,
            &claims.jti,
            &claims.client_id,
            &claims.sub,
            now,
        )
        .await?;
    let rules = state.policy.rules();
    // A service that was removed meanwhile has no rules any more, which is not to admit everybody.
    let living =
        living.filter(|living| rules.sites().has(service) && rules.admits(&living.person, service));
    Ok(living.map(|living| Alive {
        until: living.until,
    }))
}

/// The same for an operator's client, which never ends by itself: it must be there, and the service must still be among its
/// services.
async fn machine_alive(
    state: &AppState,
    claims: &AccessClaims,
    service: &ServiceName,
    now: Timestamp,
) -> Result<Option<Alive>, StoreError> {
    let id = &claims.client_id;
    let Some(client) = state.policy.client(&state.store, id, now).await? else {
        return Ok(None);
    };
    let Some(session) = state.store.session(&claims.sid, now).await? else {
        return Ok(None);
    };
    let may_use = client
        .operator
        .as_ref()
        .is_some_and(|rights| rights.services.contains(service));
    let is_theirs = session.is_machine() && session.client_id == client.id;
    let is_after_creation = session.created_at >= client.issued_at;
    let stands = session.service == *service && session.admits_token(&claims.jti, now);
    let is_alive = may_use && is_theirs && is_after_creation && stands;
    Ok(is_alive.then(|| Alive {
        until: session.ends_at(),
    }))
}
