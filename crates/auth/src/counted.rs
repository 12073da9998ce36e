//! What is counted, for `/metrics`. Labels come from closed sets: never a person, a client, a path or anything else that
//! somebody outside can choose.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use chassis::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use store::StoreError;

/// Upper bounds of the times of the store in seconds.
const SECONDS: [f64; 10] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5, 2.0,
];

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

macro_rules! verified {
    ($($(#[$doc:meta])* $name:ident $label:literal),* $(,)?) => {
        /// What `/verify` answered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Verified { $($(#[$doc])* $name),* }

        impl Verified {
            const ALL: [Self; [$($label),*].len()] = [$(Self::$name),*];

            /// Its label.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $label),* }
            }
        }
    };
}

verified! {
    /// 200 without a question to the store.
    Remembered "remembered",
    /// 200.
    Allowed "allowed",
    /// 200 for everybody.
    Public "public",
    /// 401: there is no token.
    NoToken "no_token",
    /// 401.
    InvalidToken "invalid_token",
    /// 403: good, but too narrow.
    InsufficientScope "insufficient_scope",
    /// 403: no service of ours.
    UnknownService "unknown_service",
    /// 503: the store cannot be asked.
    Unavailable "unavailable",
    /// 503: too many others ask the store.
    Busy "busy",
}

/// How a request for tokens ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Granted {
    /// The `grant_type`, `other` for one that we do not have.
    pub(crate) grant: &'static str,
    pub(crate) outcome: &'static str,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Hit {
    pub(crate) limit: &'static str,
}

/// Which primitive of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Asked {
    pub(crate) operation: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Times;

impl MetricConstructor<Histogram> for Times {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// The counters; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// Made once, because nothing is asked as often as `/verify`.
    verify: [Counter; Verified::ALL.len()],
    tokens: Family<Granted, Counter>,
    registrations: Family<Outcome, Counter>,
    sign_ins: Family<Outcome, Counter>,
    limits: Family<Hit, Counter>,
    documents: Family<Outcome, Counter>,
    store_seconds: Family<Asked, Histogram, Times>,
    store_errors: Family<Asked, Counter>,
    store_swept: Counter,
    /// Whether events of other instances arrive: 1 or 0.
    pub(crate) events_arrive: Gauge,
    /// Keys that are published.
    pub(crate) keys: Gauge,
    /// For how many seconds the current signing key has signed.
    pub(crate) key_age: Gauge,
    /// By how many seconds this machine is ahead of the server of the store whose clock differs most.
    pub(crate) clock_offset: Gauge<f64, AtomicU64>,
    /// Bytes that are free for the store file; absent without one.
    pub(crate) disk_free: Gauge,
    /// 1 while fewer are free than should be.
    pub(crate) disk_low: Gauge,
    /// Decisions of `/verify` that are remembered.
    pub(crate) decisions: Gauge,
}

