//! What the shipped Traefik files do with requests that want to get past them. A stub stands for the authorization server and
//! one for `mcp-proxy`; each writes down the very bytes it got.
//!
//! Each test shows one property of forwardAuth that the gateway rests on; `docs/decisions/` says where the configuration
//! comes from.

mod browsers;
mod edge;

use std::net::SocketAddr;

use anyhow::Result;
use testkit::process::Logs;
use testkit::raw::{self, Stub};
use testkit::traefik::{Settings, Traefik};

/// What the stub of the authorization server says to a good token.
const IDENTITY: [(&str, &str); 4] = [
    ("X-Auth-Subject", "github|583231"),
    ("X-Auth-Login", "octocat"),
    ("X-Auth-Client", "client-1"),
    ("X-Auth-Scope", "mcp"),
];

const ALIASES: [&str; 5] = [
    "X_Auth_Login",
    "X.Auth.Login",
    "X~Auth~Login",
    "X!Auth!Login",
    "X'Auth'Login",
];

struct Edge {
    traefik: Traefik,
    auth: Stub,
    backend: Stub,
    logs: Logs,
    _directory: tempfile::TempDir,
}

impl Edge {
    async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    async fn start_with(variables: &[(&str, &str)]) -> Result<Self> {
        let backend = Stub::start().await?;
        let address = backend.address();
        Self::start_before(address, backend, variables).await
    }

    /// With a service of the test's own, at this address.
    async fn start_before(
        service: SocketAddr,
        backend: Stub,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let auth = Stub::start().await?;
        let directory = tempfile::tempdir()?;
        let logs = Logs::default();
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let settings = Settings {
            port: 0,
            auth: vec![auth.address()],
            services: vec![("mcp-fetch".to_owned(), vec![service])],
            variables: &variables,
        };
        let traefik = Traefik::start(settings, directory.path(), &logs).await?;
        auth.set_answer(raw::answer("200 OK", &IDENTITY));
        let edge = Self {
            traefik,
            auth,
            backend,
            logs,
            _directory: directory,
        };
        edge.forget();
        Ok(edge)
    }

    /// A POST of an MCP client to the service, with more header lines; the whole answer.
    async fn post(&self, more: &[&str]) -> Result<String> {
        let mut lines = vec!["Host: mcp-fetch.localhost"];
        lines.extend(more);
        self.send("POST /mcp HTTP/1.1", &lines).await
    }

    async fn send(&self, request_line: &str, lines: &[&str]) -> Result<String> {
        let mut request = vec![request_line];
        request.extend(lines);
        request.extend(["Content-Length: 2", "Connection: close", "", "{}"]);
        raw::exchange(self.traefik.address, &request.join("\r\n")).await
    }

    /// Forgets what the stubs were asked until now (the wait for the routes asked auth).
    fn forget(&self) {
        drop(self.auth.take_requests());
        drop(self.backend.take_requests());
    }
}

/// The one request of a stub since it was asked last.
fn only(requests: Vec<String>) -> Result<String> {
    let [request] = <[String; 1]>::try_from(requests)
        .map_err(|requests| anyhow::anyhow!("not one request but {requests:?}"))?;
    Ok(request)
}

#[tokio::test]
async fn identity_headers_of_a_client_never_reach_the_service() -> Result<()> {
    let edge = Edge::start().await?;
    edge.auth
        .set_answer(raw::answer("200 OK", &[("X-Auth-Login", "octocat")]));
    let answer = edge
        .post(&[
            "X-Auth-Subject: github|1",
            "x-auth-subject: github|2",
            "X-AUTH-SCOPE: everything",
            "X-Auth-Client: forged",
            "X-Auth-Login: forged",
        ])
        .await?;
    assert_eq!(raw::status(&answer), 200, "{answer}");
    let seen = only(edge.backend.take_requests())?;
    // Names that auth did not answer are gone, the one it answered has its value.
    for name in ["x-auth-subject", "x-auth-scope", "x-auth-client"] {
        assert!(raw::header(&seen, name).is_empty(), "{name} in {seen}");
    }
    assert_eq!(raw::header(&seen, "x-auth-login"), ["octocat"], "{seen}");
    Ok(())
}

