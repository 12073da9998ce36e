//! How many checks in a second.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::auth::tokens::{self, Forgery};
use bench::auth::{Auth, BRIEF, Front, Plain, Settings, Store, fill, verification};
use bench::wrk;
use store::{Backend, EmbeddedBackend, RedisBackend, RedisOptions};
use testkit::network::free_port;
use testkit::redis::RedisServer;

use crate::compare::{Target, compare};
use crate::{Bench, Filled, Site};

/// Longer than a token of the brief service counts: ten seconds, and thirty for clocks that differ.
const EXPIRY: Duration = Duration::from_secs(42);
/// Sign-ins, and tokens of each: what is remembered has room for them.
const FEW: (usize, usize) = (20, 10);
/// More tokens than one round shows.
const MANY: (usize, usize) = (20, 1000);
/// Forgeries of each of these: no memory goes back to the round before.
const NEVER_SEEN: usize = 4;

fn target(name: &str, auth: &Auth, tokens: &[String]) -> Target {
    Target {
        name: name.to_owned(),
        load: auth.load(tokens),
        process: auth.process.id(),
        is_refused: false,
        is_forgetful: false,
    }
}

/// Good tokens, directly and through Traefik.
pub(crate) async fn good(bench: &Bench, sites: &[Site]) -> Result<()> {
    let plain = Plain::start().await?;
    let front = Front::start(free_port()?, plain.address, bench.backend.address).await?;
    let mut direct = Vec::new();
    let mut through = Vec::new();
    for site in sites {
        let tokens = tokens::good(&site.client, FEW).await?;
        if direct.is_empty() {
            let first = |load| Target {
                name: "plain handler".to_owned(),
                load,
                process: plain.process.id(),
                is_refused: false,
                is_forgetful: false,
            };
            direct.push(first(plain.load(&tokens)));
            through.push(first(front.load(&tokens)));
        }
        direct.push(target(&site.name, &site.auth, &tokens));
        through.push(Target {
            load: site.front.load(&tokens),
            ..target(&site.name, &site.auth, &tokens)
        });
    }
    compare("/verify directly", &direct, bench.shape, bench.rounds)?;
    compare(
        "a request through Traefik",
        &through,
        bench.shape,
        bench.rounds,
    )
}

/// Tokens that count for nothing, beside good ones that are remembered and good ones that are not.
pub(crate) async fn forged(bench: &Bench, sites: &[Site]) -> Result<()> {
    let site = sites.iter().find(|site| site.name == "redb");
    let site = site.context("redb is among the stores")?;
    let port = site.auth.settings.public_port;
    eprintln!("making tokens");
    let brief = tokens::good(&tokens::register(port, BRIEF).await?, FEW).await?;
    let expired = tokio::time::Instant::now() + EXPIRY;
    let many = tokens::good(&site.client, MANY).await?;
    let few = many.get(..200).context("there are many")?;
    tokio::time::sleep_until(expired).await;
    let mut targets = vec![
        target("good, remembered", &site.auth, few),
        Target {
            is_forgetful: true,
            ..target("good, never seen", &site.auth, &many)
        },
    ];
    let refused = |name: &str, load| Target {
        name: name.to_owned(),
        load,
        process: site.auth.process.id(),
        is_refused: true,
        is_forgetful: false,
    };
    for (name, how) in [
        ("bad signature", Forgery::BadSignature),
        ("unknown key", Forgery::UnknownKey),
        ("garbage", Forgery::Garbage),
    ] {
        let tokens = tokens::forged(few, how)?;
        targets.push(refused(name, site.auth.load(&tokens)));
        if how == Forgery::BadSignature {
            let tokens = tokens::badly_signed(&many, NEVER_SEEN)?;
            targets.push(refused(
                "bad signature, never seen",
                site.auth.load(&tokens),
            ));
        }
    }
    let load = verification(site.auth.address, BRIEF, port, &brief);
    targets.push(refused("expired", load));
    targets.push(refused("no token", site.auth.load(&[String::new()])));
    compare("/verify on redb", &targets, bench.shape, bench.rounds)
}

/// Empty stores beside full ones.
pub(crate) async fn stored(bench: &Bench, stores: &[Filled], clients: usize) -> Result<()> {
    let sessions = clients * (fill::SESSIONS / fill::CLIENTS);
    let redis = RedisServer::start_with(&["appendfsync everysec"]).await?;
    for filled in stores {
        let (name, store, writers) = match filled {
            Filled::Redb => ("redb", bench.redb()?, 256),
            Filled::Redis => ("redis", Store::Redis(redis.url()), 16),
        };
        eprintln!("filling {name} with {clients} clients and {sessions} sessions");
        // The first start makes the keys: sessions in a store without any mean that it has lost something.
        let mut first = Auth::start(Settings::new(&store)?).await?;
        first.process.kill().await?;
        let begun = std::time::Instant::now();
        fill::fill(&open(&store).await?, clients, sessions, writers).await?;
        eprintln!("filled in {:.0} s", begun.elapsed().as_secs_f64());
        let empty = match store {
            Store::Redis(_) => Store::Redis(bench.redis.url()),
            _ => bench.redb()?,
        };
        let empty = Site::start(&format!("{name}, empty"), &empty, bench).await?;
        let full = Site::start(&format!("{name}, full"), &store, bench).await?;
        let mut remembered = Vec::new();
        let mut asked = Vec::new();
        for site in [&empty, &full] {
            let many = tokens::good(&site.client, MANY).await?;
            let few = many.get(..200).context("there are many")?;
            remembered.push(target(&site.name, &site.auth, few));
            asked.push(Target {
                is_forgetful: true,
                ..target(&site.name, &site.auth, &many)
            });
        }
        compare(
            "/verify, remembered",
            &remembered,
            bench.shape,
            bench.rounds,
        )?;
        compare(
            "/verify, asked of the store",
            &asked,
            bench.shape,
            bench.rounds,
        )?;
    }
    Ok(())
}

async fn open(store: &Store) -> Result<store::Store> {
    let backend: std::sync::Arc<dyn Backend> = match store {
        Store::Redb(path) => std::sync::Arc::new(EmbeddedBackend::open(path).await?),
        Store::Redis(url) => {
            let options = RedisOptions {
                password: Some(RedisServer::PASSWORD.to_owned()),
                ..RedisOptions::new(url)
            };
            std::sync::Arc::new(RedisBackend::open(options).await?)
        }
        Store::Memory => anyhow::bail!("a store in memory cannot be filled from outside"),
    };
    Ok(store::Store::new(backend))
}

/// Load on one store, for a profiler.
pub(crate) async fn profile(bench: &Bench, name: &str) -> Result<()> {
    let stores = bench.stores()?;
    let found = stores.iter().find(|(known, _)| *known == name);
    let (_, store) = found.context("memory, redb or redis")?;
    let site = Site::start(name, store, bench).await?;
    let tokens = tokens::good(&site.client, FEW).await?;
    println!("pid {}", site.auth.process.id());
    let outcome = wrk::run(&site.auth.load(&tokens), bench.shape)?;
    println!("{outcome:?}");
    Ok(())
}
