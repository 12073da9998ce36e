//! Who may send identity headers: `IDENTITY_FROM` (docs/decisions/0029).
//!
//! The headers prove nothing by themselves: whoever reaches the port can write them. What cannot be chosen is the address
//! that a connection comes from.

use std::net::IpAddr;
use std::time::Duration;

use chassis::peer::Networks;
use tokio::runtime::Handle;
use url::Host;

use crate::resolver::{Resolver, has};

/// The variable.
pub const IDENTITY_FROM: &str = "IDENTITY_FROM";

/// The least time between two times that the names are resolved.
const GAP: Duration = Duration::from_secs(1);

/// An entry that is neither a host name nor an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host name, address or network, such as traefik, 10.0.0.7 or 10.0.0.0/8; a name has no port"
)]
pub struct BadSender(pub String);

/// The setting, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    networks: Networks,
    /// `host:0` each: only the address counts.
    places: Vec<String>,
}

impl Named {
    /// Reads the entries.
    pub fn parse(entries: &[String]) -> Result<Self, BadSender> {
        let mut named = Self::default();
        for entry in entries {
            let entry = entry.trim();
            if named.networks.add(entry) {
                continue;
            }
            match Host::parse(entry) {
                Ok(Host::Domain(name)) => named.places.push(format!("{name}:0")),
                // What is left of the addresses are spellings that nobody means, such as 10.1 for 10.0.0.1.
                Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => {
                    return Err(BadSender(entry.to_owned()));
                }
            }
        }
        Ok(named)
    }
}

/// Those who may send identity headers, and where they are now.
#[derive(Debug)]
pub struct Senders {
    networks: Networks,
    names: Resolver,
}

impl Senders {
    /// Begins to resolve the names.
    #[must_use]
    pub fn start(named: Named, runtime: &Handle) -> Self {
        Self {
            networks: named.networks,
            names: Resolver::start(IDENTITY_FROM, named.places, GAP, runtime),
        }
    }

    /// Is this address one of theirs, as far as is known?
    #[must_use]
    pub fn are_known_at(&self, address: IpAddr) -> bool {
        self.networks.contains(address) || has(&self.names.addresses(), address)
    }

    /// Is this address one of theirs now? The names are resolved again.
    pub async fn are_at(&self, address: IpAddr) -> bool {
        self.networks.contains(address) || has(&self.names.again().await, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(entries: &[&str]) -> Result<Named, BadSender> {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        Named::parse(&entries)
    }

    #[test]
    fn names_addresses_and_networks() {
        let named = named(&["traefik", "10.0.0.0/8", "::ffff:192.0.2.7", "2001:db8::1"]).unwrap();
        assert_eq!(named.places, ["traefik:0"]);
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
        ] {
            assert_eq!(
                named.networks.contains(address.parse().unwrap()),
                is_in,
                "{address}"
            );
        }
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for wrong in [
            "traefik:80",
            "http://traefik",
            "10.0.0.0/33",
            "10.1",
            "",
            "a b",
        ] {
            let error = named(&["traefik", wrong]).unwrap_err();
            assert_eq!(error, BadSender(wrong.to_owned()));
        }
    }
}