#[tokio::test]
async fn aliases_of_identity_headers_are_refused() -> Result<()> {
    let edge = Edge::start().await?;
    for alias in ALIASES {
        let answer = edge.post(&[&format!("{alias}: forged")]).await?;
        assert_eq!(raw::status(&answer), 400, "{alias}: {answer}");
    }
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn auth_sees_the_host_that_was_routed_even_behind_a_trusted_proxy() -> Result<()> {
    let trusting = [(
        "TRAEFIK_ENTRYPOINTS_WEB_FORWARDEDHEADERS_TRUSTEDIPS",
        "127.0.0.1/32",
    )];
    for variables in [&[][..], &trusting[..]] {
        let edge = Edge::start_with(variables).await?;
        let answer = edge
            .post(&[
                "X-Forwarded-Host: mcp-echo.localhost",
                "X-Forwarded-Uri: /public",
                "X-Forwarded-Method: OPTIONS",
                "X-Forwarded-Proto: https",
                "Forwarded: host=mcp-echo.localhost",
                "X-Original-Url: /public",
            ])
            .await?;
        assert_eq!(raw::status(&answer), 200, "{answer}");
        let seen = only(edge.auth.take_requests())?;
        assert!(
            seen.starts_with("GET /verify?resource=mcp-fetch HTTP/1.1\r\n"),
            "{seen}"
        );
        assert_eq!(
            raw::header(&seen, "x-forwarded-host"),
            ["mcp-fetch.localhost"],
            "{seen}"
        );
        assert_eq!(raw::header(&seen, "x-forwarded-uri"), ["/mcp"], "{seen}");
        assert_eq!(raw::header(&seen, "x-forwarded-method"), ["POST"], "{seen}");
        assert!(raw::header(&seen, "forwarded").is_empty(), "{seen}");
        assert!(raw::header(&seen, "x-original-url").is_empty(), "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn characters_that_hide_in_percent_codes_are_refused() -> Result<()> {
    let edge = Edge::start().await?;
    for code in ["%2f", "%5c", "%00", "%3b", "%25", "%3f", "%23"] {
        let line = format!("GET /.well-known/a{code}b HTTP/1.1");
        let answer = edge.send(&line, &["Host: mcp-fetch.localhost"]).await?;
        assert_eq!(raw::status(&answer), 400, "{code}: {answer}");
    }
    assert_eq!(edge.auth.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_past_the_guard() -> Result<()> {
    let edge = Edge::start().await?;
    edge.auth.set_answer(raw::answer("401 Unauthorized", &[]));
    for path in [
        "/.well-known/../mcp",
        "/.well-known/%2e%2e/mcp",
        "/.well-known/..%2fmcp",
        "/.well-known%2f..%2fmcp",
        "/.well-known/..%5cmcp",
        "/mcp/.well-known/../../mcp",
        "/mcp/.well-known/..%2f..%2fmcp",
        "//mcp",
        "/MCP",
        "/mcp%2F",
        "/mcp%00",
        "/mcp;a",
        "/mcp%3Fa",
        "/mcp%23a",
        "/%6dcp",
        "/mcpx",
        "/register/../mcp",
        "/register/..%2fmcp",
        "/assets/..%2fmcp",
        "/account/..%2fmcp",
        "/health",
        "/metrics",
        "/verify?resource=mcp-fetch",
        "/",
    ] {
        let answer = edge
            .send(
                &format!("POST {path} HTTP/1.1"),
                &["Host: mcp-fetch.localhost"],
            )
            .await?;
        assert!(
            matches!(raw::status(&answer), 400 | 401 | 404),
            "{path}: {answer}"
        );
    }
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn spellings_of_a_host_are_routed_and_told_to_auth_as_they_came() -> Result<()> {
    let edge = Edge::start().await?;
    for host in [
        "MCP-Fetch.LOCALHOST",
        "mcp-fetch.localhost:18080",
        "mcp-fetch.localhost:443",
        "mcp-fetch.localhost.",
        "mcp-fetch.localhost.:80",
    ] {
        let answer = edge
            .send("POST /mcp HTTP/1.1", &[&format!("Host: {host}")])
            .await?;
        assert_eq!(raw::status(&answer), 200, "{host}: {answer}");
        let seen = only(edge.auth.take_requests())?;
        assert_eq!(raw::header(&seen, "x-forwarded-host"), [host], "{seen}");
        edge.forget();
    }
    for lines in [
        &["Host: mcp-fetch.localhost.."][..],
        &["Host:"],
        &["Host: evil.localhost"],
        &["Host: mcp-fetch.localhost.evil.example"],
        &["Host: mcp-fetch.localhost", "Host: mcp-echo.localhost"],
        &["Host: somebody@mcp-fetch.localhost"],
        &["Host: mcp-fetch.localhost, mcp-echo.localhost"],
    ] {
        let answer = edge.send("POST /mcp HTTP/1.1", lines).await?;
        assert!(
            matches!(raw::status(&answer), 400 | 404),
            "{lines:?}: {answer}"
        );
    }
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn without_an_answer_of_auth_nobody_gets_in() -> Result<()> {
    let mut edge = Edge::start().await?;
    for nonsense in ["", "\0\0\0garbage", "HTTP/1.1 20"] {
        edge.auth.set_answer(nonsense);
        let answer = edge.post(&["Authorization: Bearer good"]).await?;
        assert_eq!(raw::status(&answer), 500, "{nonsense:?}: {answer}");
    }
    edge.auth.stop().await;
    let answer = edge.post(&["Authorization: Bearer good"]).await?;
    assert_eq!(raw::status(&answer), 500, "{answer}");
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_refusal_of_auth_reaches_the_client_whole() -> Result<()> {
    let edge = Edge::start().await?;
    let challenge = "Bearer resource_metadata=\"http://mcp-fetch.localhost/.well-known/oauth-protected-resource/mcp\"";
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "503 Service Unavailable",
    ] {
        edge.auth.set_answer(raw::answer(
            status,
            &[
                ("WWW-Authenticate", challenge),
                ("WWW-Authenticate", "Second"),
                ("Cache-Control", "no-store"),
                ("Retry-After", "2"),
            ],
        ));
        let answer = edge.post(&[]).await?;
        assert_eq!(
            raw::status(&answer),
            raw::status(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert_eq!(
            raw::header(&answer, "www-authenticate"),
            [challenge, "Second"],
            "{answer}"
        );
        assert_eq!(
            raw::header(&answer, "cache-control"),
            ["no-store"],
            "{answer}"
        );
        assert_eq!(raw::header(&answer, "retry-after"), ["2"], "{answer}");
    }
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn auth_sees_the_token_and_nothing_else_the_service_sees_neither_token_nor_cookie()
-> Result<()> {
    let edge = Edge::start().await?;
    let answer = edge
        .post(&[
            "Authorization: Bearer good",
            "Cookie: a=1",
            "X-Custom: kept",
        ])
        .await?;
    assert_eq!(raw::status(&answer), 200, "{answer}");
    let asked = only(edge.auth.take_requests())?;
    assert_eq!(
        raw::header(&asked, "authorization"),
        ["Bearer good"],
        "{asked}"
    );
    assert!(raw::header(&asked, "cookie").is_empty(), "{asked}");
    assert!(raw::header(&asked, "x-custom").is_empty(), "{asked}");
    let served = only(edge.backend.take_requests())?;
    assert!(raw::header(&served, "authorization").is_empty(), "{served}");
    assert!(raw::header(&served, "cookie").is_empty(), "{served}");
    assert_eq!(raw::header(&served, "x-custom"), ["kept"], "{served}");
    for (name, value) in IDENTITY {
        assert_eq!(raw::header(&served, name), [value], "{served}");
    }
    Ok(())
}
