//! `mcp-auth doctor` against a good gateway behind the real Traefik, and behind fronts that get one thing wrong each.

use anyhow::{Context as _, Result};
use serde_json::Value;
use testkit::gateway::{Gateway, Provider};
use testkit::misconfigured::{Misconfigured, Reply};
use testkit::raw::Stub;
use testkit::{binaries, network};
use tokio::process::Command;

/// The site of the client in a browser.
const ORIGIN: &str = "http://localhost:6274";
const JWT_SECRET: &str = testkit::gateway::JWT_SECRET;

struct Examined {
    gateway: Gateway,
    private_port: u16,
}

impl Examined {
    async fn start() -> Result<Self> {
        let private_port = network::free_port()?;
        let gateway = Gateway::start()
            .with_echo()
            .with_provider(Provider::GitHub {
                allowed: "octocat".to_owned(),
            })
            .with_auth_setting("PRIVATE_PORT", &private_port.to_string())
            .with_traefik_setting("MCP_CORS_ORIGINS", ORIGIN)
            .await?;
        Ok(Self {
            gateway,
            private_port,
        })
    }

    /// The exit code and the output, as an operator calls it with the settings of the service.
    async fn doctor(&self, public_port: u16, arguments: &[&str]) -> Result<(i32, String)> {
        let github = self.gateway.github.as_ref().context("the fake GitHub")?;
        let place = tempfile::tempdir()?;
        let output = Command::new(binaries::mcp_auth())
            .arg("doctor")
            .args(arguments)
            .env_clear()
            .current_dir(place.path())
            .envs([
                ("DOMAIN", "localhost"),
                ("PUBLIC_SCHEME", "http"),
                ("PUBLIC_PORT", &public_port.to_string()),
                ("MCP_SERVICES", "mcp-echo"),
                ("PRIVATE_PORT", &self.private_port.to_string()),
                ("GATEWAY_JWT_SECRET", JWT_SECRET),
                ("STORE", "memory"),
                ("GITHUB_CLIENT_ID", "id"),
                ("GITHUB_CLIENT_SECRET", "secret"),
                ("GITHUB_URL", &github.url()),
                ("GITHUB_API_URL", &github.api_url()),
                ("ALLOWED_GITHUB_USERS", "octocat"),
            ])
            .output()
            .await?;
        let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        Ok((output.status.code().context("an exit code")?, text))
    }

    /// What is wrong behind a front with this fault: what was looked at, and who trips.
    async fn behind(
        &self,
        fault: impl Fn(&str, &str, Reply) -> Reply + Send + Sync + 'static,
    ) -> Result<Vec<(String, Value)>> {
        let front = Misconfigured::start(self.gateway.public_address(), fault)?;
        let (code, text) = self.doctor(front.port, &["--json"]).await?;
        let report: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let findings = report.get("findings").and_then(Value::as_array);
        let wrong: Vec<(String, Value)> = findings
            .context("findings")?
            .iter()
            .filter(|finding| finding.get("severity") == Some(&"broken".into()))
            .map(|finding| {
                let text = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or("");
                let line = format!("{}: {}", text("what"), text("problem"));
                (line, finding.get("clients").cloned().unwrap_or_default())
            })
            .collect();
        assert_eq!(code, i32::from(!wrong.is_empty()), "{text}");
        Ok(wrong)
    }
}

