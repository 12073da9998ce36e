//! Who the other replicas are now: the addresses behind the configured places, each asked for its name.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::client::{Asked, Client};
use super::name::{Name, Tag};
use crate::resolver::{Resolver, has};

/// How often it is looked who is there.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// The least time between two looks. Whoever asks for an unknown process meanwhile waits for the next one.
const GAP: Duration = Duration::from_millis(250);
/// Replicas that are known at most.
const MOST: usize = 64;

/// Another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: Name,
    /// Where it answers.
    pub address: SocketAddr,
    /// It has said goodbye.
    pub leaving: bool,
}

/// The other replicas.
#[derive(Debug)]
pub(super) struct Peers {
    /// Where there may be one. What is found there is asked for its name each time, so that addresses of before cannot be
    /// anybody else's.
    places: Resolver,
    known: ArcSwap<HashMap<Tag, Peer>>,
    /// When the last look that came to its end began; held while one is under way.
    looking: Mutex<Option<Instant>>,
}

impl Peers {
    pub(super) fn new(places: Vec<String>, runtime: &Handle) -> Self {
        Self {
            places: Resolver::start("REPLICAS", places, GAP, runtime),
            known: ArcSwap::default(),
            looking: Mutex::default(),
        }
    }

    pub(super) fn get(&self, tag: Tag) -> Option<Peer> {
        self.known.load().get(&tag).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.known.load().len()
    }

    /// Is this the name of a peer?
    pub(super) fn is_name(&self, text: &str) -> bool {
        Name::parse(text).is_some_and(|name| self.known.load().contains_key(&name.tag()))
    }

    /// Is this the name of a peer that answers at this address?
    pub(super) fn is_name_at(&self, text: &str, address: IpAddr) -> bool {
        let known = self.known.load();
        Name::parse(text)
            .and_then(|name| known.get(&name.tag()))
            .is_some_and(|peer| has(&[peer.address], address))
    }

    /// Do the places stand for this address? They are resolved again if they did not.
    pub(super) async fn may_be_at(&self, address: IpAddr) -> bool {
        has(&self.places.addresses(), address) || has(&self.places.again().await, address)
    }

    /// Takes a peer out until it answers again.
    pub(super) fn forget(&self, peer: &Peer) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.remove(&peer.name.tag());
            known
        });
    }

    /// Marks a peer that has said goodbye.
    pub(super) fn left(&self, name: &str) {
        let Some(tag) = Name::parse(name).map(|name| name.tag()) else {
            return;
        };
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if let Some(peer) = known.get_mut(&tag) {
                peer.leaving = true;
            }
            known
        });
    }

    /// Says goodbye to every peer, and waits until each has heard it.
    pub(super) async fn goodbye(&self, client: &Client, own: &Name) {
        let known = self.known.load_full();
        join_all(known.values().map(|peer| client.goodbye(peer.address, own))).await;
    }

    /// Looks who is there. A look of somebody else that began after this call is as good.
    pub(super) async fn look(&self, client: &Client, own: &Name) {
        let asked = Instant::now();
        let mut looking = self.looking.lock().await;
        if looking.is_some_and(|begun| begun >= asked) {
            return;
        }
        if let Some(begun) = *looking {
            sleep_until(begun + GAP).await;
        }
        let begun = Instant::now();
        let mut addresses = self.places.again().await.to_vec();
        if addresses.len() > MOST {
            warn!(
                found = addresses.len(),
                most = MOST,
                "REPLICAS stands for more addresses than there may be replicas: the rest is left out"
            );
            addresses.truncate(MOST);
        }
        let answers = join_all(addresses.iter().map(|address| client.ask(*address))).await;
        self.note(own, addresses.into_iter().zip(answers));
        *looking = Some(begun);
    }

    fn note(&self, own: &Name, answers: impl Iterator<Item = (SocketAddr, Asked)>) {
        let answers: Vec<_> = answers.collect();
        // Somebody may say goodbye meanwhile.
        let before = self.known.rcu(|before| {
            let names = answers.iter().filter_map(|(address, asked)| match asked {
                Asked::Named(name) => Some((*address, name.clone())),
                Asked::Nobody => None,
                // Busy, perhaps. Whether it is gone shows when something is handed over.
                Asked::Silent => {
                    let mut known = before.values();
                    let peer = known.find(|peer| peer.address == *address)?;
                    Some((*address, peer.name.clone()))
                }
            });
            let others = names.filter(|(_, name)| name != own);
            let known = others.map(|(address, name)| {
                let tag = name.tag();
                let leaving = before.get(&tag).is_some_and(|peer| peer.leaving);
                let peer = Peer {
                    name,
                    address,
                    leaving,
                };
                (tag, peer)
            });
            known.collect::<HashMap<_, _>>()
        });
        let known = self.known.load();
        let same = known.len() == before.len() && known.keys().all(|tag| before.contains_key(tag));
        if !same {
            info!(
                others = known.len(),
                "the replicas of this service are other ones now"
            );
        }
    }
}
