//! What browsers are let see and send.

use anyhow::Result;
use testkit::raw;

use crate::traefik::Edge;

/// Whose pages may read answers.
const ORIGIN: &str = "http://inspector.localhost:6274";

/// Every request without a token is refused, as auth does it.
async fn refusing() -> Result<Edge> {
    let edge = Edge::start_with(&[("MCP_CORS_ORIGINS", ORIGIN)]).await?;
    edge.auth.set_answer(raw::answer(
        "401 Unauthorized",
        &[("WWW-Authenticate", "Bearer")],
    ));
    Ok(edge)
}

#[tokio::test]
async fn a_preflight_never_meets_auth_and_refusals_can_be_read_by_browsers() -> Result<()> {
    let edge = refusing().await?;
    let from = format!("Origin: {ORIGIN}");
    let preflight = edge
        .send(
            "OPTIONS /mcp HTTP/1.1",
            &[
                "Host: mcp-fetch.localhost",
                &from,
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: authorization,content-type,mcp-protocol-version",
            ],
        )
        .await?;
    assert!(matches!(raw::status(&preflight), 200 | 204), "{preflight}");
    assert_eq!(
        raw::header(&preflight, "access-control-allow-origin"),
        [ORIGIN],
        "{preflight}"
    );
    let allowed = raw::header(&preflight, "access-control-allow-headers")
        .join(",")
        .to_lowercase();
    for name in [
        "authorization",
        "content-type",
        "mcp-protocol-version",
        "mcp-session-id",
        "mcp-method",
        "mcp-name",
        "last-event-id",
    ] {
        assert!(allowed.contains(name), "{name} in {preflight}");
    }
    assert_eq!(edge.auth.take_requests(), Vec::<String>::new());

    let refused = edge.post(&[&from]).await?;
    assert_eq!(raw::status(&refused), 401, "{refused}");
    assert_eq!(
        raw::header(&refused, "access-control-allow-origin"),
        [ORIGIN],
        "{refused}"
    );
    let exposed = raw::header(&refused, "access-control-expose-headers")
        .join(",")
        .to_lowercase();
    for name in ["www-authenticate", "mcp-session-id", "mcp-protocol-version"] {
        assert!(exposed.contains(name), "{name} in {refused}");
    }
    // A foreign page is told nothing that would let it read the answer.
    let foreign = edge.post(&["Origin: http://evil.example"]).await?;
    assert!(
        raw::header(&foreign, "access-control-allow-origin").is_empty(),
        "{foreign}"
    );
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn browsers_are_told_headers_by_name_at_every_open_endpoint() -> Result<()> {
    let edge = refusing().await?;
    let from = format!("Origin: {ORIGIN}");
    for (path, method) in [
        ("/register", "POST"),
        ("/register/mcp-x", "GET"),
        ("/register/mcp-x", "PUT"),
        ("/register/mcp-x", "DELETE"),
        ("/token", "POST"),
        ("/revoke", "POST"),
        ("/introspect", "POST"),
        ("/device_authorization", "POST"),
        ("/jwks", "GET"),
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/mcp/.well-known/openid-configuration", "GET"),
    ] {
        for host in ["Host: auth.localhost", "Host: mcp-fetch.localhost"] {
            let line = format!("OPTIONS {path} HTTP/1.1");
            let wanted = format!("Access-Control-Request-Method: {method}");
            let headers =
                "Access-Control-Request-Headers: authorization,content-type,mcp-protocol-version";
            let preflight = edge.send(&line, &[host, &from, &wanted, headers]).await?;
            assert!(
                matches!(raw::status(&preflight), 200 | 204),
                "{path}: {preflight}"
            );
            let listed = |name: &str| raw::header(&preflight, name).join(",").to_lowercase();
            assert_eq!(
                listed("access-control-allow-origin"),
                ORIGIN,
                "{path}: {preflight}"
            );
            let methods = listed("access-control-allow-methods");
            assert!(
                methods.contains(&method.to_lowercase()),
                "{path}: {preflight}"
            );
            // `*` does not stand for Authorization.
            let allowed = listed("access-control-allow-headers");
            assert!(!allowed.contains('*'), "{path}: {preflight}");
            for name in ["authorization", "content-type", "mcp-protocol-version"] {
                assert!(allowed.contains(name), "{name} at {path}: {preflight}");
            }
            assert_eq!(edge.auth.take_requests(), Vec::<String>::new(), "{path}");
            let refused = edge
                .send(&format!("{method} {path} HTTP/1.1"), &[host, &from])
                .await?;
            let exposed = raw::header(&refused, "access-control-expose-headers").join(",");
            assert!(exposed.contains("WWW-Authenticate"), "{path}: {refused}");
            edge.forget();
        }
    }
    Ok(())
}
