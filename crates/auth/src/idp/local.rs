//! People from the configuration: names and Argon2id hashes. For a laptop or a home server.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use oauth::Subject;
use oauth::identity::Identity;
use tokio::sync::Semaphore;

use super::password::is_right;

/// How many unknown names are checked like known ones in a minute; further ones only take as long.
const DECOYS: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// How late an answer comes about a name that is tried too often.
const DELAY: Duration = Duration::from_secs(3);
/// How many may wait for a late answer at once.
const MOST_LATE: usize = 256;
/// How long a check waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest password that is looked at, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Names with their hashes.
#[derive(Clone)]
pub(crate) struct LocalUsers(BTreeMap<String, String>);

impl std::fmt::Debug for LocalUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why the list of people is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidUsers {
    #[error("nobody is listed")]
    Empty,
    #[error("entry {0} is not name:hash")]
    Shape(usize),
    #[error("the name in entry {0} must be 1 to 64 visible ASCII characters")]
    Name(usize),
    #[error("two names differ in upper and lower case only")]
    Alike,
    #[error("the hash of {0} is not an Argon2id hash; make one with: mcp-auth hash-password")]
    Hash(String),
}

impl LocalUsers {
    /// Entries `name:hash`, separated by white space.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidUsers> {
        let mut users = BTreeMap::new();
        for (index, entry) in text.split_whitespace().enumerate() {
            let number = index + 1;
            let (name, hash) = entry.split_once(':').ok_or(InvalidUsers::Shape(number))?;
            let is_name =
                (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
            if !is_name {
                return Err(InvalidUsers::Name(number));
            }
            if !hash.starts_with("$argon2id$") || PasswordHash::new(hash).is_err() {
                return Err(InvalidUsers::Hash(name.to_owned()));
            }
            users.insert(name.to_owned(), hash.to_owned());
        }
        if users.is_empty() {
            return Err(InvalidUsers::Empty);
        }
        let folded: BTreeSet<String> = users.keys().map(|name| name.to_lowercase()).collect();
        if folded.len() < users.len() {
            return Err(InvalidUsers::Alike);
        }
        Ok(Self(users))
    }

    /// The names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The provider.
pub(crate) struct Local {
    /// May be replaced while the service runs.
    users: ArcSwap<LocalUsers>,
    /// Checked for unknown names, so that they cost as much time as known ones.
    decoy: String,
    /// Bounds the work that unknown names may cause.
    decoys: DefaultDirectRateLimiter,
    /// How long the latest check of a password took, in microseconds.
    check_time: AtomicU64,
    /// Bounds the connections that are kept waiting by [`Local::delay`].
    late: Semaphore,
    /// Argon2id takes 19 MiB a piece.
    at_once: Arc<Semaphore>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Local").field(&self.users.load()).finish()
    }
}

/// Why somebody was not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LocalError {
    /// Which of the two is wrong is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many attempts")]
    TooMany {
        /// When it is worth while to try again.
        wait: Duration,
    },
}

impl Local {
    pub(crate) fn new(users: LocalUsers) -> Self {
        Self {
            decoy: users.0.values().next().cloned().unwrap_or_default(),
            users: ArcSwap::from_pointee(users),
            decoys: RateLimiter::direct(Quota::per_minute(DECOYS)),
            check_time: AtomicU64::new(100_000),
            late: Semaphore::new(MOST_LATE),
            at_once: Arc::new(Semaphore::new(2)),
        }
    }

    /// From now on these people are known.
    pub(crate) fn replace(&self, users: LocalUsers) {
        self.users.store(Arc::new(users));
    }

    /// Holds up an attempt at a name that is tried too often.
    pub(crate) async fn delay(&self) -> Result<(), LocalError> {
        let full = |_| LocalError::TooMany { wait: DELAY };
        let _place = self.late.try_acquire().map_err(full)?;
        tokio::time::sleep(DELAY).await;
        Ok(())
    }

    /// Recognises somebody by name and password. How often may be tried is decided before.
    pub(crate) async fn identify(
        &self,
        name: &str,
        password: String,
    ) -> Result<Identity, LocalError> {
        let known = self.users.load().0.get(name).cloned();
        if known.is_none() && self.decoys.check().is_err() {
            let usual = Duration::from_micros(self.check_time.load(Ordering::Relaxed));
            tokio::time::sleep(usual).await;
            return Err(LocalError::Wrong);
        }
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| self.decoy.clone());
        let turn = Arc::clone(&self.at_once).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, turn).await else {
            return Err(LocalError::TooMany { wait: PATIENCE });
        };
        let begun = Instant::now();
        let is_right = tokio::task::spawn_blocking(move || {
            // Until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            let is_bounded = password.len() <= MAX_PASSWORD;
            is_bounded && is_right(password.as_bytes(), &hash)
        })
        .await
        .unwrap_or(false);
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.check_time.store(took, Ordering::Relaxed);
        let subject = Subject::parse(&format!("local:{name}")).map_err(|_| LocalError::Wrong)?;
        if !is_known || !is_right {
            return Err(LocalError::Wrong);
        }
        Ok(Identity::named(subject, name))
    }
}

/// The Argon2id hash of a password, with a fresh salt, as it stands in `LOCAL_USERS`.
pub(crate) fn hash_password(password: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !password.is_empty(),
        "the password is empty; write it to standard input"
    );
    anyhow::ensure!(
        password.len() <= MAX_PASSWORD,
        "a password may have at most {MAX_PASSWORD} bytes"
    );
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("the password could not be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_right_password_and_only_it_is_recognised() {
        let hash = hash_password("correct horse").unwrap();
        let local = Local::new(LocalUsers::parse(&format!("ann:{hash}")).unwrap());
        let ann = local
            .identify("ann", "correct horse".to_owned())
            .await
            .unwrap();
        assert_eq!(ann.subject.as_str(), "local:ann");
        let wrong = local.identify("ann", "wrong".to_owned()).await;
        assert_eq!(wrong.unwrap_err(), LocalError::Wrong);
        let unknown = local.identify("bob", "correct horse".to_owned()).await;
        assert_eq!(unknown.unwrap_err(), LocalError::Wrong);
    }

    /// Whoever goes away while a password is checked must not make room for one more check: the work goes on.
    #[test]
    fn a_check_keeps_its_place_until_it_is_done_even_if_nobody_waits() {
        let hash = hash_password("correct horse").unwrap();
        let local = Local::new(LocalUsers::parse(&format!("ann:{hash}")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            // The one thread is busy, so that the check cannot be done before it is looked at.
            let (done, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let check = local.identify("ann", "correct horse".to_owned());
            assert!(check.now_or_never().is_none());
            assert_eq!(local.at_once.available_permits(), 1);
            drop(done);
            busy.await.unwrap().unwrap_err();
            local
                .identify("ann", "correct horse".to_owned())
                .await
                .unwrap();
            assert_eq!(local.at_once.available_permits(), 2);
        });
    }

    #[test]
    fn a_wrong_list_is_refused_with_the_entry() {
        let error = |text: &str| LocalUsers::parse(text).unwrap_err().to_string();
        assert_eq!(error(" "), "nobody is listed");
        assert_eq!(error("ann"), "entry 1 is not name:hash");
        assert!(error("ann:plain").contains("hash of ann"));
    }
}
