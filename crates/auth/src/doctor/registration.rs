//! Registers a client as clients do, looks at the answer, and deletes it again.

use reqwest::Method;
use serde_json::{Value, json};

use super::probe::{Prober, is_below};
use super::report::{Report, Who};
use crate::settings::Settings;

/// What clients insist on in the answer (RFC 7591 section 3.2.1); some fail on null.
const NEEDED: [&str; 6] = [
    "client_id",
    "client_id_issued_at",
    "redirect_uris",
    "grant_types",
    "response_types",
    "token_endpoint_auth_method",
];

const ADVICE: &str = "route /register and /register/ of the authorization server's host to auth, with POST, GET, PUT and DELETE";

pub(super) async fn examine(prober: &Prober, settings: &Settings, report: &mut Report) {
    let issuer = settings.sites.issuer();
    let request = prober
        .request(Method::POST, &format!("{issuer}/register"))
        .json(&json!({
            "client_name": "mcp-auth doctor",
            "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "none",
        }));
    let registered = match prober.send(request).await {
        Err(problem) => Err(problem),
        Ok(answer) => answer.json(201),
    };
    let registered = match registered {
        Ok(registered) => registered,
        Err(problem) => {
            let what = "a client can register";
            report.broken(&issuer, what, problem, ADVICE, &[Who::Everybody]);
            return;
        }
    };
    let missing = NEEDED
        .iter()
        .find(|member| registered.get(member).is_none_or(Value::is_null));
    let outcome = missing.map_or(Ok(()), |member| Err(format!("the answer has no {member}")));
    report.check(
        &issuer,
        "a client can register",
        outcome,
        ADVICE,
        &[Who::Everybody],
    );
    let text = |member: &str| registered.get(member).and_then(Value::as_str);
    let outcome = match (
        text("registration_client_uri"),
        text("registration_access_token"),
    ) {
        (Some(uri), Some(token)) if is_below(uri, &issuer) => {
            let request = prober.request(Method::DELETE, uri).bearer_auth(token);
            match prober.send(request).await {
                Err(problem) => Err(problem),
                Ok(answer) if answer.status == 204 => Ok(()),
                Ok(answer) => Err(format!("answers {}", answer.shown())),
            }
        }
        _ => Err("the answer names no registration_client_uri of this server".to_owned()),
    };
    report.check(
        &issuer,
        "and end its registration again",
        outcome,
        ADVICE,
        &[Who::Operator],
    );
}
