//! What becomes of the ring in the life of the service: looked at again and again, and changed when that is due.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use oauth::key_ring::{self, FreshKey, Rotation, SigningKeys};
use oauth::{KeyId, Timestamp};
use store::{Event, EventFeed, Notice, SealedKeyRing};

use super::changes::Changes;
use super::ring::KeyRing;
use super::signing::Private;
use super::{KeyError, Keys, fresh_key};

impl Keys {
    /// Makes what is due: looks for changes of others, publishes a successor, drops what is over, renews the seals.
    pub(crate) async fn keep_up(&self) -> Result<(), KeyError> {
        let (now, schedule) = (self.clock.now(), self.schedule());
        let stored = self.stored(now).await?;
        self.take(&stored)?;
        let mut probe = stored.clone();
        self.secrets.keep_up(&mut probe, self.entropy.as_ref())?;
        let is_due = stored.signing.needs_successor(&schedule, now);
        probe.signing.keep_up(&schedule, now, None);
        if !is_due && probe == stored {
            return Ok(());
        }
        let fresh = if is_due {
            Some(self.fresh_key().await?)
        } else {
            None
        };
        self.change(now, |signing, seal| {
            let fresh = fresh.clone().map(seal).transpose()?;
            signing.keep_up(&schedule, now, fresh);
            Ok(())
        })
        .await
    }

    /// Publishes a successor before its time.
    pub(crate) async fn rotate(&self) -> Result<Rotation, KeyError> {
        let (now, schedule) = (self.clock.now(), self.schedule());
        let fresh = self.fresh_key().await?;
        self.change(now, |signing, seal| {
            Ok(signing.rotate(&schedule, now, seal(fresh.clone())?))
        })
        .await
    }

    /// Somebody else may have the signing keys: all of them are dropped at once, and with them every access token that they
    /// signed. Refresh tokens stay.
    pub(crate) async fn replace(&self) -> Result<KeyId, KeyError> {
        let (now, schedule) = (self.clock.now(), self.schedule());
        let fresh = self.fresh_key().await?;
        self.change(now, |signing, seal| {
            Ok(signing.replace(&schedule, now, seal(fresh.clone())?))
        })
        .await
    }

    /// Keeps the ring as it should be for the life of the service.
    pub(crate) async fn follow(self: Arc<Self>, mut feed: EventFeed) {
        loop {
            let looked = tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(key_ring::POLL)) => self.keep_up().await,
                notice = feed.next() => match notice {
                    Some(Notice::Changed(Event::KeysChanged | Event::Everything) | Notice::Restored) => {
                        self.read_again().await
                    }
                    Some(Notice::Changed(_) | Notice::Lost) => continue,
                    None => return,
                },
            };
            match looked {
                Ok(()) => self.latch.ready(),
                // The store has a readiness of its own, and the keys that are known here are as good as before.
                Err(error @ KeyError::Store(_)) => {
                    tracing::warn!(%error, "the signing keys could not be looked at");
                }
                Err(error) => {
                    tracing::error!(%error, "the signing keys in the store cannot be used; the ones that are known here go on");
                    self.latch.not_ready(error.to_string());
                }
            }
        }
    }

    pub(super) async fn read_again(&self) -> Result<(), KeyError> {
        let stored = self.stored(self.clock.now()).await?;
        self.take(&stored)
    }

    /// The ring in the store. One that the store has lost is put back: new sessions would else rest on keys that nobody
    /// finds after the next start.
    async fn stored(&self, now: Timestamp) -> Result<SealedKeyRing, KeyError> {
        if let Some(stored) = self.store.key_ring(now).await? {
            return Ok(stored);
        }
        tracing::warn!(target: "audit", event = "keys_put_back", "the store has lost the signing keys; they are put back");
        let ring = self.ring();
        Ok(self.store.put_key_ring_if_gone(&ring.sealed, now).await?)
    }

    /// Goes on with this ring.
    fn take(&self, stored: &SealedKeyRing) -> Result<(), KeyError> {
        let held = self.ring();
        if held.sealed == *stored {
            return Ok(());
        }
        let ring = KeyRing::open(stored.clone(), &self.secrets)?;
        let is_any_gone = !Changes::between(&held.sealed, stored).gone.is_empty();
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        self.ring_number.fetch_add(1, Ordering::SeqCst);
        if is_any_gone {
            // After the change of ring: a decision that was begun with the old one is not remembered any more.
            self.decisions.learn(Event::KeysChanged);
        }
        Ok(())
    }

    /// Changes the ring in one atomic step and goes on with it.
    async fn change<R>(
        &self,
        now: Timestamp,
        step: impl Fn(
            &mut SigningKeys<String>,
            &dyn Fn(FreshKey<Private>) -> Result<FreshKey<String>, KeyError>,
        ) -> Result<R, KeyError>,
    ) -> Result<R, KeyError> {
        let entropy = self.entropy.as_ref();
        let stored = self
            .store
            .change_key_ring(now, |ring| {
                let old = ring.clone();
                let mut try_step = || -> Result<(R, Changes), KeyError> {
                    let seal = self.secrets.keep_up(ring, entropy)?;
                    let close = |fresh| seal.close_key(fresh, entropy);
                    let answer = step(&mut ring.signing, &close)?;
                    Ok((answer, Changes::between(&old, ring)))
                };
                let outcome = try_step();
                if outcome.is_err() {
                    *ring = old;
                }
                outcome
            })
            .await?;
        let (ring, outcome) = stored.ok_or(KeyError::Damaged("they are gone from the store"))?;
        let (answer, changes) = outcome?;
        self.take(&ring)?;
        changes.log();
        Ok(answer)
    }

    async fn fresh_key(&self) -> Result<FreshKey<Private>, KeyError> {
        fresh_key(self.schedule.algorithm, &self.entropy).await
    }
}
