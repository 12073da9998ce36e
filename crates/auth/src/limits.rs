//! How much one address, one client and all of them together may ask for.
//!
//! Each [`Limit`] is a quota of its own. It is counted in this process first, so that a flood costs no other machine anything,
//! and then in Redis where that is the store, so that all instances count together. While Redis cannot be asked, each
//! instance counts for itself.

mod attempts;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::peer::ClientAddress;
use oauth::Timestamp;
use sha2::{Digest as _, Sha256};
use store::{Admission, Counters, Quota, Store, Taken};

use self::attempts::UnderWay;
use crate::config::LimitsConfig;
use crate::counted::Counted;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MICROS: i64 = 60_000_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Audit lines about one thing in a minute.
const TOLD: NonZeroU32 = NonZeroU32::new(10).unwrap();

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident $field:ident $period:ident),* $(,)?) => {
        /// What is limited. The names stand in metrics, audit lines and stored counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Limit { $($(#[$doc])* $name),* }

        impl Limit {
            /// Every limit.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($field)),* }
            }

            fn quota(self, config: &LimitsConfig) -> Option<Quota> {
                let (most, period) = match self { $(Self::$name => (config.$field, $period)),* };
                NonZeroU32::new(most).map(|most| Quota::new(most, period))
            }
        }
    };
}

limits! {
    /// Registrations, per address.
    Register register HOUR,
    /// Registrations of all together.
    RegisterTotal register_total HOUR,
    /// `/authorize`, per address.
    Authorize authorize MINUTE,
    /// `/authorize` of all together: each request leaves a record for ten minutes.
    AuthorizeTotal authorize_total MINUTE,
    /// Metadata documents that are fetched for `/authorize`, per address.
    Documents documents MINUTE,
    /// The other steps of a sign-in (`/consent`, `/login`, `/callback`, pages of a signed-in person), per address.
    SignIn sign_in MINUTE,
    /// Passwords tried for one name from one address.
    Passwords passwords MINUTE,
    /// Passwords tried for one name from anywhere; beyond it each answer comes late, but it comes.
    PasswordsOfName passwords_of_name MINUTE,
    /// `/token`, per client and address.
    Token token MINUTE,
    /// Refused requests to `/token`, per client and address.
    TokenFailures token_failures MINUTE,
    /// `/revoke`, per client and address.
    Revoke revoke MINUTE,
    /// `/introspect`, per client and address.
    Introspect introspect MINUTE,
    /// What clients ask directly (`/token`, `/revoke`, `/introspect`, `/register/{client_id}`), per address whatever the client
    /// calls itself.
    Address address MINUTE,
    /// `/device_authorization`, per address.
    DeviceAuthorization device_authorization MINUTE,
    /// `/device_authorization` of all together.
    DeviceAuthorizationTotal device_authorization_total MINUTE,
    /// Wrong codes at `/device`, per address.
    DeviceCodes device_codes MINUTE,
}

/// Somebody asked too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) limit: Limit,
    /// When it is worth while to ask again.
    pub(crate) wait: Duration,
}

/// `Retry-After`, in whole seconds.
pub(crate) fn retry_after(wait: Duration) -> u64 {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    seconds.try_into().unwrap_or(u64::MAX)
}

/// The quotas and what is counted. Shared by all workers.
pub(crate) struct Limits {
    quotas: Vec<Option<Quota>>,
    here: Counters,
    told: Counters,
    /// In microseconds since 1970.
    no_denials_before: AtomicI64,
    counted: Counted,
    /// The store, if other instances count there too.
    shared: Option<Store>,
    under_way: UnderWay,
}

impl Limits {
    /// `shared` is the store if there may be other instances.
    pub(crate) fn new(config: &LimitsConfig, shared: Option<Store>, counted: Counted) -> Self {
        Self {
            quotas: Limit::ALL.iter().map(|limit| limit.quota(config)).collect(),
            here: Counters::new(),
            told: Counters::new(),
            no_denials_before: AtomicI64::new(i64::MIN),
            counted,
            shared,
            under_way: UnderWay::default(),
        }
    }

