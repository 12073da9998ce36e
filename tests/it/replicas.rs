//! Several machines in small: two instances of auth on one Redis and two replicas of an MCP service, behind Traefik, which takes them in turn
//! and looks at no cookie.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::binaries;
use testkit::gateway::{Gateway, Store};
use testkit::mcp_client::{Granted, Session};
use testkit::network::http_client;
use testkit::redis::RedisServer;
use testkit::wait::{PATIENCE, until_true};
use tokio::time::timeout;
use url::Url;

const SERVICE: &str = "mcp-told";
const REVISION: &str = "2026-07-28";
/// Far longer than a message needs.
const SOON: Duration = Duration::from_secs(5);

async fn start() -> Result<(RedisServer, Gateway)> {
    let redis = RedisServer::start().await?;
    let server = binaries::built("told-server").display().to_string();
    let gateway = Gateway::start()
        .with_store(Store::Redis {
            url: format!("redis://{}", redis.address()),
            password: RedisServer::PASSWORD.to_owned(),
        })
        .with_more_instances(1)
        .with_more_replicas(1)
        // Longer than Traefik takes to see that one is going.
        .with_auth_setting("SHUTDOWN_DRAIN", "2")
        .with_proxy_setting("SHUTDOWN_DRAIN", "2")
        .with_service(SERVICE, [server])
        .await?;
    Ok((redis, gateway))
}

/// Parameters of a call with the steps of the server.
fn steps(steps: &Value) -> Value {
    json!({"name": "do", "arguments": {"steps": steps}})
}

fn answer_with_pid() -> Value {
    steps(&json!([{"heard": null}]))
}

/// A client of the newest revision: no session, any replica.
#[derive(Clone)]
struct Modern {
    http: reqwest::Client,
    url: Url,
    access_token: String,
}

impl Modern {
    fn new(gateway: &Gateway, granted: &Granted) -> Result<Self> {
        Ok(Self {
            http: http_client()?,
            url: gateway.mcp_url(SERVICE)?,
            access_token: granted.tokens.access.clone(),
        })
    }

    async fn call(&self, mut params: Value) -> Result<(StatusCode, Value)> {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        });
        let members = params.as_object_mut().context("parameters are an object")?;
        members.insert("_meta".to_owned(), meta);
        let response = self
            .http
            .post(self.url.clone())
            .bearer_auth(&self.access_token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", REVISION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", "do")
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
            .send()
            .await?;
        let status = response.status();
        let body = response.text().await?;
        let message = serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?;
        Ok((status, message))
    }
}

#[tokio::test]
async fn clients_find_their_sessions_whichever_replica_is_asked() -> Result<()> {
    let (_redis, gateway) = start().await?;
    let granted = gateway.sign_in(SERVICE).await?;

    // One after the other they go to one replica and the other, and meet the same process of the MCP server.
    let session = granted.session().await?;
    let mut pids = Vec::new();
    for _ in 0..6 {
        let reply = session.request("tools/call", answer_with_pid()).await?;
        ensure!(reply.status == StatusCode::OK, "{}", reply.message);
        pids.push(reply.message["result"]["pid"].clone());
    }
    assert!(
        pids[0].is_number() && pids.iter().all(|pid| *pid == pids[0]),
        "{pids:?}"
    );

    // What belongs to no call, heard twice: as it comes, and again by whoever lost the stream.
    let mut stream = session.listen().await?;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"note": 1}});
    let notify = steps(&json!([{"send": note}, {"answer": {"content": []}}]));
    session.request("tools/call", notify.clone()).await?;
    assert_eq!(timeout(SOON, stream.next()).await??["params"]["note"], 1);
    let seen = stream.last_event_id().to_owned();
    drop(stream);
    session.request("tools/call", notify).await?;
    for _ in 0..2 {
        let mut again = session.listen_after(&seen).await?;
        assert_eq!(timeout(SOON, again.next()).await??["params"]["note"], 1);
    }

    // The end, known to both.
    let again = Session::resume(&granted, session.id().context("no session")?);
    assert_eq!(session.close().await?, StatusCode::NO_CONTENT);
    for _ in 0..2 {
        let late = again.request("tools/call", answer_with_pid()).await?;
        assert_eq!(late.status, StatusCode::NOT_FOUND, "{}", late.message);
    }

    let modern = Modern::new(&gateway, &granted)?;
    // A question of the server: its answer lands on the replica that did not ask.
    for round in 0..4 {
        let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
            "params": {"message": "?", "requestedSchema": {}}});
        let what = json!([{"send": question}, {"await": ["q"]}, {"heard": null}]);
        let (status, asked) = modern.call(steps(&what)).await?;
        assert_eq!(
            (status, &asked["result"]["resultType"]),
            (StatusCode::OK, &json!("input_required")),
            "{asked}"
        );
        let mut again = steps(&what);
        again["requestState"] = asked["result"]["requestState"].clone();
        again["inputResponses"] = json!({"q": {"action": "accept", "content": {"round": round}}});
        let (status, done) = modern.call(again).await?;
        assert_eq!(status, StatusCode::OK, "{done}");
        let heard = done["result"]["heard"]
            .as_array()
            .context("nothing heard")?;
        let last = heard.last().context("nothing heard")?;
        assert_eq!(last["result"]["content"]["round"], round, "{done}");
    }
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_of_everything_fails_no_call() -> Result<()> {
    let (_redis, mut gateway) = start().await?;
    let granted = gateway.sign_in(SERVICE).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let reopened = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for _ in 0..2 {
        let modern = Modern::new(&gateway, &granted)?;
        let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (status, message) = modern.call(answer_with_pid()).await?;
                ensure!(
                    status == StatusCode::OK,
                    "a modern call: {status} {message}"
                );
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }));
    }
    // Clients of an older revision lose the sessions of a replica that stops, are told so, and open others.
    for _ in 0..2 {
        let (granted, stop, reopened) = (granted.clone(), Arc::clone(&stop), Arc::clone(&reopened));
        callers.push(tokio::spawn(async move {
            let mut session = granted.session().await?;
            while !stop.load(Ordering::Relaxed) {
                let reply = session.request("tools/call", answer_with_pid()).await?;
                if reply.status == StatusCode::NOT_FOUND {
                    session = granted.session().await?;
                    reopened.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                ensure!(
                    reply.status == StatusCode::OK && reply.message.get("result").is_some(),
                    "a call in a session: {} {}",
                    reply.status,
                    reply.message
                );
            }
            Ok(())
        }));
    }

    let some_more = async |calls: &AtomicUsize| {
        let before = calls.load(Ordering::Relaxed);
        until_true("more calls", PATIENCE, || {
            calls.load(Ordering::Relaxed) > before + 10
        })
        .await
    };
    some_more(&calls).await?;
    for address in gateway.replicas(SERVICE) {
        gateway.restart_replica(address).await?;
        gateway.until_asked(address).await?;
    }
    gateway.stop_auth().await?;
    gateway.start_auth().await?;
    gateway.until_asked(gateway.auth_address()).await?;
    gateway.restart_others().await?;
    some_more(&calls).await?;

    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    let reopened = reopened.load(Ordering::Relaxed);
    assert!(
        reopened >= 2,
        "both replicas stopped, but {reopened} sessions were lost"
    );
    Ok(())
}
