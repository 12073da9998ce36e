//! Which Redis: one server, the primary that Sentinel names, or a cluster.

use std::fmt;

use deadpool_redis::redis::{
    self, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
};

use super::RedisOptions;
use crate::backend::OpenError;

/// The port of a Sentinel whose address names none.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is, ready for the library.
pub(super) enum Address {
    /// One server.
    Single(ConnectionInfo),
    /// The primary of this name, as these Sentinels know it.
    Sentinel {
        /// The Sentinels, with what they want to be shown.
        sentinels: Vec<ConnectionInfo>,
        /// The name under which they watch the primary.
        master: String,
        /// What the primary wants to be shown.
        settings: RedisConnectionInfo,
        /// Whether Sentinels and primary are asked over TLS.
        is_tls: bool,
    },
    /// Some nodes of a cluster; the others follow from what they say.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// What is written in `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// When it is none of the forms that [`RedisOptions::url`] lists. The error never quotes it: it may hold the password.
    pub(super) fn of(options: &RedisOptions) -> Result<Self, OpenError> {
        let (scheme, rest) = options.url.split_once("://").unwrap_or_default();
        let Some((transport, kind)) = scheme.split_once('+') else {
            return Ok(Self::Single(one(&options.url, options)?));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may contain an @, a host may not.
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let nodes: Vec<_> = hosts
            .split(',')
            .map(|host| one(&format!("{transport}://{user}{}", host.trim()), options))
            .collect::<Result<_, _>>()?;
        match kind {
            "sentinel" => sentinel(nodes, path, options),
            "cluster" if path.is_empty() => Ok(Self::Cluster(nodes)),
            "cluster" => Err(refused(
                "a cluster has one database, so nothing follows its hosts",
            )),
            _ => Err(refused(
                "after the + of its scheme stands neither sentinel nor cluster",
            )),
        }
    }
}

/// The address as it may be shown: hosts and names, no user and no password.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[ConnectionInfo]| {
            let hosts: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
            hosts.join(",")
        };
        match self {
            Self::Single(info) => write!(formatter, "{}", info.addr()),
            Self::Sentinel {
                sentinels, master, ..
            } => write!(formatter, "{master} (Sentinel {})", list(sentinels)),
            Self::Cluster(nodes) => write!(formatter, "{} (cluster)", list(nodes)),
        }
    }
}

/// One server of an address.
fn one(url: &str, options: &RedisOptions) -> Result<ConnectionInfo, OpenError> {
    let url = redis::parse_redis_url(url)
        .ok_or_else(|| refused("it must begin with redis:// or rediss:// and name a host"))?;
    // The library's own errors may quote parts of the URL, and those may be the password.
    let info = url
        .into_connection_info()
        .map_err(|_| refused("its host, port, database or options are not valid"))?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(refused(
            "#insecure would accept any certificate; let the system trust the right one (SSL_CERT_FILE)",
        ));
    }
    let Some(password) = &options.password else {
        return Ok(info);
    };
    let settings = info.redis_settings().clone().set_password(password);
    Ok(info.set_redis_settings(settings))
}

/// `path` is `MASTER` or `MASTER/DATABASE`.
fn sentinel(
    nodes: Vec<ConnectionInfo>,
    path: &str,
    options: &RedisOptions,
) -> Result<Address, OpenError> {
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() || master.contains(['?', '#']) {
        return Err(refused(
            "after its Sentinels stands the name under which they watch the primary, as in \
             redis+sentinel://host:26379/mymaster",
        ));
    }
    let database: i64 = database
        .parse()
        .ok()
        .filter(|database| *database >= 0)
        .ok_or_else(|| refused("after the name of the primary stands the number of a database"))?;
    let settings = nodes
        .first()
        .map(|node| node.redis_settings().clone().set_db(database))
        .unwrap_or_default();
    let is_tls = nodes
        .iter()
        .any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
    // A Sentinel has no databases and users of its own; most have no password.
    let shown = options
        .sentinel_password
        .as_ref()
        .map_or_else(RedisConnectionInfo::default, |password| {
            RedisConnectionInfo::default().set_password(password)
        });
    let sentinels = nodes
        .into_iter()
        .map(|node| {
            let addr = with_sentinel_port(node.addr());
            node.set_addr(addr).set_redis_settings(shown.clone())
        })
        .collect();
    Ok(Address::Sentinel {
        sentinels,
        master: master.to_owned(),
        settings,
        is_tls,
    })
}