    /// Counts one request of `who` (an address, a client, or nobody for a limit of all together), if it may be made.
    pub(crate) async fn take(
        &self,
        limit: Limit,
        who: &Who<'_>,
        now: Timestamp,
    ) -> Result<(), Exceeded> {
        let Some(quota) = self.quota(limit) else {
            return Ok(());
        };
        let counter = who.counter(limit);
        let admission = match self.here.admit(&counter, quota, now) {
            Admission::Granted(_) => self.count_there(&counter, quota, now).await.map(drop),
            Admission::Refused(wait) => Err(wait),
        };
        admission.map_err(|wait| self.refuse(limit, who, wait, now))
    }

    fn quota(&self, limit: Limit) -> Option<Quota> {
        self.quotas.get(limit as usize).copied().flatten()
    }

    /// Counts one more in the store, or says how long to wait. Nothing is counted where no other instance counts, or while
    /// the store cannot be asked.
    async fn count_there(
        &self,
        counter: &str,
        quota: Quota,
        now: Timestamp,
    ) -> Result<Option<Taken>, Duration> {
        let Some(store) = &self.shared else {
            return Ok(None);
        };
        match store.backend().admit(counter, quota, now).await {
            Ok(Admission::Granted(taken)) => Ok(Some(taken)),
            Ok(Admission::Refused(wait)) => Err(wait),
            Err(error) => {
                tracing::debug!(%error, "requests are counted by this instance alone");
                Ok(None)
            }
        }
    }

    fn refuse(&self, limit: Limit, who: &Who<'_>, wait: Duration, now: Timestamp) -> Exceeded {
        self.counted.limited(limit.name());
        self.tell(limit, who, wait, now);
        Exceeded { limit, wait }
    }

    /// Whether to write one more line about something that strangers can cause at will: some lines a minute say enough.
    pub(crate) fn may_tell(&self, what: &str, now: Timestamp) -> bool {
        let quota = Quota::new(TOLD, MINUTE);
        self.told.admit(what, quota, now).is_granted()
    }

    /// The same about refused tokens. While there were enough lines nothing is locked: there may be many thousands in a second.
    pub(crate) fn may_tell_denial(&self, now: Timestamp) -> bool {
        let micros = now.as_microsecond();
        let quiet = self
            .no_denials_before
            .load(Ordering::Relaxed)
            .saturating_sub(micros);
        // One that is farther ahead was written before the clock was put back.
        if (1..=MINUTE_MICROS).contains(&quiet) {
            return false;
        }
        match self
            .told
            .admit("verify_denied", Quota::new(TOLD, MINUTE), now)
        {
            Admission::Granted(_) => true,
            Admission::Refused(wait) => {
                let wait = i64::try_from(wait.as_micros()).unwrap_or(MINUTE_MICROS);
                self.no_denials_before
                    .store(micros.saturating_add(wait), Ordering::Relaxed);
                false
            }
        }
    }

    fn tell(&self, limit: Limit, who: &Who<'_>, wait: Duration, now: Timestamp) {
        if self.may_tell(limit.name(), now) {
            tracing::warn!(target: "audit", event = "limit_hit", limit = limit.name(), address = who.address.map(tracing::field::display),
                client = who.name.map(|name| tracing::field::display(chassis::telemetry::untrusted(name))), wait_seconds = wait.as_secs(),
                "a limit was hit");
        }
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Who<'a> {
    address: Option<ClientAddress>,
    name: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// Everybody's.
    pub(crate) const ALL: Who<'static> = Who {
        address: None,
        name: None,
    };

    /// An address's.
    pub(crate) const fn at(address: ClientAddress) -> Self {
        Self {
            address: Some(address),
            name: None,
        }
    }

    /// Of these, those that a client makes, or those about a name. It may be any text.
    pub(crate) const fn named(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// The stored name of the counter: of bounded length, and nobody is to be read in it.
    fn counter(&self, limit: Limit) -> String {
        let mut hash = Sha256::new();
        if let Some(address) = self.address {
            hash.update(address.to_string());
        }
        // No address has a line break in it, so two different pairs never are the same text.
        hash.update("\n");
        if let Some(name) = self.name {
            hash.update(name);
        }
        let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
        let short = hash.get(..22).unwrap_or(&hash);
        format!("{}:{short}", limit.name())
    }
}
