//! Until another instance knows, and what happens when the store hangs.

use std::time::Instant;

use anyhow::{Result, ensure};
use bench::auth::{Auth, SERVICE, Settings, Store, tokens};
use bench::connection::Connection;
use bench::measure::median;
use bench::wrk;
use testkit::redis::RedisServer;
use testkit::wait::PATIENCE;

use crate::{Bench, Site};

const REVOCATIONS: usize = 20;
/// `LIMIT_VERIFY_IN_FLIGHT`: so few that all places are taken although each answer takes a fifth of a second only, which is
/// how long Redis is waited for once it is known not to answer.
const PLACES: usize = 64;
/// Twice as many: there is always somebody who finds no place.
const CLIENTS: usize = 2 * PLACES;
/// Requests beyond it whose time is taken.
const TURNED_AWAY: usize = 200;

fn head(token: &str) -> Vec<u8> {
    format!(
        "GET /verify?resource={SERVICE} HTTP/1.1\r\nhost: auth\r\nauthorization: Bearer {token}\r\n"
    )
    .into_bytes()
}

async fn status(connection: &mut Connection, token: &str) -> Result<u16> {
    Ok(connection.exchange(&head(token), b"").await?.status)
}

/// Milliseconds from the request to revoke at one instance until another one, under load, refuses the token.
pub(crate) async fn revocation(bench: &Bench) -> Result<()> {
    let store = Store::Redis(bench.redis.url());
    let site = Site::start("redis", &store, bench).await?;
    let mut settings = Settings::new(&store)?;
    settings.public_port = site.auth.settings.public_port;
    let other = Auth::start(settings).await?;
    let tokens = tokens::good(&site.client, (20, 10)).await?;
    let mut sessions = Vec::new();
    for _ in 0..REVOCATIONS {
        sessions.push(tokens::sign_in(&site.client).await?);
    }
    let mut connection = Connection::open(other.address).await?;
    let load = wrk::start(
        &other.load(&tokens),
        wrk::Shape {
            seconds: 20,
            ..bench.shape
        },
    )?;
    let mut times = Vec::new();
    for session in sessions {
        let token = &session.tokens.access;
        ensure!(status(&mut connection, token).await? == 200, "it is good");
        let begun = Instant::now();
        session.revoke().await?;
        while status(&mut connection, token).await? != 401 {
            ensure!(begun.elapsed() < PATIENCE, "the revocation is not seen");
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let outcome = load.finish()?;
    ensure!(outcome.refused == 0.0, "nobody else is refused");
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!(
        "\n| a revocation at one instance, seen by another under load | median ms | slowest ms | checks/s meanwhile |"
    );
    println!("| --- | --- | --- | --- |");
    let median = median(times);
    println!(
        "| {REVOCATIONS} revocations | {median:.1} | {slowest:.1} | {:.0} |",
        outcome.per_second
    );
    Ok(())
}

/// A Redis that hangs: how soon whoever finds no place is turned away.
pub(crate) async fn overload() -> Result<()> {
    let redis = RedisServer::start().await?;
    let backend = bench::auth::Plain::start().await?;
    let mut settings = Settings::new(&Store::Redis(redis.url()))?;
    settings.verify_in_flight = Some(PLACES);
    let auth = Auth::start(settings).await?;
    let front = auth.behind_traefik(backend.address).await?;
    let client = tokens::register(front.traefik.address.port(), SERVICE).await?;
    let token = tokens::sign_in(&client).await?.tokens.access;
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(Connection::open(auth.address).await?);
    }
    redis.freeze()?;
    let mut clients = tokio::task::JoinSet::new();
    for mut connection in connections {
        let token = token.clone();
        clients.spawn(async move {
            loop {
                match status(&mut connection, &token).await {
                    Ok(503) => {}
                    other => return other,
                }
            }
        });
    }
    let mut connection = Connection::open(auth.address).await?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < TURNED_AWAY {
        let asked = Instant::now();
        let answer = connection.exchange(&head(&token), b"").await?;
        ensure!(answer.status == 503, "status {}", answer.status);
        if String::from_utf8_lossy(&answer.body).contains("too many") {
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(begun.elapsed() < PATIENCE, "hardly anybody is turned away");
    }
    if let Some(ended) = clients.try_join_next() {
        anyhow::bail!("an answer while Redis hangs: {:?}", ended?);
    }
    clients.abort_all();
    redis.thaw()?;
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!(
        "\n| Redis hangs, {CLIENTS} clients ask: 503 for who finds no place | median ms | slowest ms |"
    );
    println!("| --- | --- | --- |");
    println!(
        "| {TURNED_AWAY} requests | {:.2} | {slowest:.2} |",
        median(times)
    );
    Ok(())
}
