//! `grant_type=authorization_code` (OAuth 2.1 section 4.1.3).

use oauth::ErrorCode;
use oauth::client::Client;
use oauth::pkce::CodeVerifier;
use oauth::session::{self, Revocation};
use oauth::token::AuthorizationCode;
use store::{Event, Redemption};

use super::{
    TokenAnswer, answer, check_grant, check_resources, end_session, is_since_registration,
    is_welcome, lifetimes,
};
use crate::app::AppState;
use crate::audit;
use crate::flow::Refusal;

/// What a client sends with a code.
pub(crate) struct CodeGrant<'a> {
    pub(crate) code: &'a str,
    pub(crate) verifier: &'a str,
    pub(crate) redirect_uri: Option<&'a str>,
    pub(crate) resources: &'a [String],
}

/// Redeems a code. Wrong, spent, expired and foreign codes get the same answer.
pub(crate) async fn exchange_code(
    state: &AppState,
    client: &Client,
    grant: &CodeGrant<'_>,
) -> Result<TokenAnswer, Refusal> {
    let refused = || {
        Refusal::told(
            ErrorCode::InvalidGrant,
            "the code is wrong, spent or expired, or was issued for another client, redirect_uri or code_verifier",
        )
    };
    check_grant(client.metadata.may_use_codes(), "authorization_code")?;
    let code = AuthorizationCode::parse(grant.code).ok_or_else(refused)?;
    let verifier = CodeVerifier::parse(grant.verifier).ok_or_else(|| {
        Refusal::told(
            ErrorCode::InvalidRequest,
            "code_verifier must be 43 to 128 unreserved characters",
        )
    })?;
    let now = state.clock.now();
    let session = state
        .store
        .session(&code.session, now)
        .await?
        .filter(|session| is_since_registration(session, client))
        .ok_or_else(refused)?;
    // Only who holds the code may learn what it is for.
    if session.is_code_of(&code, &client.id) {
        check_resources(state, &session, grant.resources)?;
        if !is_welcome(state, &session, now).await? {
            end_session(state, &session, Revocation::PersonRefused, now).await?;
            tracing::warn!(target: "audit", event = "code_refused", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), token = %audit::token(grant.code),
                "a code is refused: this person may not come in any more");
            return Err(refused());
        }
    }
    let lifetimes = lifetimes(state, &session);
    let attempt = session::Redemption {
        code: &code,
        client_id: &client.id,
        redirect_uri: grant.redirect_uri,
        verifier: &verifier,
    };
    let redeemed = state
        .store
        .redeem_code(
            &attempt,
            lifetimes.session,
            lifetimes.access_token,
            now,
            state.entropy.as_ref(),
        )
        .await?;
    match redeemed {
        Redemption::Granted(session) => {
            let answer = answer(state, client, &session, None, now)?;
            tracing::info!(target: "audit", event = "token_issued", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), service = %session.service, token = %audit::token(&answer.access_token), "tokens issued");
            Ok(answer)
        }
        Redemption::Replayed(session) => {
            state
                .decisions
                .learn(Event::SessionChanged(session.id.to_string()));
            tracing::warn!(target: "audit", event = "code_reused", session = %session.id, subject = %session.person.subject,
                client = %audit::client(&client.id), token = %audit::token(grant.code), "a code was presented again: its session is revoked");
            Err(refused())
        }
        Redemption::Refused | Redemption::Unknown => Err(refused()),
    }
}