/// The library takes 6379 where no port is named, and no Sentinel is there.
fn with_sentinel_port(addr: &ConnectionAddr) -> ConnectionAddr {
    match addr.clone() {
        ConnectionAddr::Tcp(host, 6379) => ConnectionAddr::Tcp(host, SENTINEL_PORT),
        ConnectionAddr::TcpTls {
            host,
            port: 6379,
            insecure,
            tls_params,
        } => ConnectionAddr::TcpTls {
            host,
            port: SENTINEL_PORT,
            insecure,
            tls_params,
        },
        other => other,
    }
}

fn refused(reason: &str) -> OpenError {
    OpenError::RedisUrl {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        let options = RedisOptions {
            password: Some("p@ss/word".to_owned()),
            ..RedisOptions::new(url)
        };
        Address::of(&options).unwrap()
    }

    #[test]
    fn the_password_may_come_apart_from_the_url() {
        let Address::Single(info) = address("redis://user@cache:1234/3") else {
            panic!("one server");
        };
        assert_eq!(info.addr().to_string(), "cache:1234");
        assert_eq!(info.redis_settings().username(), Some("user"));
        assert_eq!(info.redis_settings().password(), Some("p@ss/word"));
        assert_eq!(info.redis_settings().db(), 3);
        let Address::Single(info) = address("rediss://:in-url@cache") else {
            panic!("one server");
        };
        assert_eq!(info.redis_settings().password(), Some("p@ss/word"));
        assert!(matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn sentinels_and_the_primary_are_told_apart() {
        let Address::Sentinel {
            sentinels,
            master,
            settings,
            is_tls,
        } = address("redis+sentinel://gateway@one,two:26380,[::1]/mymaster/2")
        else {
            panic!("Sentinel");
        };
        let hosts: Vec<_> = sentinels
            .iter()
            .map(|node| node.addr().to_string())
            .collect();
        assert_eq!(hosts, ["one:26379", "two:26380", "::1:26379"]);
        assert!(
            sentinels
                .iter()
                .all(|node| node.redis_settings().password().is_none()
                    && node.redis_settings().username().is_none()
                    && node.redis_settings().db() == 0)
        );
        assert_eq!(master, "mymaster");
        assert_eq!(settings.username(), Some("gateway"));
        assert_eq!(settings.password(), Some("p@ss/word"));
        assert_eq!(settings.db(), 2);
        assert!(!is_tls);
        let secured = address("rediss+sentinel://one/mymaster");
        assert!(matches!(secured, Address::Sentinel { is_tls: true, .. }));
        assert_eq!(secured.to_string(), "mymaster (Sentinel one:26379)");
    }

    #[test]
    fn a_cluster_is_known_by_some_of_its_nodes() {
        let cluster = address("rediss+cluster://gateway:in-url@one:7000,two");
        assert_eq!(cluster.to_string(), "one:7000,two:6379 (cluster)");
        let Address::Cluster(nodes) = cluster else {
            panic!("a cluster");
        };
        for node in nodes {
            assert_eq!(node.redis_settings().username(), Some("gateway"));
            assert_eq!(node.redis_settings().password(), Some("p@ss/word"));
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "",
            "http://:topsecret@cache",
            "redis:topsecret",
            "redis://:topsecret@cache/topsecret",
            "redis://:topsecret@cache:99999",
            "rediss://:topsecret@cache/#insecure",
            "redis://:topsecret@cache?protocol=topsecret",
            "redis+sentinel://:topsecret@cache",
            "redis+sentinel://:topsecret@cache/mymaster/topsecret",
            "redis+sentinel://:topsecret@cache,:99999/mymaster",
            "redis+cluster://:topsecret@cache/1",
            "redis+cluster://:topsecret@",
            "redis+topsecret://cache",
            "http+cluster://:topsecret@cache",
        ] {
            let options = RedisOptions {
                password: Some("topsecret".to_owned()),
                sentinel_password: Some("topsecret".to_owned()),
                ..RedisOptions::new(url)
            };
            let Err(error) = Address::of(&options) else {
                panic!("{url}");
            };
            let shown = format!("{error} {error:?} {options:?}");
            assert!(!shown.contains("topsecret"), "{shown}");
            assert!(shown.contains("REDIS_URL"), "{shown}");
        }
    }
}
