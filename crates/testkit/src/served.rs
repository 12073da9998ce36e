//! A server that a test plays, on a free port of this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use anyhow::{Context as _, Result};

/// It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    server: ServerHandle,
}

impl Served {
    /// Starts it. `what` it is, for the error; `at`: what it serves, once its address is known.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub(crate) fn start<Routes>(
        what: &'static str,
        at: impl FnOnce(SocketAddr) -> Routes,
    ) -> Result<Self>
    where
        Routes: Fn(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(what)?;
        let address = listener.local_addr()?;
        let routes = at(address);
        let server = HttpServer::new(move || App::new().configure(&routes))
            .workers(1)
            .disable_signals()
            .listen(listener)?
            .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self {
            address,
            server: handle,
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}
