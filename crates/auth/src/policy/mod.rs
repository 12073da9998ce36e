//! The operator's rules as they stand now. They are replaced whole while the service runs.

mod watch;

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use oauth::client::Client;
use oauth::rules::Rules;
use oauth::{ClientId, Sites, Timestamp};
use store::{Store, StoreError};

pub(crate) use self::watch::{Source, Watch};

/// The rules, shared by all workers.
pub(crate) struct Policy(ArcSwap<Rules>);

impl Policy {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(ArcSwap::from_pointee(rules))
    }

    /// The rules as they stand now, with the services that there are. Take them once for one decision.
    pub(crate) fn rules(&self) -> Guard<Arc<Rules>> {
        self.0.load()
    }

    /// From now on these count. Decisions that rest on the old ones must be forgotten afterwards, not before.
    fn replace(&self, rules: Arc<Rules>) {
        self.0.store(rules);
    }

    /// The client of this id: one of the operator's from the configuration, or a stored one.
    pub(crate) async fn client(
        &self,
        store: &Store,
        id: &ClientId,
        now: Timestamp,
    ) -> Result<Option<Client>, StoreError> {
        let configured = self.rules().operator_client(id).cloned();
        match configured {
            Some(client) => Ok(Some(client)),
            None => store.client(id, now).await,
        }
    }
}

/// The hosts of the rules as they stood at one moment.
pub(crate) struct CurrentSites(pub(crate) Guard<Arc<Rules>>);

impl Deref for CurrentSites {
    type Target = Sites;

    fn deref(&self) -> &Sites {
        self.0.sites()
    }
}
