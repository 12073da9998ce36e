//! The verbs about clients.

use oauth::client::{Client, UNUSED_LIFETIME};
use oauth::{ClientId, Timestamp};

use crate::Store;
use crate::backend::{Event, Index, Key, Kind, StoreError};
use crate::records::{StoredRecord, Transition};

impl StoredRecord for Client {
    const KIND: Kind = Kind::Client;
    const VERSION: u32 = 1;
}

/// How often the use of a client is written down at most, in seconds: once a day is enough to keep it alive for months.
const USE_RESOLUTION: u64 = 24 * 60 * 60;

/// How often the use of a client is written down, in seconds: several times in a short life.
fn use_resolution(lifetime: u64) -> i64 {
    let resolution = match lifetime {
        0 => USE_RESOLUTION,
        lifetime => USE_RESOLUTION.min(lifetime / 8),
    };
    i64::try_from(resolution).unwrap_or(i64::MAX)
}

/// How long a new client may stay unused, in seconds. The fuller it is, the shorter: whoever registers clients that nobody
/// uses must go on doing so to keep others out, and faster than a limit per address allows. A sign-in takes minutes.
fn unused_lifetime(there: u64, most: u64) -> u64 {
    let half = most / 2;
    let three_quarters = half + most / 4;
    if there < half {
        UNUSED_LIFETIME
    } else if there < three_quarters {
        60 * 60
    } else {
        15 * 60
    }
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// The client is stored.
    Created,
    /// There are as many clients as there may be; none is removed for a new one.
    Full,
}

impl Store {
    /// Stores a new client unless `most` are there already.
    pub async fn create_client(
        &self,
        client: Client,
        lifetime: u64,
        most: u64,
        now: Timestamp,
    ) -> Result<Registration, StoreError> {
        let there = self.backend().index_len(&Index::Clients, now).await?;
        if there >= most {
            return Ok(Registration::Full);
        }
        let unused_end = oauth::after(now, unused_lifetime(there, most));
        let end = client.expires_at(lifetime).map(|end| end.min(unused_end));
        let id = client.id.clone();
        self.backend()
            .index_insert(&Index::Clients, id.as_str(), end, now)
            .await?;
        self.records()
            .update(id.as_str(), now, |_: Option<Client>| {
                Transition::put(client.clone(), end, ())
            })
            .await?;
        self.settle_client(&id, now).await?;
        Ok(Registration::Created)
    }

    /// Stores a client that the operator created, whatever the number of others; see [`Client::of_operator`]. `false` when
    /// there is one of that name: nothing has changed then, delete it first or give it a new secret with
    /// [`Store::change_client`].
    pub async fn create_operator_client(
        &self,
        client: Client,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = client.id.clone();
        let is_new = self
            .records()
            .update(id.as_str(), now, |stored: Option<Client>| match stored {
                Some(_) => Transition::keep(false),
                None => Transition::put(client.clone(), None, true)
                    .telling(Event::ClientChanged(id.to_string())),
            })
            .await?;
        if is_new {
            self.backend()
                .index_insert(&Index::Clients, id.as_str(), None, now)
                .await?;
        }
        Ok(is_new)
    }

    /// Stores a client that is known by its metadata document, when a person has signed in with it. What the document said
    /// last counts; the client is as old as its first use, so that its sessions live on.
    pub async fn note_document_client(
        &self,
        client: Client,
        lifetime: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, end) = (client.id.clone(), client.expires_at(lifetime));
        self.records()
            .update(id.as_str(), now, |stored: Option<Client>| {
                let mut client = client.clone();
                if let Some(stored) = stored {
                    client.issued_at = stored.issued_at;
                }
                Transition::put(client, end, ())
            })
            .await?;
        self.settle_client(&id, now).await
    }

    /// Stores a client that another server registered, unless one with its id is here. `false` when there is one.
    pub async fn adopt_client(
        &self,
        client: Client,
        lifetime: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, end) = (client.id.clone(), client.expires_at(lifetime));
        let is_new = self
            .records()
            .update(id.as_str(), now, |stored: Option<Client>| match stored {
                Some(_) => Transition::keep(false),
                None => Transition::put(client.clone(), end, true),
            })
            .await?;
        self.settle_client(&id, now).await?;
        Ok(is_new)
    }

    /// Lists a client that is there, and no other.
    async fn settle_client(&self, id: &ClientId, now: Timestamp) -> Result<(), StoreError> {
        let key = Key::new(Kind::Client, id.as_str());
        self.records().settle(&Index::Clients, &key, now).await
    }

    /// The client of this id, while its registration lasts.
    pub async fn client(
        &self,
        id: &ClientId,
        now: Timestamp,
    ) -> Result<Option<Client>, StoreError> {
        self.records().get(id.as_str(), now).await
    }

    /// Writes down that the client was used, so that its registration goes on: once a day, oftener if it lives for a short
    /// time only.
    pub async fn note_client_use(
        &self,
        client: &Client,
        lifetime: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let is_fresh = client
            .last_used_at
            .is_some_and(|used| now.duration_since(used).as_secs() < use_resolution(lifetime));
        if is_fresh {
            return Ok(());
        }
        self.records()
            .update(client.id.as_str(), now, |stored: Option<Client>| {
                let Some(mut client) = stored else {
                    return Transition::keep(());
                };
                client.last_used_at = Some(now);
                let end = client.expires_at(lifetime);
                Transition::put(client, end, ())
            })
            .await?;
        self.settle_client(&client.id, now).await
    }

    /// Changes a client in one atomic step, if `change` still wants to after looking at what is stored now. It lives no longer for
    /// it: else whoever registers clients that nobody uses could keep them. `None` when the client is gone or `change` declined.
    pub async fn change_client<R: Clone>(
        &self,
        id: &ClientId,
        now: Timestamp,
        change: impl Fn(Client) -> Option<(Client, R)>,
    ) -> Result<Option<(Client, R)>, StoreError> {
        let changed = self
            .records()
            .update(id.as_str(), now, |stored: Option<Client>| {
                match stored.and_then(&change) {
                    None => Transition::keep(None),
                    Some((client, answer)) => {
                        Transition::replace(client.clone(), Some((client, answer)))
                            .telling(Event::ClientChanged(id.to_string()))
                    }
                }
            })
            .await?;
        if changed.is_some() {
            self.settle_client(id, now).await?;
        }
        Ok(changed)
    }

    /// Removes a client; with it go all its sessions, because a session counts only while its client is there. `false`
    /// when there was none.
    pub async fn delete_client(&self, id: &ClientId, now: Timestamp) -> Result<bool, StoreError> {
        let was_there = self
            .records()
            .update(id.as_str(), now, |stored: Option<Client>| match stored {
                None => Transition::keep(false),
                Some(_) => Transition::remove(true).telling(Event::ClientChanged(id.to_string())),
            })
            .await?;
        self.settle_client(id, now).await?;
        Ok(was_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_it_is_the_sooner_an_unused_client_ends() {
        let day = 24 * 60 * 60;
        for (there, expected) in [
            (0, day),
            (4999, day),
            (5000, 3600),
            (7499, 3600),
            (7500, 900),
            (9999, 900),
        ] {
            assert_eq!(unused_lifetime(there, 10_000), expected, "{there}");
        }
        for most in [0, 1, 2, 3] {
            assert!(unused_lifetime(0, most) >= 900, "{most}");
        }
    }
}
