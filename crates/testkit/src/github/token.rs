//! The exchange of a code for an access token.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::authorize::complain;
use super::{AccessToken, CLIENT_ID, CLIENT_SECRET, Shared, State};

/// The body of the request.
#[derive(Debug, Default, Deserialize)]
struct Exchange {
    client_id: Option<String>,
    client_secret: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
}

/// Why no token comes; GitHub names it with status 200.
struct Refusal {
    error: &'static str,
    description: &'static str,
    anchor: &'static str,
}

const BAD_CODE: Refusal = Refusal {
    error: "bad_verification_code",
    description: "The code passed is incorrect or expired.",
    anchor: "bad-verification-code",
};
const BAD_CREDENTIALS: Refusal = Refusal {
    error: "incorrect_client_credentials",
    description: "The client_id and/or client_secret passed are incorrect.",
    anchor: "incorrect-client-credentials",
};
const BAD_REDIRECT: Refusal = Refusal {
    error: "redirect_uri_mismatch",
    description: "The redirect_uri MUST match the registered callback URL for this application.",
    anchor: "redirect-uri-mismatch",
};

/// `POST /login/oauth/access_token`.
pub(super) async fn redeem(
    shared: web::Data<Shared>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let mut state = shared.lock();
    let json_body = header(&request, &CONTENT_TYPE).starts_with("application/json");
    let exchange = if json_body {
        serde_json::from_slice(&body).unwrap_or_default()
    } else {
        serde_urlencoded::from_bytes(&body).unwrap_or_default()
    };
    let answer = match exchange_code(&mut state, &exchange) {
        Ok((token, scope)) => vec![
            ("access_token", token),
            ("scope", scope),
            ("token_type", "bearer".to_owned()),
        ],
        Err(refusal) => vec![
            ("error", refusal.error.to_owned()),
            ("error_description", refusal.description.to_owned()),
            (
                "error_uri",
                format!(
                    "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#{}",
                    refusal.anchor
                ),
            ),
        ],
    };
    if header(&request, &ACCEPT).contains("application/json") {
        let object: serde_json::Map<String, serde_json::Value> = answer
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        HttpResponse::Ok().json(object)
    } else {
        // Who does not ask for JSON gets a form, as at GitHub.
        HttpResponse::Ok()
            .content_type("application/x-www-form-urlencoded; charset=utf-8")
            .body(serde_urlencoded::to_string(answer).unwrap_or_default())
    }
}

fn exchange_code(state: &mut State, exchange: &Exchange) -> Result<(String, String), Refusal> {
    let known = exchange.client_id.as_deref() == Some(CLIENT_ID);
    let secret = exchange.client_secret.as_deref() == Some(CLIENT_SECRET);
    if !(known && secret) {
        complain(state, "access_token: wrong client_id or client_secret");
        return Err(BAD_CREDENTIALS);
    }
    // A code is taken when it is presented: it never works twice.
    let code = exchange.code.as_deref().unwrap_or_default();
    let Some(grant) = state.codes.remove(code) else {
        complain(state, "access_token: unknown or used code");
        return Err(BAD_CODE);
    };
    if exchange
        .redirect_uri
        .as_ref()
        .is_some_and(|uri| *uri != grant.redirect_uri)
    {
        complain(
            state,
            "access_token: another redirect_uri than at authorize",
        );
        return Err(BAD_REDIRECT);
    }
    let verifier = exchange.code_verifier.as_deref().unwrap_or_default();
    if URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != grant.code_challenge {
        complain(
            state,
            "access_token: code_verifier does not fit the challenge",
        );
        return Err(BAD_CODE);
    }
    let token = state.issue("gho");
    state.tokens.insert(
        token.clone(),
        AccessToken {
            login: grant.login,
            scope: grant.scope.clone(),
        },
    );
    Ok((token, grant.scope))
}

fn header<'a>(request: &'a HttpRequest, name: &actix_web::http::header::HeaderName) -> &'a str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