impl Counted {
    /// New counters, shown in `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let verify = Family::<Outcome, Counter>::default();
        let counted = Self {
            verify: Verified::ALL.map(|verified| {
                let outcome = verified.name();
                verify.get_or_create_owned(&Outcome { outcome })
            }),
            tokens: Family::default(),
            registrations: Family::default(),
            sign_ins: Family::default(),
            limits: Family::default(),
            documents: Family::default(),
            store_seconds: Family::new_with_constructor(Times),
            store_errors: Family::default(),
            store_swept: Counter::default(),
            events_arrive: Gauge::default(),
            keys: Gauge::default(),
            key_age: Gauge::default(),
            clock_offset: Gauge::default(),
            disk_free: Gauge::default(),
            disk_low: Gauge::default(),
            decisions: Gauge::default(),
        };
        metrics.register("auth_verify", "Answers of /verify by outcome; `remembered` are the 200s without a question to the store", verify);
        metrics.register(
            "auth_token_requests",
            "Answers of /token by grant and outcome",
            counted.tokens.clone(),
        );
        metrics.register(
            "auth_registrations",
            "Answers to registrations by outcome",
            counted.registrations.clone(),
        );
        metrics.register(
            "auth_sign_ins",
            "Ends of sign-ins by outcome",
            counted.sign_ins.clone(),
        );
        metrics.register(
            "auth_limited",
            "Requests refused by a limit",
            counted.limits.clone(),
        );
        metrics.register(
            "auth_client_documents",
            "Look-ups of client-id metadata documents by outcome",
            counted.documents.clone(),
        );
        metrics.register(
            "auth_store_seconds",
            "Time of the store by operation",
            counted.store_seconds.clone(),
        );
        metrics.register(
            "auth_store_errors",
            "Operations that the store did not do",
            counted.store_errors.clone(),
        );
        metrics.register(
            "auth_store_swept",
            "Expired records and entries of lists that were removed; Redis removes its own",
            counted.store_swept.clone(),
        );
        metrics.register(
            "auth_store_free_bytes",
            "Room on the disk of the store file; 0 where there is no such file",
            counted.disk_free.clone(),
        );
        metrics.register(
            "auth_store_degraded",
            "1 while there is less room on the disk of the store file than STORE_FREE_SPACE",
            counted.disk_low.clone(),
        );
        metrics.register(
            "auth_clock_offset_seconds",
            "By how much this machine is ahead of the clock of Redis; 0 while there is none",
            counted.clock_offset.clone(),
        );
        metrics.register(
            "auth_store_events_arrive",
            "1 while changes by other instances are heard of",
            counted.events_arrive.clone(),
        );
        metrics.register(
            "auth_signing_keys",
            "Signing keys that are published",
            counted.keys.clone(),
        );
        metrics.register(
            "auth_signing_key_age_seconds",
            "For how long the current signing key has signed",
            counted.key_age.clone(),
        );
        metrics.register(
            "auth_decisions_remembered",
            "Access tokens that are known to be good",
            counted.decisions.clone(),
        );
        counted
    }

    /// An answer of `/verify`.
    pub(crate) fn verified(&self, outcome: Verified) {
        if let Some(counter) = self.verify.get(outcome as usize) {
            counter.inc();
        }
    }

    /// An answer of `/token`.
    pub(crate) fn token(&self, grant: Option<&str>, status: u16) {
        let grant = match grant {
            Some("authorization_code") => "authorization_code",
            Some("refresh_token") => "refresh_token",
            Some("client_credentials") => "client_credentials",
            Some("urn:ietf:params:oauth:grant-type:device_code") => "device_code",
            _ => "other",
        };
        let outcome = by_status(status);
        self.tokens.get_or_create(&Granted { grant, outcome }).inc();
    }

    /// An answer to a registration.
    pub(crate) fn registration(&self, status: u16) {
        let outcome = by_status(status);
        self.registrations.get_or_create(&Outcome { outcome }).inc();
    }

    /// The end of a sign-in: `granted`, `refused`, `wrong_password`, `too_many` or `provider_unavailable`.
    pub(crate) fn sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&Outcome { outcome }).inc();
    }

    /// A request that a limit refused.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.limits.get_or_create(&Hit { limit }).inc();
    }

    /// A look-up of a client's document.
    pub(crate) fn document(&self, outcome: &'static str) {
        self.documents.get_or_create(&Outcome { outcome }).inc();
    }

    /// So much that had expired was removed.
    pub(crate) fn swept(&self, removed: usize) {
        self.store_swept.inc_by(removed as u64);
    }

    /// An operation of the store that began then.
    pub(crate) fn stored<T>(
        &self,
        operation: &'static str,
        begun: Instant,
        result: &Result<T, StoreError>,
    ) {
        let asked = Asked { operation };
        let seconds = begun.elapsed().as_secs_f64();
        self.store_seconds.get_or_create(&asked).observe(seconds);
        if result.is_err() {
            self.store_errors.get_or_create(&asked).inc();
        }
    }
}

fn by_status(status: u16) -> &'static str {
    match status {
        200..=299 => "granted",
        429 => "limited",
        400..=499 => "refused",
        _ => "failed",
    }
}
