//! `/verify`: may the holder of this token use this service? The hot path of the gateway.

use std::sync::Arc;

use oauth::claims::{AccessClaims, InvalidClaims};
use oauth::{ServiceName, Timestamp};
use sha2::{Digest as _, Sha256};
use store::StoreError;

use super::decisions::{Decision, Fingerprint};
use crate::app::AppState;
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
        let is_good = decision.service == *service && !decision.is_over(now);
        return if is_good {
            state.counted.verified_from_memory();
            Ok(decision)
        } else {
            Err(VerifyError::InvalidToken)
        };
    }
    if state.decisions.is_refused(&fingerprint, now) {
        return Err(VerifyError::InvalidToken);
    }
    let begun = state.decisions.begin();
    let claims = state.keys.check(token).await.map_err(|error| match error {
        CheckError::Forged => {
            state.decisions.refuse(fingerprint, i64::MIN);
            VerifyError::InvalidToken
        }
        CheckError::UnknownKey => VerifyError::InvalidToken,
        CheckError::Store(error) => VerifyError::Store(error),
    })?;
    claims
        .check(&state.issuer, &state.sites.resource(service), now)
        .map_err(|error| {
            if error == InvalidClaims::Expired {
                state.decisions.refuse(fingerprint, claims.counts_until());
            }
            VerifyError::InvalidToken
        })?;
    // What was found good before needs no place, so a store that hangs stops nobody who is known.
    let _place = state
        .verifying
        .try_acquire()
        .map_err(|_| VerifyError::Busy)?;
    let is_alive = is_alive(state, &claims, service, now)
        .await
        .map_err(VerifyError::Store)?;
    if !is_alive {
        return Err(VerifyError::InvalidToken);
    }
    // Loaded after the decision was begun: rules that change in between keep it from being remembered.
    let rules = state.policy.rules();
    // Last, so that a token which is bad in two ways is told as bad and not as narrow.
    if !rules.needed_scopes(service).is_subset(&claims.scope) {
        return Err(VerifyError::InsufficientScope);
    }
    let decision = Arc::new(Decision {
        service: service.clone(),
        scope: claims.scope.to_string(),
        claims,
    });
    state
        .decisions
        .remember(fingerprint, Arc::clone(&decision), begun);
    state.counted.verified("allowed");
    Ok(decision)
}

/// Whether the session behind a token of ours for this service is found alive, and whoever it belongs to may still use the
/// service.
pub(crate) async fn is_alive(
    state: &AppState,
    claims: &AccessClaims,
    service: &ServiceName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if claims.sub.is_client() {
        return is_machine_alive(state, claims, service, now).await;
    }
    let person = state
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
    Ok(person.is_some_and(|person| rules.admits(&person, service)))
}

/// The same for an operator's client: it must be there, and the service must still be among its services.
async fn is_machine_alive(
    state: &AppState,
    claims: &AccessClaims,
    service: &ServiceName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = &claims.client_id;
    let Some(client) = state.policy.client(&state.store, id, now).await? else {
        return Ok(false);
    };
    let Some(session) = state.store.session(&claims.sid, now).await? else {
        return Ok(false);
    };
    let may_use = client
        .operator
        .as_ref()
        .is_some_and(|rights| rights.services.contains(service));
    let is_theirs = session.is_machine() && session.client_id == client.id;
    let is_after_creation = session.created_at >= client.issued_at;
    let stands = session.service == *service && session.admits_token(&claims.jti, now);
    Ok(may_use && is_theirs && is_after_creation && stands)
}
