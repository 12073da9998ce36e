//! Metadata: all forms in which clients look for it, on every host.

use oauth::{ServiceName, Sites};
use serde_json::Value;

use super::probe::{Prober, is_below};
use super::report::{Report, Who};
use crate::settings::Settings;

/// Where clients look for the metadata of the authorization server, and who (RFC 8414 section 3, OpenID Connect Discovery).
const SERVER: [(&str, &[Who]); 6] = [
    ("/.well-known/oauth-authorization-server", &[Who::Everybody]),
    (
        "/.well-known/oauth-authorization-server/mcp",
        &[Who::Claude, Who::VsCode, Who::Sdk],
    ),
    (
        "/.well-known/openid-configuration",
        &[Who::ChatGpt, Who::Sdk],
    ),
    (
        "/.well-known/openid-configuration/mcp",
        &[Who::Sdk, Who::VsCode],
    ),
    (
        "/mcp/.well-known/oauth-authorization-server",
        &[Who::Sdk, Who::Codex],
    ),
    (
        "/mcp/.well-known/openid-configuration",
        &[Who::Sdk, Who::Codex],
    ),
];

const ROUTE: &str = "route the whole of /.well-known/ and /mcp/.well-known/ of every host to auth, before any route of the MCP server";
const FOLLOWED: &str = "clients do not follow redirects here: answer where they ask";

/// The authorization server's own host. `false` when it is not reached at all.
pub(super) async fn issuer(prober: &Prober, settings: &Settings, report: &mut Report) -> bool {
    let issuer = settings.sites.issuer();
    let health = prober.get(&format!("{issuer}/health")).await;
    let reached = match health {
        Err(problem) => Err(problem),
        Ok(answer) => answer.json(200).map(drop),
    };
    let is_reached = report.check(
        &issuer,
        "the authorization server is reached from here",
        reached,
        "point the DNS name of the host at Traefik, route the host to auth, and see that its certificate has the whole chain",
        &[Who::Everybody],
    );
    if !is_reached {
        return false;
    }
    server_metadata(prober, &issuer, &settings.sites, report).await;
    missing(prober, &issuer, report).await;
    let endpoint = settings.sites.token_endpoint();
    report.check(
        &issuer,
        format!("tokens are to be had at {endpoint}"),
        takes_posts(prober, &endpoint).await,
        "route /token to auth, on 127.0.0.1, too, where there is no TLS",
        &[Who::Everybody],
    );
    let keys = match prober.get(&format!("{issuer}/jwks")).await {
        Err(problem) => Err(problem),
        Ok(answer) => answer.json(200).and_then(|keys| public_only(&keys)),
    };
    report.check(
        &issuer,
        "/jwks has the public keys and nothing private",
        keys,
        "route /jwks to auth",
        &[Who::Operator],
    );
    true
}

/// The host of a service.
pub(super) async fn service(
    prober: &Prober,
    settings: &Settings,
    service: &ServiceName,
    report: &mut Report,
) {
    let origin = settings.sites.service_origin(service);
    let issuer = settings.sites.issuer();
    for (path, resource, who) in [
        (
            "/.well-known/oauth-protected-resource/mcp",
            settings.sites.resource(service),
            &[Who::Everybody][..],
        ),
        (
            "/.well-known/oauth-protected-resource",
            origin.clone(),
            &[Who::Codex, Who::ClaudeCode, Who::Sdk][..],
        ),
    ] {
        let outcome = match prober.get(&format!("{origin}{path}")).await {
            Err(problem) => Err(problem),
            Ok(answer) => answer.json(200).and_then(|metadata| {
                equals(&metadata, "resource", &resource)?;
                let servers = metadata.get("authorization_servers");
                if servers == Some(&Value::from(vec![issuer.clone()])) {
                    Ok(())
                } else {
                    Err(format!(
                        "authorization_servers is {}, not [\"{issuer}\"]",
                        servers.unwrap_or(&Value::Null)
                    ))
                }
            }),
        };
        report.check(
            &origin,
            format!("{path} names the resource that was asked for"),
            outcome,
            ROUTE,
            who,
        );
    }
    // Some look only on the service's own host, whatever the resource metadata say.
    server_metadata(prober, &origin, &settings.sites, report).await;
    missing(prober, &origin, report).await;
    for (path, who) in [
        ("/register", &[Who::Claude][..]),
        ("/token", &[Who::Claude][..]),
    ] {
        report.check(
            &origin,
            format!("{path} is there, for clients that invent it on the service's host"),
            takes_posts(prober, &format!("{origin}{path}")).await,
            "route /authorize, /token and /register of every service's host to auth",
            who,
        );
    }
}

