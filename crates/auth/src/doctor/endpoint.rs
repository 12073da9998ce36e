//! The MCP endpoint of a service, without a token: the challenge, the methods, the preflights.

use oauth::ServiceName;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ORIGIN};

use super::probe::{Answer, Prober};
use super::report::{Report, Who};
use crate::settings::Settings;

const GUARD: &str = "put the forwardAuth middleware on every route of the service, for every method, and route /mcp and /mcp/ alike";
const CORS: &str = "put the middleware mcp-cors before the forwardAuth middleware, and the client's site into MCP_CORS_ORIGINS";

/// What a browser must be shown of a 401.
const EXPOSED: [&str; 3] = ["WWW-Authenticate", "Mcp-Session-Id", "MCP-Protocol-Version"];
/// What a client in a browser must be allowed to send.
const ALLOWED: [&str; 4] = [
    "Authorization",
    "Content-Type",
    "MCP-Protocol-Version",
    "Mcp-Session-Id",
];

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcp-auth-doctor","version":"1"}}}"#;

/// `false` when the host is not reached at all.
pub(super) async fn examine(
    prober: &Prober,
    settings: &Settings,
    service: &ServiceName,
    origin: &str,
    report: &mut Report,
) -> bool {
    let host = settings.sites.service_origin(service);
    let endpoint = settings.sites.resource(service);
    let initialize = |url: &str| {
        prober
            .request(Method::POST, url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(INITIALIZE)
    };
    let first = match prober.send(initialize(&endpoint)).await {
        Ok(answer) => answer,
        Err(problem) => {
            let advice = "point the DNS name of the service's host at Traefik, and see that its certificate has the whole chain";
            let what = "the service is reached from here";
            report.broken(&host, what, problem, advice, &[Who::Everybody]);
            return false;
        }
    };
    if settings.rules.is_public(service) {
        public(prober, &host, &first, report).await;
        return true;
    }
    let metadata = settings.sites.resource_metadata(service);
    report.check(
        &host,
        "POST /mcp without a token is a 401 that says where to sign in",
        challenges(&first, &metadata),
        GUARD,
        &[Who::Everybody],
    );
    for method in [Method::GET, Method::HEAD] {
        let request = prober
            .request(method.clone(), &endpoint)
            .header(ACCEPT, "text/event-stream");
        let outcome = match prober.send(request).await {
            Err(problem) => Err(problem),
            Ok(answer) => challenges(&answer, &metadata),
        };
        let what = format!("{method} /mcp without a token is the same 401");
        report.check(&host, what, outcome, GUARD, &[Who::Claude, Who::ChatGpt]);
    }
    let with_slash = match prober.send(initialize(&format!("{endpoint}/"))).await {
        Err(problem) => Err(problem),
        Ok(answer) if answer.status == 401 => Ok(()),
        Ok(answer) => Err(format!("answers {}", answer.shown())),
    };
    report.check(
        &host,
        "POST /mcp/ is answered, not redirected",
        with_slash,
        "a redirect loses the body and the token: route /mcp/ like /mcp",
        &[Who::Claude, Who::Cursor, Who::Gemini],
    );
    let from_browser = initialize(&endpoint).header(ORIGIN, origin);
    browser(
        prober,
        &host,
        &endpoint,
        origin,
        prober.send(from_browser).await,
        report,
    )
    .await;
    true
}

/// A 401 with the way to a token (RFC 9728 section 5.1), and no `error` for who showed none (RFC 6750 section 3.1).
fn challenges(answer: &Answer, metadata: &str) -> Result<(), String> {
    match answer.status {
        401 => {}
        200..=299 => {
            return Err(format!(
                "answers {}: anybody may use this service, and clients do not sign in",
                answer.shown()
            ));
        }
        300..=399 => {
            return Err(format!(
                "answers {}: a redirect loses the body and the token",
                answer.shown()
            ));
        }
        _ => return Err(format!("answers {}", answer.shown())),
    }
    let challenge = answer
        .header("www-authenticate")
        .ok_or("the 401 has no WWW-Authenticate")?;
    let is_bearer = challenge
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    if !is_bearer {
        return Err(format!("WWW-Authenticate is {challenge:?}, not Bearer"));
    }
    if !challenge.contains(&format!("resource_metadata=\"{metadata}\"")) {
        return Err(format!(
            "WWW-Authenticate does not name {metadata}: {challenge}"
        ));
    }
    if challenge.contains("error=") {
        return Err("WWW-Authenticate calls a missing token a wrong one".to_owned());
    }
    Ok(())
}

/// A client in a browser asks before it sends, and sees only what it is shown.
async fn browser(
    prober: &Prober,
    host: &str,
    endpoint: &str,
    origin: &str,
    refused: Result<Answer, String>,
    report: &mut Report,
) {
    let preflight = prober
        .request(Method::OPTIONS, endpoint)
        .header(ORIGIN, origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type,mcp-protocol-version,mcp-session-id",
        );
    let (refused, preflight) = match (refused, prober.send(preflight).await) {
        (Ok(refused), Ok(preflight)) => (refused, preflight),
        (Err(problem), _) | (_, Err(problem)) => {
            report.broken(
                host,
                "browsers are answered",
                problem,
                CORS,
                &[Who::Browser],
            );
            return;
        }
    };
    let admits = |answer: &Answer| answer.lists("access-control-allow-origin", origin);
    if !admits(&refused) && !admits(&preflight) && preflight.status < 300 {
        report.note(
            host,
            "clients in a browser",
            format!("{origin} is not in MCP_CORS_ORIGINS, so clients that run on that site cannot use the service; --origin looks for another site"),
        );
        return;
    }
    let outcome = if preflight.status >= 300 {
        Err(format!("the preflight is answered {}", preflight.shown()))
    } else {
        let missing = ALLOWED
            .iter()
            .find(|name| !preflight.lists("access-control-allow-headers", name));
        match missing {
            None if admits(&preflight) => Ok(()),
            None => Err(format!("the preflight does not admit {origin}")),
            Some(name) => Err(format!("the preflight does not admit the header {name}")),
        }
    };
    report.check(
        host,
        "a preflight is answered without a token",
        outcome,
        CORS,
        &[Who::Browser],
    );
    let missing: Vec<&str> = EXPOSED
        .into_iter()
        .filter(|name| !refused.lists("access-control-expose-headers", name))
        .collect();
    let outcome = match (admits(&refused), missing.is_empty()) {
        (false, _) => Err(format!("the 401 does not admit {origin}")),
        (true, false) => Err(format!(
            "Access-Control-Expose-Headers of the 401 lacks {}",
            missing.join(", ")
        )),
        (true, true) => Ok(()),
    };
    report.check(
        host,
        "a browser is shown the challenge",
        outcome,
        CORS,
        &[Who::Browser],
    );
}

/// A service that everybody may use has no metadata either, or clients try to sign in all the same.
async fn public(prober: &Prober, host: &str, first: &Answer, report: &mut Report) {
    let outcome = if first.status == 401 {
        Err("asks for a token although it is public".to_owned())
    } else {
        Ok(())
    };
    report.check(
        host,
        "the public service asks for no token",
        outcome,
        "see public in [services] of gateway.toml",
        &[Who::Everybody],
    );
    let path = "/.well-known/oauth-protected-resource/mcp";
    let outcome = match prober.get(&format!("{host}{path}")).await {
        Err(problem) => Err(problem),
        Ok(answer) => answer.json(404).map(drop),
    };
    report.check(
        host,
        "the public service has no metadata of a sign-in",
        outcome,
        "let auth answer what is below /.well-known/ of the service's host",
        &[Who::Claude],
    );
}
