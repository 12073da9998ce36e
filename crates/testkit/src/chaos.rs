//! A bad network: a TCP proxy that cuts connections at a chosen byte, refuses new ones, or lets nothing through.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A TCP proxy in front of one server. All its connections end with this value.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Faults {
    /// How many bytes still pass in one direction, over all connections; the connection of the next one is cut.
    cut: Mutex<Option<(Direction, usize)>>,
    paused: watch::Sender<bool>,
    /// Goes up by one each time all connections are to be cut.
    generation: watch::Sender<u64>,
    refusing: watch::Sender<bool>,
}

impl ChaosProxy {
    /// Listens on a free port and passes everything on to `server`.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a port for the proxy")?;
        let address = listener.local_addr()?;
        let faults = Arc::new(Faults {
            cut: Mutex::new(None),
            paused: watch::Sender::new(false),
            generation: watch::Sender::new(0),
            refusing: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&faults)));
        Ok(Self {
            address,
            faults,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `bytes` more bytes pass in this direction, over all connections, and then cuts the connection of the next byte.
    /// It does so once.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        *self.faults.cut() = Some((direction, bytes));
    }

    /// Takes a cut back that has not happened; whether it had not.
    #[must_use]
    pub fn forgive(&self) -> bool {
        self.faults.cut().take().is_some()
    }

    /// Cuts all connections now.
    pub fn cut_all(&self) {
        self.faults.generation.send_modify(|number| *number += 1);
    }

    /// While paused, connections stay open and nothing passes, in either direction.
    pub fn pause(&self, paused: bool) {
        self.faults.paused.send_replace(paused);
    }

    /// While refusing, each new connection is closed at once.
    pub fn refuse(&self, refusing: bool) {
        self.faults.refusing.send_replace(refusing);
    }
}

impl Faults {
    fn cut(&self) -> MutexGuard<'_, Option<(Direction, usize)>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `length` bytes pass, and whether the connection is cut after them.
    fn admit(&self, direction: Direction, length: usize) -> (usize, bool) {
        let mut cut = self.cut();
        let Some((of, left)) = cut.as_mut().filter(|(of, _)| *of == direction) else {
            return (length, false);
        };
        debug_assert_eq!(*of, direction);
        if length <= *left {
            *left -= length;
            return (length, false);
        }
        let passing = *left;
        *cut = None;
        (passing, true)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        if *faults.refusing.borrow() {
            continue;
        }
        connections.spawn(connection(client, server, Arc::clone(&faults)));
    }
}

async fn connection(client: TcpStream, server: SocketAddr, faults: Arc<Faults>) {
    let mut generation = faults.generation.subscribe();
    generation.mark_unchanged();
    let relay = async {
        flowing(&faults).await;
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // Either end closing ends both ways, as does a cut.
        tokio::select! {
            () = pass(from_client, to_server, Direction::ToServer, &faults) => {}
            () = pass(from_server, to_client, Direction::ToClient, &faults) => {}
        }
    };
    tokio::select! {
        () = relay => {}
        _ = generation.changed() => {}
    }
}

/// Waits while the proxy is paused.
async fn flowing(faults: &Faults) {
    let _ = faults.paused.subscribe().wait_for(|paused| !paused).await;
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    faults: &Faults,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        flowing(faults).await;
        let (passing, cut) = faults.admit(direction, length);
        let passed = buffer.get(..passing).unwrap_or_default();
        if to.write_all(passed).await.is_err() || cut {
            return;
        }
    }
}
