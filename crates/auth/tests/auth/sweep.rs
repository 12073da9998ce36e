//! What has expired leaves the store by itself.

use std::sync::Arc;

use oauth::{ManualClock, Timestamp};
use testkit::wait::{PATIENCE, until};

use crate::administration;
use crate::answer::answer;
use crate::service::Auth;
use crate::sign_in::{ask, public_client, signed_in};

/// Records and entries of lists that were removed so far.
async fn swept(auth: &Auth) -> u64 {
    let http = testkit::network::http_client().unwrap();
    let metrics = answer(http.get(format!("http://{}/metrics", auth.private))).await;
    let mut lines = metrics.body.lines();
    let number = lines.find_map(|line| line.strip_prefix("auth_store_swept_total "));
    number.unwrap().parse().unwrap()
}

async fn until_swept(auth: &Auth, least: u64) {
    until("so much is removed", PATIENCE, async || {
        (swept(auth).await >= least).then_some(())
    })
    .await
    .unwrap();
}

/// Removes by hand what has expired and is still there.
async fn left(auth: &Auth) -> u64 {
    let purged = administration::post(auth, "/admin/purge").await;
    purged.json()["expired"].as_u64().unwrap()
}

async fn sign_ins_and_clients_that_have_ended_are_removed(store: &[(&str, &str)]) {
    let begin = Timestamp::from_second(2_000_000_000).unwrap();
    let clock = Arc::new(ManualClock::at(begin));
    let auth = Auth::start_at(&clock, store).await;
    let (client, held) = signed_in(&auth).await;
    for _ in 0..3 {
        ask(&auth, &client.id, &[]).await;
    }
    assert_eq!((swept(&auth).await, left(&auth).await), (0, 0));
    // A sign-in lasts ten minutes.
    clock.advance(601);
    until_swept(&auth, 3).await;
    assert_eq!(left(&auth).await, 0);
    assert_eq!(auth.verify(&held.access).await.status, 200);
    // A client that nobody used lasts a day: the record and the entry of the list.
    public_client(&auth).await;
    let before = swept(&auth).await;
    clock.advance(24 * 3600);
    until_swept(&auth, before + 2).await;
    assert_eq!(left(&auth).await, 0);
}

#[tokio::test]
async fn what_has_expired_leaves_the_memory() {
    sign_ins_and_clients_that_have_ended_are_removed(&[("STORE", "memory")]).await;
}

#[tokio::test]
async fn what_has_expired_leaves_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.redb");
    let store = [("STORE", "redb"), ("STORE_PATH", path.to_str().unwrap())];
    sign_ins_and_clients_that_have_ended_are_removed(&store).await;
}
