//! Other processes of the same service, and which of them has the session or the parked call that a request is for.
//!
//! A session of the older revisions and a parked call live in one process. Their names (`Mcp-Session-Id`, `requestState`)
//! begin with the tag of that process, so that any other can hand the request to it (docs/decisions/0018). Who the others
//! are says `REPLICAS`; nothing of this exists where that is not set.

mod client;
mod name;
mod peers;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use self::client::{Client, Failure};
pub use self::name::{Name, Tag};
pub use self::peers::Peer;
use self::peers::Peers;
use crate::metrics::Replication;

/// The path of the endpoint where a replica tells its name.
pub const PATH: &str = "/replica";

/// The header of a request that a replica has handed over: its name. It counts only if it is the name of a peer.
pub const HANDED_OVER_BY: &str = "x-handed-over-by";

/// The header of the last request to [`PATH`] of a replica that ends: its name.
pub const LEAVING: &str = "x-leaving";

/// How long what is on its way between two replicas may take.
const ON_THE_WAY: Duration = Duration::from_millis(100);

/// The replicas of this service.
#[derive(Debug)]
pub struct Replicas {
    name: Name,
    peers: Peers,
    /// Reaches the others.
    pub client: Client,
    /// What is counted.
    pub counted: Replication,
    in_flight: Arc<AtomicUsize>,
}

/// Who has what a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process: what is not found here is nowhere.
    Here,
    /// Another one.
    There(Peer),
    /// Nobody that is there now, or nobody who may be asked.
    Nobody,
}

/// A call that was handed over and is not answered to its end. Dropped when it is.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Replicas {
    /// A process that does not know its peers yet. `places`: `host:port` of each, where a name may stand for many.
    pub fn new(
        places: Vec<String>,
        runtime: Handle,
        counted: Replication,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            name: Name::generate()?,
            peers: Peers::new(places, &runtime),
            client: Client::new(runtime),
            counted,
            in_flight: Arc::default(),
        })
    }

    /// The name of this process.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What the names of its sessions and parked calls begin with.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.name.tag()
    }

    /// Whose a session id or a `requestState` is. A process that is not known is looked for once. `handed_over_by`: what
    /// [`HANDED_OVER_BY`] says; what a peer has handed over is not handed on.
    pub async fn owner(&self, id: &str, handed_over_by: Option<&str>) -> Owner {
        let Some((tag, _)) = Tag::split(id) else {
            return Owner::Nobody;
        };
        if tag == self.tag() {
            return Owner::Here;
        }
        let known = || {
            if handed_over_by.is_some_and(|name| self.peers.is_name(name)) {
                return Some(Owner::Nobody);
            }
            let peer = self.peers.get(tag)?;
            Some(if peer.leaving {
                Owner::Nobody
            } else {
                Owner::There(peer)
            })
        };
        if let Some(owner) = known() {
            return owner;
        }
        self.look().await;
        known().unwrap_or(Owner::Nobody)
    }

    /// Is `name` that of a peer that answers at this address now? Whoever is there is asked if it is not known, but only
    /// where there may be a replica at all.
    pub async fn is_peer(&self, name: &str, address: IpAddr) -> bool {
        if self.peers.is_name_at(name, address) {
            return true;
        }
        if !self.peers.may_be_at(address).await {
            return false;
        }
        self.look().await;
        self.peers.is_name_at(name, address)
    }

    /// Does `REPLICAS` stand for this address now?
    pub async fn may_be_at(&self, address: IpAddr) -> bool {
        self.peers.may_be_at(address).await
    }

    /// Nobody listens any more where this peer was.
    pub fn gone(&self, peer: &Peer) {
        self.peers.forget(peer);
        self.count();
    }

    /// Somebody says that the replica of this name is about to end, and takes nothing any more.
    pub fn left(&self, name: &str) {
        self.peers.left(name);
    }

    /// Tells the others that this process ends. When it returns nothing comes from them any more: no request meets the
    /// closing of its connection, of which nobody could tell whether it was taken.
    pub async fn leave(&self) {
        // Whoever came after the last look may know this one already.
        self.look().await;
        self.peers.goodbye(&self.client, &self.name).await;
        tokio::time::sleep(ON_THE_WAY).await;
    }

    async fn look(&self) {
        self.peers.look(&self.client, &self.name).await;
        self.count();
    }

    fn count(&self) {
        let count = i64::try_from(self.peers.count()).unwrap_or(i64::MAX);
        self.counted.peers.set(count);
    }

    /// Looks for the others from time to time until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut again = tokio::time::interval(peers::EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = again.tick() => self.look().await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Counts a call that is handed over.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// How many calls of others are answered through this process.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}
