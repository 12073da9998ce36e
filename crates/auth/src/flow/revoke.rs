//! `/revoke` (RFC 7009).

use oauth::client::Client;
use oauth::session::Revocation;
use oauth::token::RefreshToken;
use store::Event;

use super::Refusal;
use crate::app::AppState;
use crate::audit;
use crate::keys::CheckError;

/// Ends a token. What is unknown, over, or another client's changes nothing and is not told (RFC 7009 section 2.2).
pub(crate) async fn revoke(state: &AppState, client: &Client, token: &str) -> Result<(), Refusal> {
    let now = state.clock.now();
    let lifetime = state.policy.rules().longest_access_token();
    if let Some(refresh) = RefreshToken::parse(token) {
        let Some(session) = state.store.session(&refresh.session, now).await? else {
            return Ok(());
        };
        let is_theirs = session.client_id == client.id;
        let is_genuine = session.is_genuine(&refresh, state.keys.derivation());
        if is_theirs && is_genuine {
            state
                .store
                .revoke_session(&session.id, Revocation::Requested, lifetime, now)
                .await?;
            state
                .decisions
                .learn(Event::SessionChanged(session.id.to_string()));
            tracing::info!(target: "audit", event = "session_revoked", session = %session.id, subject = %session.person.subject, client = %audit::client(&client.id), token = %audit::token(token),
                "session revoked by its client");
        }
        return Ok(());
    }
    let claims = match state.keys.check(token).await {
        Ok(claims) => claims,
        Err(CheckError::Forged | CheckError::UnknownKey(_)) => return Ok(()),
        Err(CheckError::Store(error)) => return Err(error.into()),
    };
    if claims.client_id == client.id {
        let end = oauth::Timestamp::from_second(claims.exp + oauth::claims::LEEWAY).unwrap_or(now);
        state
            .store
            .revoke_access_token(&claims.sid, &claims.jti, end, lifetime, now)
            .await?;
        state
            .decisions
            .learn(Event::SessionChanged(claims.sid.to_string()));
        tracing::info!(target: "audit", event = "token_revoked", session = %claims.sid, subject = %claims.sub, client = %audit::client(&client.id), token = %audit::token(token),
            "access token revoked by its client");
    }
    Ok(())
}
