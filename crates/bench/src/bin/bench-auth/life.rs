//! From the start until ready, and memory.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::auth::tokens;
use bench::auth::{Settings, Store};
use bench::measure::{self, median, mib};
use bench::wrk;
use testkit::process::Signal;
use testkit::wait::PATIENCE;

use crate::{Bench, Site};

const STARTS: usize = 21;
/// Checks after which memory is looked at.
const MANY: f64 = 1e6;

/// Milliseconds until `/health/ready` says 200.
pub(crate) async fn start(bench: &Bench) -> Result<()> {
    println!("\n| start until ready | first start, ms | later ones, median ms | slowest ms |");
    println!("| --- | --- | --- | --- |");
    for (name, store) in bench.stores()? {
        let settings = Settings::new(&store)?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(start_once(&settings).await?);
        }
        let first = times.remove(0);
        let slowest = times.iter().copied().fold(0.0, f64::max);
        println!(
            "| {name} | {first:.1} | {:.1} | {slowest:.1} |",
            median(times)
        );
    }
    Ok(())
}

async fn start_once(settings: &Settings) -> Result<f64> {
    let begun = Instant::now();
    let (mut process, _) = settings.spawn()?;
    while !is_ready(settings.private_port) {
        ensure!(process.ended()?.is_none(), "mcp-auth ended");
        ensure!(begun.elapsed() < PATIENCE, "mcp-auth does not become ready");
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = begun.elapsed().as_secs_f64() * 1e3;
    process.signal(Signal::TERM)?;
    process.wait(PATIENCE).await?;
    Ok(took)
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| {
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200")
    })
}

/// Resident memory of a new process, after sign-ins, and after many checks.
pub(crate) async fn memory(bench: &Bench) -> Result<()> {
    println!("\n| MiB | idle | after 20 sign-ins | after {MANY:.0} checks |");
    println!("| --- | --- | --- | --- |");
    for (name, store) in bench.stores()? {
        let settings = Settings::new(&match store {
            Store::Redb(_) => bench.redb()?,
            other => other,
        })?;
        let auth = bench::auth::Auth::start(settings).await?;
        let id = auth.process.id();
        let idle = measure::memory(id)?;
        let site = Site::around(name, auth, bench).await?;
        let tokens = tokens::good(&site.client, (20, 10)).await?;
        let signed_in = measure::memory(id)?;
        let mut checks = 0.0;
        while checks < MANY {
            eprintln!("memory of {name}: {checks:.0} checks");
            checks += wrk::run(&site.auth.load(&tokens), bench.shape)?.requests;
        }
        let checked = measure::memory(id)?;
        println!(
            "| {name} | {} | {} | {} |",
            mib(idle),
            mib(signed_in),
            mib(checked)
        );
    }
    Ok(())
}
