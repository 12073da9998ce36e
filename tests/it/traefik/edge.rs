//! What Traefik does by itself, whoever asks: rates, HTTPS, time.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use testkit::raw::{self, Stub};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::traefik::{Edge, only};

#[tokio::test]
async fn the_shipped_files_start_without_a_warning() -> Result<()> {
    let edge = Edge::start().await?;
    edge.post(&[]).await?;
    // What Traefik wrote before its access line of this is there with it.
    edge.logs.wait_for("\"RequestMethod\":\"POST\"").await?;
    for word in [" ERR ", " WRN "] {
        assert!(!edge.logs.contain(word), "{word}");
    }
    Ok(())
}

/// On every host and path, so that nothing is ever served in the clear.
#[tokio::test]
async fn plain_http_leads_to_https_in_production() -> Result<()> {
    let edge = Edge::start_with(&[("PUBLIC_SCHEME", "https")]).await?;
    for (host, path) in [
        ("mcp-fetch.localhost", "/mcp"),
        ("MCP-Fetch.localhost:8080", "/mcp?a=b"),
        ("auth.localhost", "/authorize?client_id=x"),
        ("auth.localhost", "/token"),
        ("somewhere.example", "/"),
    ] {
        let line = format!("POST {path} HTTP/1.1");
        let answer = edge.send(&line, &[&format!("Host: {host}")]).await?;
        assert!(
            matches!(raw::status(&answer), 301 | 308),
            "{host}{path}: {answer}"
        );
        let name = host.split(':').next().unwrap_or_default();
        let location = raw::header(&answer, "location").join(",");
        assert_eq!(
            location.to_lowercase(),
            format!("https://{name}{path}").to_lowercase(),
            "{answer}"
        );
    }
    assert_eq!(edge.auth.take_requests(), Vec::<String>::new());
    assert_eq!(edge.backend.take_requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn strangers_are_slowed_down_where_they_need_no_credential_and_only_there() -> Result<()> {
    let edge =
        Edge::start_with(&[("RATE_LIMIT_REGISTER", "3"), ("RATE_LIMIT_SIGN_IN", "5")]).await?;
    let host = ["Host: mcp-fetch.localhost"];
    for (line, allowed) in [
        ("POST /register HTTP/1.1", 3),
        ("GET /authorize HTTP/1.1", 5),
    ] {
        let mut statuses = Vec::new();
        for _ in 0..allowed + 2 {
            let answer = edge.send(line, &host).await?;
            statuses.push(raw::status(&answer));
            if raw::status(&answer) == 429 {
                assert_eq!(raw::header(&answer, "retry-after").len(), 1, "{answer}");
            }
        }
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, allowed, "{line}: {statuses:?}");
        assert!(statuses.ends_with(&[429]), "{line}: {statuses:?}");
    }
    // Tokens and MCP calls go on.
    for line in ["POST /token HTTP/1.1", "POST /mcp HTTP/1.1"] {
        for _ in 0..20 {
            let answer = edge.send(line, &host).await?;
            assert_eq!(raw::status(&answer), 200, "{line}: {answer}");
        }
    }
    Ok(())
}

/// What a client says of its address and of the way here is not what auth counts by.
#[tokio::test]
async fn auth_counts_by_the_address_that_traefik_saw() -> Result<()> {
    let edge = Edge::start().await?;
    let forged = [
        "Host: auth.localhost",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.10, 203.0.113.11",
        "X-Real-Ip: 203.0.113.12",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
    ];
    edge.send("POST /register HTTP/1.1", &forged).await?;
    let seen = only(edge.auth.take_requests())?;
    assert_eq!(
        raw::header(&seen, "x-forwarded-for"),
        ["127.0.0.1"],
        "{seen}"
    );
    assert_eq!(raw::header(&seen, "x-real-ip"), ["127.0.0.1"], "{seen}");
    assert_eq!(
        raw::header(&seen, "x-forwarded-host"),
        ["auth.localhost"],
        "{seen}"
    );
    assert!(!seen.contains("203.0.113."), "{seen}");
    Ok(())
}

/// How long the service below is silent in the middle of its answer.
const SILENCE: Duration = Duration::from_millis(1500);

/// A service whose answer takes its time; its address.
async fn slow_service() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if stream.read(&mut [0; 4096]).await? == 0 {
                    return Ok(());
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
                stream
                    .write_all(format!("{head}data: first\n\n").as_bytes())
                    .await?;
                tokio::time::sleep(SILENCE).await;
                stream.write_all(b"data: last\n\n").await?;
                stream.shutdown().await
            });
        }
    });
    Ok(address)
}

/// A tool call may last for hours. The same answer under a write limit, which is what Traefik has none of as shipped, is cut:
/// so the settings have their right names.
#[tokio::test]
async fn no_stream_is_cut_by_a_write_limit() -> Result<()> {
    let cut_after = |seconds| {
        let name = "TRAEFIK_ENTRYPOINTS_WEB_TRANSPORT_RESPONDINGTIMEOUTS_WRITETIMEOUT";
        [(name, seconds)]
    };
    for (variables, is_whole) in [(&[][..], true), (&cut_after("1s")[..], false)] {
        let edge =
            Edge::start_before(slow_service().await?, Stub::start().await?, variables).await?;
        let answer = edge.post(&[]).await?;
        assert!(answer.contains("data: first"), "{answer}");
        assert_eq!(answer.contains("data: last"), is_whole, "{answer}");
    }
    // For TLS too.
    let shipped =
        std::fs::read_to_string(testkit::binaries::workspace().join("traefik/traefik.env"))?;
    for entry_point in ["WEB", "WEBSECURE"] {
        let line = format!(
            "TRAEFIK_ENTRYPOINTS_{entry_point}_TRANSPORT_RESPONDINGTIMEOUTS_WRITETIMEOUT=0s"
        );
        assert!(shipped.lines().any(|shipped| shipped == line), "{line}");
    }
    Ok(())
}
