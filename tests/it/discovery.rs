//! How clients find their way, through the real Traefik: each looks in other places, and every place leads to the same answer.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::gateway::Gateway;
use testkit::network;
use url::Url;

/// Where clients look for the metadata of the authorization server: RFC 8414 and OpenID Connect discovery, with the path of the
/// service after or before, on its own host or on the service's.
const SERVER_METADATA: [&str; 6] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/mcp/.well-known/oauth-authorization-server",
    "/mcp/.well-known/openid-configuration",
];

#[tokio::test]
async fn every_place_where_a_client_looks_has_the_same_metadata_or_a_json_404() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let http = network::http_client()?;
    let service = gateway.mcp_url("mcp-echo")?.join("/")?;
    let auth = gateway.auth_url("/")?;

    let mut documents = Vec::new();
    for host in [&service, &auth] {
        for path in SERVER_METADATA {
            let response = http.get(host.join(path)?).send().await?;
            assert_eq!(response.status(), StatusCode::OK, "{host}{path}");
            let mut document = response.json::<Value>().await?;
            // OpenID Connect Discovery requires two members more; all others are the same.
            let further = document.as_object_mut().map(|members| {
                [
                    "subject_types_supported",
                    "id_token_signing_alg_values_supported",
                ]
                .map(|name| members.remove(name))
            });
            let expected = if path.contains("openid") {
                [Some(json!(["public"])), Some(json!(["ES256"]))]
            } else {
                [None, None]
            };
            assert_eq!(further, Some(expected), "{host}{path}");
            documents.push(document);
        }
    }
    documents.dedup();
    let [document] = &documents[..] else {
        anyhow::bail!("the documents differ: {documents:?}")
    };
    // Character for character: clients compare it with the address they built.
    assert_eq!(document.get("issuer"), Some(&json!(gateway.issuer())));
    // No byte comes from the request.
    let spoofed = http
        .get(service.join(SERVER_METADATA[0])?)
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example;proto=https");
    assert_eq!(&spoofed.send().await?.json::<Value>().await?, document);

    for (path, resource) in [
        (
            "/.well-known/oauth-protected-resource/mcp",
            gateway.mcp_url("mcp-echo")?.to_string(),
        ),
        (
            "/.well-known/oauth-protected-resource",
            service.as_str().trim_end_matches('/').to_owned(),
        ),
    ] {
        let answer: Value = http.get(service.join(path)?).send().await?.json().await?;
        assert_eq!(answer.get("resource"), Some(&json!(resource)), "{path}");
        assert_eq!(
            answer.get("authorization_servers"),
            Some(&json!([gateway.issuer()])),
            "{path}"
        );
    }

    for host in [&service, &auth] {
        for path in [
            "/.well-known/nothing",
            "/.well-known/oauth-protected-resource/other",
            "/.well-known/",
        ] {
            let response = http.get(host.join(path)?).send().await?;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{host}{path}");
            let kind = response
                .headers()
                .get("content-type")
                .context("type")?
                .to_str()?
                .to_owned();
            assert!(kind.starts_with("application/json"), "{host}{path}: {kind}");
        }
    }
    Ok(())
}

/// Claude Code, among others, takes no name below `localhost` for this machine.
#[tokio::test]
async fn without_tls_tokens_are_to_be_had_at_the_loopback_address_and_nothing_else_is() -> Result<()>
{
    let gateway = Gateway::start().with_echo().await?;
    let discovered = gateway.client("mcp-echo")?.discover().await?;
    let endpoint: Url = discovered.endpoint("token_endpoint")?.parse()?;
    assert_eq!(endpoint.host_str(), Some("127.0.0.1"));
    let http = network::http_client()?;
    let localhost = format!("http://localhost:{}/token", gateway.public_address().port());
    let elsewhere = [
        "/",
        "/authorize",
        "/register",
        "/register/x",
        "/revoke",
        "/introspect",
        "/token/x",
        "/mcp",
        SERVER_METADATA[0],
    ]
    .map(|path| endpoint.join(path))
    .into_iter()
    .chain([Url::parse(&localhost)]);
    for url in elsewhere {
        let url = url?;
        for method in [Method::GET, Method::POST] {
            let answer = http.request(method.clone(), url.clone()).send().await?;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {url}");
            // Traefik's own: it went nowhere.
            assert_eq!(
                answer.text().await?,
                "404 page not found\n",
                "{method} {url}"
            );
        }
    }
    let registered = discovered.register().await?;
    let mut granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    granted.refresh().await
}

#[tokio::test]
async fn a_client_that_uses_only_the_services_own_origin_signs_in() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let mut discovered = gateway.client("mcp-echo")?.discover().await?;
    // Some clients read no metadata at all and call /authorize, /token and /register beside /mcp.
    let origin = gateway.mcp_url("mcp-echo")?.join("/")?;
    for (name, path) in [
        ("authorization_endpoint", "/authorize"),
        ("token_endpoint", "/token"),
        ("registration_endpoint", "/register"),
        ("revocation_endpoint", "/revoke"),
    ] {
        discovered.server[name] = json!(origin.join(path)?);
    }
    let mut granted = discovered
        .register()
        .await?
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    granted.refresh().await?;
    assert_eq!(
        granted.status_with(&granted.tokens.access).await?,
        StatusCode::OK
    );
    granted.revoke().await?;
    assert_eq!(
        granted.status_with(&granted.tokens.access).await?,
        StatusCode::UNAUTHORIZED
    );
    Ok(())
}

