//! Clients that are known by a metadata document: `client_id` is the URL at which it stands.
//!
//! The document is fetched at the authorization endpoint only. See `docs/decisions/0006-client-documents.md`.

mod address;
mod cache;
mod fetch;
mod limits;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oauth::client_document::{DocumentUrl, InvalidDocument, InvalidDocumentUrl};
use oauth::client_metadata::ClientMetadata;
use oauth::rules::Rules;
use oauth::{ClientId, Clock, Timestamp};

use self::cache::{Cache, Place};
use self::fetch::Fetcher;
pub(crate) use self::fetch::Internet;
pub use self::fetch::Network;
use self::limits::Limits;

/// How long a look-up takes at most, with all waiting for others.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(8);

/// Whose documents are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentPolicy {
    /// Every public host's.
    Any,
    /// Nobody's: clients register.
    Off,
    /// These hosts'.
    Hosts(BTreeSet<String>),
}

/// Why a document makes no client. Nothing of what the remote host answered is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The URL may not be a client identifier.
    #[error("{0}")]
    Url(InvalidDocumentUrl),
    /// The policy is [`DocumentPolicy::Off`].
    #[error("this gateway does not accept a URL as client_id; the application must register")]
    Off,
    /// The host is not on the list.
    #[error("this gateway does not accept applications of that host")]
    HostNotListed,
    /// The host has an address that is not public.
    #[error("that address cannot be used")]
    Blocked,
    /// The host does not answer, or answers that it cannot just now.
    #[error("its host does not answer")]
    Unavailable,
    /// Too many documents are being fetched, of this host or at all.
    #[error("too many applications are being looked up")]
    Busy,
    /// The host answered with something that is no document.
    #[error("the document {0}")]
    Answer(&'static str),
    /// The document is wrong.
    #[error("the document is not valid: {0}")]
    Invalid(InvalidDocument),
}

impl DocumentError {
    /// Whether the same request may succeed in a moment.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy)
    }
}

/// What a document says, or why there is none.
pub(crate) type Outcome = Result<Arc<ClientMetadata>, DocumentError>;

/// Looks up clients by their documents. Shared by all workers.
pub struct ClientDocuments {
    policy: DocumentPolicy,
    fetcher: Fetcher,
    cache: Cache,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for ClientDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientDocuments({:?})", self.policy)
    }
}

impl ClientDocuments {
    /// Fails when the system's certificates cannot be read.
    pub fn new(
        policy: DocumentPolicy,
        network: Arc<dyn Network>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            policy,
            fetcher: Fetcher::new(network)?,
            cache: Cache::new(),
            limits: Limits::new(),
            clock,
        })
    }

    /// Whether any document is accepted: what the metadata of the server tells.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.policy != DocumentPolicy::Off
    }

    /// Whether to look up this client would ask another host.
    pub(crate) fn must_fetch(&self, id: &ClientId) -> bool {
        self.is_on() && DocumentUrl::is_meant_by(id) && !self.cache.knows(id, self.clock.now())
    }

    /// What the document of this client says now, remembered or fetched; within eight seconds. The rules say which hosts are ours,
    /// where no document is fetched, and which scopes a client may have.
    pub async fn look_up(
        &self,
        id: &ClientId,
        rules: &Rules,
    ) -> Result<Arc<ClientMetadata>, DocumentError> {
        // Each who waits for the same document may in turn wait for a place among the fetches.
        tokio::time::timeout(LOOK_UP_LIMIT, self.find(id, rules))
            .await
            .unwrap_or(Err(DocumentError::Busy))
    }

    async fn find(&self, id: &ClientId, rules: &Rules) -> Outcome {
        if !self.is_on() {
            return Err(DocumentError::Off);
        }
        let url = DocumentUrl::parse(id, rules.sites()).map_err(DocumentError::Url)?;
        if let DocumentPolicy::Hosts(hosts) = &self.policy
            && !hosts.contains(url.host())
        {
            return Err(DocumentError::HostNotListed);
        }
        let now = self.clock.now();
        match self.cache.place(id, now).await {
            Place::Known(outcome) => outcome,
            Place::Unknown(vacancy) => {
                let _permit = self.limits.admit(url.host()).await?;
                let (outcome, fresh_for) = self.fetch(&url, rules, now).await;
                vacancy.fill(outcome.clone(), fresh_for, now);
                outcome
            }
        }
    }

    async fn fetch(
        &self,
        url: &DocumentUrl,
        rules: &Rules,
        now: Timestamp,
    ) -> (Outcome, Option<u64>) {
        let fetched = match self.fetcher.fetch(url).await {
            Ok(fetched) => fetched,
            Err(error) => return (Err(error), None),
        };
        match url.read(&fetched.body, &rules.offered_scopes()) {
            Ok(metadata) => {
                tracing::info!(client = %url.id(), at = %now, name = %chassis::telemetry::untrusted(&metadata.client_name),
                    "fetched a client's metadata document");
                (Ok(Arc::new(metadata)), fetched.fresh_for)
            }
            Err(error) => {
                let detail = match &error {
                    InvalidDocument::Member(member) => member.description.as_str(),
                    _ => "",
                };
                tracing::info!(client = %url.id(), %error, detail = %chassis::telemetry::untrusted(detail),
                    "a client's metadata document is not valid");
                (Err(DocumentError::Invalid(error)), None)
            }
        }
    }
}
