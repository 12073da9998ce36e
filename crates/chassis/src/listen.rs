//! Listening sockets.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use thiserror::Error;
use tokio::net::TcpSocket;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why an address cannot be listened on; one line.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process has the port.
    #[error(
        "the {name} address {address} is in use by another process. Stop that process or set another port."
    )]
    InUse {
        /// Which listener.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// The port is below 1024 and the process is not privileged.
    #[error(
        "the {name} address {address} needs a privilege this process lacks. Set a port from 1024 on."
    )]
    NotPermitted {
        /// Which listener.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// The address belongs to another machine.
    #[error(
        "the {name} address {address} is not an address of this machine. Use 127.0.0.1 (this machine only) or 0.0.0.0 (all)."
    )]
    NotOurs {
        /// Which listener.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on the {name} address {address}: {source}.")]
    Other {
        /// Which listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens on an address; port 0 takes a free one. `name` stands in the error: `public` or `private`.
///
/// `SO_REUSEADDR` is set, so that a restart need not wait for old connections. Call it inside a tokio runtime.
pub fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || -> io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listen().map_err(|source| {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { name, address },
            io::ErrorKind::PermissionDenied => ListenError::NotPermitted { name, address },
            io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { name, address },
            _ => ListenError::Other {
                name,
                address,
                source,
            },
        }
    })
}

/// Writes the bound addresses into a file, one `name=address` per line, for whoever started the process with port 0.
///
/// The file appears whole: it is written under another name and renamed.
pub fn announce(file: &Path, addresses: &[(&str, SocketAddr)]) -> io::Result<()> {
    let mut text = String::new();
    for (name, address) in addresses {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={address}");
    }
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn a_taken_port_is_one_clear_line() {
        let first = bind("public", ANY).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("public", address).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the public address {address} is in use by another process. Stop that process or set another port."
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_explained() {
        let error = bind("private", "192.0.2.1:0".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is not an address of this machine"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn bound_addresses_are_announced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("addresses");
        let address = bind("public", ANY).unwrap().local_addr().unwrap();
        announce(&file, &[("public", address), ("private", ANY)]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            format!("public={address}\nprivate=127.0.0.1:0\n")
        );
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}
