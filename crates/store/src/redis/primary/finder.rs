//! Which server takes reads and changes at present.

use deadpool_redis::redis::sentinel::{
    SentinelClient, SentinelNodeConnectionInfo, SentinelServerType,
};
use deadpool_redis::redis::{
    Client, ConnectionInfo, ErrorKind, RedisConnectionInfo, RedisError, TlsMode,
};
use deadpool_redis::{Manager, Pool, Runtime};

use crate::redis::options::{COMMAND, CONNECT, POOL_SIZE, WAIT, connection_config};

/// A server, with the connections for changes on it.
#[derive(Clone)]
pub(in crate::redis) struct Node {
    /// Where it is.
    pub(super) address: String,
    pub(super) client: Client,
    /// It ends with the node: a connection to what was the primary before is never used again.
    pub(super) pool: Pool,
}

impl Node {
    fn new(client: Client) -> Result<Self, RedisError> {
        let info = client.get_connection_info().clone();
        let address = info.addr().to_string();
        let manager = Manager::new_with_config(info, connection_config())?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(COMMAND))
            .build()
            .map_err(|_| {
                RedisError::from((ErrorKind::InvalidClientConfig, "no pool could be made"))
            })?;
        Ok(Self {
            address,
            client,
            pool,
        })
    }
}

/// Finds the server.
pub(in crate::redis) enum Finder {
    /// It is always the same.
    Fixed(Box<Node>),
    /// Sentinel knows.
    Sentinel(Box<SentinelClient>),
}

impl Finder {
    /// There is one server.
    pub(in crate::redis) fn fixed(info: ConnectionInfo) -> Result<Self, RedisError> {
        Ok(Self::Fixed(Box::new(Node::new(Client::open(info)?)?)))
    }

    /// The primary that these Sentinels name so.
    pub(in crate::redis) fn sentinel(
        sentinels: Vec<ConnectionInfo>,
        master: &str,
        settings: RedisConnectionInfo,
        is_tls: bool,
    ) -> Result<Self, RedisError> {
        let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings);
        if is_tls {
            node = node.set_tls_mode(TlsMode::Secure);
        }
        let client =
            SentinelClient::build(sentinels, master, Some(node), SentinelServerType::Master)?;
        Ok(Self::Sentinel(Box::new(client)))
    }

    /// The server, without asking anybody.
    pub(super) fn known(&self) -> Option<Node> {
        match self {
            Self::Fixed(node) => Some((**node).clone()),
            Self::Sentinel(_) => None,
        }
    }

    /// The server that is the primary now. If it is the one that was so before, `before` is the answer.
    pub(super) async fn find(&mut self, before: Option<&Node>) -> Result<Node, RedisError> {
        match self {
            Self::Fixed(node) => Ok((**node).clone()),
            Self::Sentinel(sentinel) => {
                let client = sentinel.async_get_client().await?;
                let address = client.get_connection_info().addr().to_string();
                match before {
                    Some(node) if node.address == address => Ok(node.clone()),
                    _ => Node::new(client),
                }
            }
        }
    }
}