#[tokio::test]
async fn whatever_asks_without_a_token_gets_the_challenge_and_is_never_redirected() -> Result<()> {
    let gateway = Gateway::start().with_echo().await?;
    let http = network::http_client()?;
    for path in ["/mcp", "/mcp/"] {
        for method in [Method::POST, Method::GET, Method::HEAD, Method::DELETE] {
            let url = gateway.mcp_url("mcp-echo")?.join(path)?;
            let response = http.request(method.clone(), url).send().await?;
            assert_eq!(
                response.status(),
                StatusCode::UNAUTHORIZED,
                "{method} {path}"
            );
            let challenge = response
                .headers()
                .get("www-authenticate")
                .context("challenge")?;
            assert!(
                challenge
                    .to_str()?
                    .contains("/.well-known/oauth-protected-resource/mcp\""),
                "{challenge:?}"
            );
            // The refusal is a public answer: these headers, and none that tells about the inside.
            let mut names: Vec<&str> = response
                .headers()
                .keys()
                .map(reqwest::header::HeaderName::as_str)
                .collect();
            names.sort_unstable();
            let known = [
                "access-control-expose-headers",
                "cache-control",
                "content-length",
                "content-type",
                "date",
                "pragma",
                "vary",
                "www-authenticate",
                "x-content-type-options",
                // Random, and what a person quotes when asking why.
                "x-request-id",
            ];
            names.retain(|name| !known.contains(name));
            assert!(names.is_empty(), "{method} {path}: {names:?}");
        }
    }
    // Signed in, both spellings are the same endpoint.
    let registered = gateway.register("mcp-echo").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let slash = testkit::mcp_client::McpClient::new(gateway.mcp_url("mcp-echo")?.join("/mcp/")?)?;
    let session = slash.session(&granted.tokens.access).await?;
    assert_eq!(
        session.request("tools/list", json!({})).await?.status,
        StatusCode::OK
    );
    Ok(())
}

#[tokio::test]
async fn a_client_in_a_browser_may_ask_every_open_endpoint() -> Result<()> {
    let origin = "http://inspector.localhost:6274";
    let gateway = Gateway::start()
        .with_traefik_setting("MCP_CORS_ORIGINS", origin)
        .with_proxy_setting("ALLOWED_ORIGINS", origin)
        .with_echo()
        .await?;
    let http = network::http_client()?;
    let service = gateway.mcp_url("mcp-echo")?;
    let mut urls = vec![service.clone()];
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/register",
        "/token",
        "/revoke",
        "/jwks",
    ] {
        urls.push(service.join(path)?);
        urls.push(gateway.auth_url(path)?);
    }
    for url in urls {
        let preflight = http
            .request(Method::OPTIONS, url.clone())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,mcp-protocol-version",
            )
            .send()
            .await?;
        assert!(
            preflight.status().is_success(),
            "{url}: {}",
            preflight.status()
        );
        let allowed = preflight.headers().get("access-control-allow-origin");
        assert_eq!(allowed.context("allow-origin")?, origin, "{url}");
        // Pages keep their cookies to themselves.
        assert!(
            preflight
                .headers()
                .get("access-control-allow-credentials")
                .is_none(),
            "{url}"
        );
    }
    // A page of that origin does the whole of it; a page of another origin is refused although it has a token.
    let registered = gateway.register("mcp-echo").await?;
    let granted = registered
        .authorize(&gateway.person()?)
        .await?
        .token()
        .await?;
    let session = granted.session().await?;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let own = session.post(&list).header("origin", origin).send().await?;
    assert_eq!(own.status(), StatusCode::OK);
    let allowed = own.headers().get_all("access-control-allow-origin");
    assert_eq!(allowed.iter().collect::<Vec<_>>(), [origin]);
    let foreign = session.post(&list).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await?.status(), StatusCode::FORBIDDEN);
    // The pages for people are none of a script's business.
    for path in ["/authorize", "/consent", "/login", "/callback"] {
        let answer = http
            .get(gateway.auth_url(path)?)
            .header("origin", origin)
            .send()
            .await?;
        assert!(
            answer
                .headers()
                .get("access-control-allow-origin")
                .is_none(),
            "{path}"
        );
    }
    Ok(())
}

/// Some clients insist on a sign-in as soon as any metadata answers.
#[tokio::test]
async fn a_public_service_has_nothing_of_oauth_and_needs_no_token() -> Result<()> {
    let gateway = Gateway::start()
        .with_auth_setting("MCP_ECHO_PUBLIC", "true")
        .with_proxy_setting("REQUIRE_IDENTITY", "false")
        .with_echo()
        .await?;
    let http = network::http_client()?;
    let service = gateway.mcp_url("mcp-echo")?;
    let wells = [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ];
    for path in SERVER_METADATA.iter().chain(&wells) {
        let response = http.get(service.join(path)?).send().await?;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(
            response.headers().get("www-authenticate").is_none(),
            "{path}"
        );
        assert!(response.json::<Value>().await?.is_object(), "{path}");
    }
    for path in ["/register", "/token", "/authorize", "/account"] {
        let response = http.get(service.join(path)?).send().await?;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
    });
    let request = http
        .post(service)
        .header("accept", "application/json, text/event-stream");
    let response = request.json(&initialize).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(())
}