/// An empty request is refused with a reason, by us.
async fn takes_posts(prober: &Prober, url: &str) -> Result<(), String> {
    let request = prober.request(reqwest::Method::POST, url).body("");
    match prober.send(request).await? {
        answer if answer.status == 429 => Ok(()),
        answer if (400..500).contains(&answer.status) && answer.status != 404 => {
            answer.json(answer.status).map(drop)
        }
        answer => Err(format!("answers {}", answer.shown())),
    }
}

/// Every form leads to one document, the right one.
async fn server_metadata(prober: &Prober, host: &str, sites: &Sites, report: &mut Report) {
    for (path, who) in SERVER {
        let (outcome, advice) = match prober.get(&format!("{host}{path}")).await {
            Err(problem) => (Err(problem), ROUTE),
            Ok(answer) if (300..400).contains(&answer.status) => {
                (Err(format!("answers {}", answer.shown())), FOLLOWED)
            }
            Ok(answer) => (
                answer
                    .json(200)
                    .and_then(|metadata| is_consistent(&metadata, sites)),
                ROUTE,
            ),
        };
        report.check(host, path, outcome, advice, who);
    }
}

/// What is not there is a JSON 404: a page, a 401 or a redirect is taken for an answer.
async fn missing(prober: &Prober, host: &str, report: &mut Report) {
    let path = "/.well-known/oauth-doctor-was-here";
    let outcome = match prober.get(&format!("{host}{path}")).await {
        Err(problem) => Err(problem),
        Ok(answer) => answer.json(404).map(drop),
    };
    report.check(
        host,
        "a well-known address that is not there is a JSON 404",
        outcome,
        ROUTE,
        &[Who::Claude, Who::Sdk],
    );
}

fn is_consistent(metadata: &Value, sites: &Sites) -> Result<(), String> {
    let issuer = sites.issuer();
    equals(metadata, "issuer", &issuer)?;
    equals(metadata, "token_endpoint", &sites.token_endpoint())?;
    for endpoint in [
        "authorization_endpoint",
        "registration_endpoint",
        "jwks_uri",
    ] {
        let url = metadata.get(endpoint).and_then(Value::as_str);
        if !url.is_some_and(|url| is_below(url, &issuer)) {
            return Err(format!(
                "{endpoint} is {}, not below {issuer}",
                url.unwrap_or("missing")
            ));
        }
    }
    let methods = metadata.get("code_challenge_methods_supported");
    if methods == Some(&Value::from(vec!["S256"])) {
        Ok(())
    } else {
        Err("code_challenge_methods_supported is not [\"S256\"]; clients refuse a server that does not name it".to_owned())
    }
}

/// Character for character: clients compare so.
fn equals(metadata: &Value, member: &str, expected: &str) -> Result<(), String> {
    match metadata.get(member).and_then(Value::as_str) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("{member} is {found}, not {expected}")),
        None => Err(format!("{member} is missing")),
    }
}

fn public_only(keys: &Value) -> Result<(), String> {
    let keys = keys.get("keys").and_then(Value::as_array);
    let keys = keys
        .filter(|keys| !keys.is_empty())
        .ok_or("there are no keys")?;
    let secret = ["d", "p", "q", "dp", "dq", "qi", "k"];
    let shows = |key: &Value| secret.iter().any(|name| key.get(name).is_some());
    if keys.iter().any(shows) {
        return Err("PRIVATE parts of a key are published".to_owned());
    }
    Ok(())
}
