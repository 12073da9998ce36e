//! What the names in a setting stand for now: asked from time to time, and again when somebody needs to know.
//!
//! One task asks for all, so that no caller can make it ask more often, nor end a look-up by going away. The start waits for
//! nothing, and what a name stood for last counts while it cannot be resolved.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

/// How often the names are resolved, whether somebody asks or not.
const EVERY: Duration = Duration::from_secs(5);
/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(2);

/// Asks for the addresses of a `host:port`.
type LookUp = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// The addresses behind some names. Its task ends with it.
#[derive(Debug)]
pub struct Resolver {
    seen: watch::Receiver<Seen>,
    wanted: Arc<Notify>,
}

/// What came of the last time that all names were resolved.
#[derive(Debug, Default)]
struct Seen {
    /// When that began; `None` before the first time.
    begun: Option<Instant>,
    addresses: Arc<[SocketAddr]>,
}

impl Resolver {
    /// Begins to resolve. `setting`: the variable that has the names, for the log. `places`: `host:port` each; without any
    /// there is nothing to do. `gap`: the least time between two times.
    #[must_use]
    pub fn start(
        setting: &'static str,
        places: Vec<String>,
        gap: Duration,
        runtime: &Handle,
    ) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let wanted = Arc::new(Notify::new());
        if !places.is_empty() {
            let names = Names::new(setting, places, |place| {
                Box::pin(async move { Ok(lookup_host(place).await?.collect()) })
            });
            runtime.spawn(follow(names, gap, sender, Arc::clone(&wanted)));
        }
        Self { seen, wanted }
    }

    /// The addresses as they were last time, in order, none of them twice.
    #[must_use]
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.seen.borrow().addresses)
    }

    /// The addresses as they are now: resolved after this call. It waits for the gap to be over, and for a slow answer as
    /// long as one may take.
    pub async fn again(&self) -> Arc<[SocketAddr]> {
        let asked = Instant::now();
        self.wanted.notify_one();
        let mut seen = self.seen.clone();
        let later = |seen: &Seen| seen.begun.is_some_and(|begun| begun >= asked);
        // Nobody resolves where there are no names.
        match seen.wait_for(later).await {
            Ok(seen) => Arc::clone(&seen.addresses),
            Err(_) => self.addresses(),
        }
    }
}

async fn follow(mut names: Names, gap: Duration, seen: watch::Sender<Seen>, wanted: Arc<Notify>) {
    loop {
        let begun = Instant::now();
        let addresses = names.resolve().await;
        seen.send_replace(Seen {
            begun: Some(begun),
            addresses,
        });
        tokio::select! {
            () = seen.closed() => return,
            () = sleep_until(begun + gap) => {}
        }
        tokio::select! {
            () = seen.closed() => return,
            () = wanted.notified() => {}
            () = sleep_until(begun + EVERY) => {}
        }
    }
}

/// What is remembered from time to time.
#[derive(Debug)]
struct Names {
    setting: &'static str,
    places: Vec<String>,
    look_up: LookUp,
    /// The addresses of each place, as far as it could be resolved.
    addresses: HashMap<String, Vec<SocketAddr>>,
    /// Places that could not be resolved last time: told once.
    unresolved: Vec<String>,
}

impl Names {
    fn new(setting: &'static str, places: Vec<String>, look_up: LookUp) -> Self {
        Self {
            setting,
            places,
            look_up,
            addresses: HashMap::new(),
            unresolved: Vec::new(),
        }
    }

    async fn resolve(&mut self) -> Arc<[SocketAddr]> {
        let look_up = self.look_up;
        let asked = self.places.iter().map(|place| async move {
            let found = match timeout(RESOLVE, look_up(place.clone())).await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            (place.clone(), found)
        });
        for (place, found) in join_all(asked).await {
            self.note(place, found);
        }
        let mut addresses: Vec<SocketAddr> = self.addresses.values().flatten().copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.into()
    }

    fn note(&mut self, place: String, found: Result<Vec<SocketAddr>, String>) {
        let setting = self.setting;
        let was_unresolved = self.unresolved.contains(&place);
        // A port that is 0 stands in no setting.
        let name = place.strip_suffix(":0").unwrap_or(&place);
        match found {
            Ok(found) => {
                if was_unresolved {
                    info!(name, setting, "this name can be resolved again");
                    self.unresolved.retain(|unresolved| *unresolved != place);
                }
                self.addresses.insert(place, found);
            }
            Err(error) if !was_unresolved => {
                warn!(
                    name,
                    setting,
                    error,
                    "a name in this setting cannot be resolved: what it stood for before counts"
                );
                self.unresolved.push(place);
            }
            Err(_) => {}
        }
    }
}

/// Is this address among them? An IPv4 address is the same however it is written.
#[must_use]
pub fn has(addresses: &[SocketAddr], address: IpAddr) -> bool {
    let address = address.to_canonical();
    addresses
        .iter()
        .any(|known| known.ip().to_canonical() == address)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GAP: Duration = Duration::from_millis(20);

    fn at(text: &str) -> Vec<SocketAddr> {
        vec![text.parse().unwrap()]
    }

    fn started(look_up: LookUp) -> Resolver {
        let (sender, seen) = watch::channel(Seen::default());
        let wanted = Arc::new(Notify::new());
        let names = Names::new("TEST", vec!["name:0".to_owned()], look_up);
        drop(tokio::spawn(follow(
            names,
            GAP,
            sender,
            Arc::clone(&wanted),
        )));
        Resolver { seen, wanted }
    }

    #[tokio::test]
    async fn a_name_counts_once_it_resolves_and_goes_on_when_it_does_not() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = started(|_| {
            Box::pin(async {
                match ASKED.fetch_add(1, Ordering::SeqCst) {
                    0 | 2 => Err(io::ErrorKind::NotFound.into()),
                    1 => Ok(at("10.0.0.1:0")),
                    _ => Ok(at("10.0.0.2:0")),
                }
            })
        });
        assert!(resolver.addresses().is_empty(), "nobody waits at the start");
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(resolver.again().await.to_vec());
        }
        let expected = [vec![], at("10.0.0.1:0"), at("10.0.0.1:0"), at("10.0.0.2:0")];
        assert_eq!(seen, expected);
        assert_eq!(resolver.addresses().to_vec(), at("10.0.0.2:0"));
    }

    #[tokio::test]
    async fn who_asks_often_makes_it_ask_no_more() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = started(|_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(at("10.0.0.1:0")) })
        });
        resolver.again().await;
        let before = ASKED.load(Ordering::SeqCst);
        let found = join_all((0..100).map(|_| resolver.again())).await;
        assert!(found.iter().all(|found| found.to_vec() == at("10.0.0.1:0")));
        // One for all of them, and perhaps the next already.
        let asked = ASKED.load(Ordering::SeqCst) - before;
        assert!((1..=2).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn without_names_nobody_waits() {
        let resolver = Resolver::start("TEST", Vec::new(), GAP, &Handle::current());
        assert!(resolver.again().await.is_empty());
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        let known: [SocketAddr; 2] = [
            "192.0.2.1:0".parse().unwrap(),
            "[::ffff:192.0.2.2]:0".parse().unwrap(),
        ];
        for address in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "192.0.2.2",
            "::ffff:192.0.2.2",
        ] {
            assert!(has(&known, address.parse().unwrap()), "{address}");
        }
        assert!(!has(&known, "192.0.2.3".parse().unwrap()));
        assert!(!has(&known, "::192.0.2.1".parse().unwrap()));
    }
}
