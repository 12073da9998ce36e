//! How many clients there may be.

use super::world::{CLIENT_LIFETIME, new_client};
use super::{Fixture, at};
use crate::{Registration, Store};

/// Registration is open to strangers, so it is bounded; what has expired makes room.
pub async fn there_are_at_most_so_many_clients(fixture: impl Fixture) {
    let store = Store::new(fixture.backend());
    for expected in [
        Registration::Created,
        Registration::Created,
        Registration::Full,
    ] {
        let created = store
            .create_client(new_client(), CLIENT_LIFETIME, 2, at(0))
            .await
            .unwrap();
        assert_eq!(created, expected);
    }
    // The second came when there was little room, so it had less time to be used; the first has a day.
    for (seconds, expected) in [
        (15 * 60 - 1, Registration::Full),
        (15 * 60, Registration::Created),
        (15 * 60, Registration::Full),
        (24 * 60 * 60, Registration::Created),
    ] {
        let created = store
            .create_client(new_client(), CLIENT_LIFETIME, 2, at(seconds))
            .await
            .unwrap();
        assert_eq!(created, expected, "after {seconds} s");
    }
}
