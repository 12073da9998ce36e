//! Who sent a request: the client's address, which a proxy in front tells only if we trust it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use ipnet::{IpNet, Ipv6Net};

use crate::config::Setting;

/// The variable `TRUSTED_PROXIES`; belongs in the table of a binary whose configuration has a list `listen.trusted_proxies`.
pub const TRUSTED_PROXIES: Setting = Setting::list(
    "TRUSTED_PROXIES",
    "listen.trusted_proxies",
    "addresses and networks whose X-Forwarded-For and X-Request-ID are believed; private: loopback and private networks; off: nobody's",
)
.example("private,203.0.113.0/24")
.how("Set TRUSTED_PROXIES=private, off, or addresses and networks such as 10.0.0.0/8,192.0.2.7");

/// Loopback, RFC 1918, RFC 4193 and link-local networks: where Traefik is when it runs beside us.
const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// An IPv6 customer has a /64 at least, so an address of it alone says nothing.
const IPV6_PREFIX: u8 = 64;

/// Networks, and addresses as networks of one. An IPv4 address is the same however it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Adds a network such as `10.0.0.0/8`, or an address. `false` if the text is neither.
    #[must_use]
    pub fn add(&mut self, text: &str) -> bool {
        let network = text.parse::<IpNet>().ok();
        let address = || Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()));
        let network = network.or_else(address);
        self.0.extend(network);
        network.is_some()
    }

    /// Whether this address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Proxies whose headers about the client are believed. Give it to `App::app_data`; without it nobody is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Networks);

impl TrustedProxies {
    /// Reads a list as [`TRUSTED_PROXIES`] describes it. The error is the entry that is wrong.
    pub fn parse<Entry: AsRef<str>>(entries: &[Entry]) -> Result<Self, String> {
        let mut networks = Networks::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            match entry {
                "private" => {
                    let private = PRIVATE.iter().filter_map(|text| text.parse::<IpNet>().ok());
                    networks.0.extend(private);
                }
                "off" if entries.len() == 1 => {}
                _ if networks.add(entry) => {}
                _ => return Err(entry.to_owned()),
            }
        }
        Ok(Self(networks))
    }

    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Whether what this request says about its client is believed.
    #[must_use]
    pub fn sent(request: &HttpRequest) -> bool {
        let peer = request.peer_addr();
        let trusted = request.app_data::<Self>();
        trusted
            .zip(peer)
            .is_some_and(|(trusted, peer)| trusted.contains(peer.ip()))
    }
}

/// The address a client is counted by: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address that stands for this one.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(
                Ipv6Net::new(address, IPV6_PREFIX).map_or(address, |network| network.network()),
            ),
            address @ IpAddr::V4(_) => address,
        })
    }

    /// Whose request this is. The peer's, unless it is a trusted proxy: then the last address of `X-Forwarded-For` that is
    /// not one as well, or else the one in `X-Real-Ip`. What a client wrote into these headers stands before what the
    /// proxies added and is not reached.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let peer = request
            .peer_addr()
            .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        let Some(trusted) = request.app_data::<TrustedProxies>() else {
            return Self::new(peer);
        };
        let mut nearest = peer;
        if !trusted.contains(nearest) {
            return Self::new(nearest);
        }
        let mut was_forwarded = false;
        let lines: Vec<&str> = request
            .headers()
            .get_all("x-forwarded-for")
            .filter_map(|line| line.to_str().ok())
            .collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(hop) = hop.trim().parse() else { break };
            was_forwarded = true;
            nearest = hop;
            if !trusted.contains(nearest) {
                break;
            }
        }
        let real = request.headers().get("x-real-ip");
        if let (false, Some(real)) = (was_forwarded, real)
            && let Some(real) = real.to_str().ok().and_then(|real| real.trim().parse().ok())
        {
            nearest = real;
        }
        Self::new(nearest)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(address) => write!(formatter, "{address}/{IPV6_PREFIX}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn counted(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut request = TestRequest::default()
            .app_data(TrustedProxies::parse(trusted).unwrap())
            .peer_addr(format!("{peer}:1234").parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        ClientAddress::of(&request.to_http_request()).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_may_name_the_client() {
        let claims = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-real-ip", "203.0.113.8"),
        ];
        assert_eq!(
            counted(&["private"], "198.51.100.1", &claims),
            "198.51.100.1"
        );
        assert_eq!(counted(&["off"], "10.0.0.2", &claims), "10.0.0.2");
        assert_eq!(counted(&["private"], "10.0.0.2", &claims), "203.0.113.9");
        assert_eq!(
            counted(&["private"], "10.0.0.2", &claims[1..]),
            "203.0.113.8"
        );
        assert_eq!(
            counted(&["198.51.100.0/24"], "198.51.100.1", &claims),
            "203.0.113.9"
        );
        assert_eq!(
            counted(&["198.51.100.1"], "[::ffff:198.51.100.1]", &claims),
            "203.0.113.9"
        );
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        let chain = [("x-forwarded-for", "1.1.1.1, 203.0.113.9")];
        assert_eq!(counted(&["private"], "10.0.0.2", &chain), "203.0.113.9");
        let two_lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        assert_eq!(counted(&["private"], "10.0.0.2", &two_lines), "203.0.113.9");
        let two_proxies = [("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.7")];
        assert_eq!(
            counted(&["private"], "10.0.0.2", &two_proxies),
            "203.0.113.9"
        );
        let garbage = [("x-forwarded-for", "203.0.113.9, for=evil")];
        assert_eq!(counted(&["private"], "10.0.0.2", &garbage), "10.0.0.2");
    }

    #[test]
    fn a_client_on_the_private_network_is_itself() {
        let inside = [("x-forwarded-for", "192.168.1.20")];
        assert_eq!(counted(&["private"], "10.0.0.2", &inside), "192.168.1.20");
    }

    #[test]
    fn all_addresses_of_a_64_are_one_client() {
        let one = counted(
            &["private"],
            "10.0.0.2",
            &[("x-forwarded-for", "2001:db8:1:2:3:4:5:6")],
        );
        let other = counted(
            &["private"],
            "10.0.0.2",
            &[("x-forwarded-for", "2001:db8:1:2::1")],
        );
        assert_eq!(one, "2001:db8:1:2::/64");
        assert_eq!(one, other);
        let next = counted(
            &["private"],
            "10.0.0.2",
            &[("x-forwarded-for", "2001:db8:1:3::1")],
        );
        assert_ne!(one, next);
    }

    #[test]
    fn a_wrong_entry_is_named() {
        assert_eq!(
            TrustedProxies::parse(&["private", "traefik"]).unwrap_err(),
            "traefik"
        );
        assert_eq!(
            TrustedProxies::parse(&["10.0.0.0/33"]).unwrap_err(),
            "10.0.0.0/33"
        );
        assert_eq!(
            TrustedProxies::parse(&["off", "10.0.0.1"]).unwrap_err(),
            "off"
        );
    }
}