fn is_told(wrong: &[(String, Value)], what: &str) -> bool {
    wrong.iter().any(|(line, _)| line.contains(what))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_gateway_is_well_for_every_client() -> Result<()> {
    let examined = Examined::start().await?;
    let port = examined.gateway.public_address().port();
    let (code, text) = examined.doctor(port, &[]).await?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nobody trips over anything"), "{text}");
    assert!(!text.contains("WRONG"), "{text}");
    // What was registered for the look is gone again.
    assert!(
        text.contains("ok    and end its registration again"),
        "{text}"
    );
    // It asks where it is told to, port included.
    let nobody = format!("127.0.0.1:{}", network::free_port()?);
    let (code, text) = examined.doctor(port, &["--connect", &nobody]).await?;
    assert!(
        code == 1 && text.contains("Connection refused"),
        "{code} {text}"
    );
    // The front that passes everything on is as good, so what the other tests find is their own fault.
    let wrong = examined.behind(|_, _, reply| reply).await?;
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one fault after the other on one gateway"
)]
async fn each_fault_is_told_with_who_trips_over_it() -> Result<()> {
    let examined = Examined::start().await?;

    // A metadata path that the proxy does not route is a page.
    let wrong = examined
        .behind(|_, path, reply| match path {
            "/.well-known/openid-configuration/mcp" => Reply::page(404),
            _ => reply,
        })
        .await?;
    assert_eq!(wrong.len(), 2, "on both hosts: {wrong:?}");
    assert!(
        is_told(
            &wrong,
            "/.well-known/openid-configuration/mcp: answers 404 (text/html), not 200 with JSON"
        ),
        "{wrong:?}"
    );

    // No code can be exchanged, on our host nor on the service's.
    let wrong = examined
        .behind(|_, path, reply| match path {
            "/token" => Reply::page(404),
            _ => reply,
        })
        .await?;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        is_told(&wrong, "tokens are to be had at http://127.0.0.1:"),
        "{wrong:?}"
    );

    // What is not there is a page of the proxy's.
    let wrong = examined
        .behind(|_, _, reply| match reply.status {
            404 => Reply::page(404),
            _ => reply,
        })
        .await?;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        is_told(&wrong, "is a JSON 404: answers 404 (text/html)"),
        "{wrong:?}"
    );

    // /mcp is redirected to /mcp/.
    let wrong = examined
        .behind(|_, path, reply| match path {
            "/mcp" => Reply::redirect("/mcp/"),
            _ => reply,
        })
        .await?;
    assert!(
        is_told(
            &wrong,
            "POST /mcp without a token is a 401 that says where to sign in: answers 307 to /mcp/"
        ),
        "{wrong:?}"
    );
    assert!(
        is_told(&wrong, "a redirect loses the body and the token"),
        "{wrong:?}"
    );

    // The other way round.
    let wrong = examined
        .behind(|_, path, reply| match path {
            "/mcp/" => Reply::redirect("/mcp"),
            _ => reply,
        })
        .await?;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        is_told(&wrong, "POST /mcp/ is answered, not redirected"),
        "{wrong:?}"
    );

    // A browser does not see the challenge.
    let wrong = examined
        .behind(|_, _, mut reply| {
            reply
                .headers
                .retain(|(name, _)| name != "access-control-expose-headers");
            reply
        })
        .await?;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        is_told(
            &wrong,
            "Access-Control-Expose-Headers of the 401 lacks WWW-Authenticate, Mcp-Session-Id"
        ),
        "{wrong:?}"
    );
    assert!(
        wrong
            .iter()
            .all(|(_, who)| who.to_string().contains("browser")),
        "{wrong:?}"
    );

    // A preflight meets the guard.
    let wrong = examined
        .behind(|method, path, mut reply| {
            if method == "OPTIONS" && path == "/mcp" {
                reply.status = 401;
            }
            reply
        })
        .await?;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        is_told(&wrong, "the preflight is answered 401"),
        "{wrong:?}"
    );

    // The guard is not there.
    let wrong = examined
        .behind(|_, path, mut reply| {
            if path == "/mcp" {
                reply.status = 200;
            }
            reply
        })
        .await?;
    assert!(is_told(&wrong, "anybody may use this service"), "{wrong:?}");

    // A stray slash behind the issuer.
    let wrong = examined
        .behind(|_, path, mut reply| {
            if path.contains("oauth-authorization-server") {
                reply.body = reply.body.replace(
                    "\",\"authorization_endpoint",
                    "/\",\"authorization_endpoint",
                );
            }
            reply
        })
        .await?;
    assert!(
        is_told(&wrong, "issuer is http://auth.localhost:"),
        "{wrong:?}"
    );

    // The challenge names no metadata.
    let wrong = examined
        .behind(|_, _, mut reply| {
            for (name, value) in &mut reply.headers {
                if name == "www-authenticate" {
                    "Bearer".clone_into(value);
                }
            }
            reply
        })
        .await?;
    assert!(
        is_told(&wrong, "WWW-Authenticate is \"Bearer\""),
        "{wrong:?}"
    );

    // Registration is blocked.
    let wrong = examined
        .behind(|method, path, reply| match (method, path) {
            ("POST", "/register") => Reply::page(403),
            _ => reply,
        })
        .await?;
    assert!(
        is_told(&wrong, "a client can register: answers 403 (text/html)"),
        "{wrong:?}"
    );
    Ok(())
}

/// An address that begins like ours and leads elsewhere would get the token of the client that the doctor registers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_its_client_goes_nowhere_else() -> Result<()> {
    let examined = Examined::start().await?;
    let elsewhere = Stub::start().await?;
    let stub = elsewhere.address();
    let wrong = examined
        .behind(move |method, path, mut reply| {
            if (method, path) == ("POST", "/register") {
                reply.body = reply
                    .body
                    .replace("/register/", &format!("@{stub}/register/"));
            }
            reply
        })
        .await?;
    assert!(
        is_told(&wrong, "names no registration_client_uri of this server"),
        "{wrong:?}"
    );
    assert_eq!(elsewhere.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_is_told() -> Result<()> {
    let mut examined = Examined::start().await?;
    let port = examined.gateway.public_address().port();
    examined.gateway.kill_auth().await?;
    let (code, text) = examined.doctor(port, &[]).await?;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("nothing answers at http://127.0.0.1:"),
        "{text}"
    );
    assert!(text.contains("every client: trips over"), "{text}");
    Ok(())
}
